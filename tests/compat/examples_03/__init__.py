"""A project as the documentation of 0.3 has it, for Python 3 and today's Django; nothing in it was changed for 1.0."""
