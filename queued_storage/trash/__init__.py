"""The trash, as far as the engine sees it: content of deleted files is kept before anything of it is cleared."""

from __future__ import annotations

from .keeping import Keeping, keep_nearby

__all__ = ["Keeping", "keep_nearby"]
