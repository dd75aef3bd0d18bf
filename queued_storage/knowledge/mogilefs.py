"""MogileFS: this package's own MogileFSStorage, on trackers and the storage nodes behind them."""

from __future__ import annotations

from typing import Any

from .base import Backend, register

PATH = "queued_storage.contrib.storages.mogilefs.MogileFSStorage"

#: The domain or the class of files is not there, or a plug-in of the tracker refuses the file.
_PERMANENT = frozenset({"no_domain", "unreg_class", "unreg_domain", "plugin_aborted"})


def _is_permanent(error: Any) -> bool:
    return error.reason in _PERMANENT


register(
    Backend(
        path=PATH,
        extra="mogilefs",
        permanent={"queued_storage.contrib.storages.mogilefs.TrackerError": _is_permanent},
        opens_eagerly=True,
        overwriting=("allow_overwrite", True),
        publishes_at_once=True,
        place=("mogilefs", (("domain", ""), ("trackers", ""))),
    )
)
