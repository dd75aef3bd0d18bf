"""What operators do with files that are deleted, or have to be: bring them back, erase them, collect orphans."""

from __future__ import annotations

from .erasing import Receipt, TierReceipt, erase
from .orphans import Orphan, Orphans
from .restoring import find, restore

__all__ = ["Orphan", "Orphans", "Receipt", "TierReceipt", "erase", "find", "restore"]
