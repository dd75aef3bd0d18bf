"""How fast the package is, beside what else moves, saves and reads files: ``make bench`` and ``make memory``."""
