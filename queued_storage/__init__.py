"""One Django storage in front of an ordered chain of storages."""
