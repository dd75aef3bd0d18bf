"""Violations that are known and not mended yet; an empty set is how it should be.

Each name stands in the list of what the machine found (README.rst); it goes from here when that is mended.
"""

from __future__ import annotations

EXCUSED: set[str] = set()
