"""For the tests of projects that use tiered storages: do what is owed, look at it, and let a tier fail."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import faulty
    from .faulty import FaultyStorage
    from .owing import Owed, assert_nothing_owed, assert_owed, owed
    from .work import run_owed_work

__all__ = [
    "FaultyStorage",
    "Owed",
    "assert_nothing_owed",
    "assert_owed",
    "faulty",
    "owed",
    "run_owed_work",
]

#: Imported at first use: the pytest plugin beside them is loaded before there are settings.
_MODULES = {
    "FaultyStorage": "faulty",
    "Owed": "owing",
    "assert_nothing_owed": "owing",
    "assert_owed": "owing",
    "owed": "owing",
    "run_owed_work": "work",
}


def __getattr__(name: str) -> Any:
    if name == "faulty":
        return import_module(".faulty", __name__)
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
