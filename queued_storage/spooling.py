"""A download that is whole before anybody reads of it, in memory or in a temporary file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

#: Bytes that are kept in memory before a temporary file takes them.
SPOOL = 1 << 20


def spooled(download: Callable[[Any], Any]) -> Any:
    """Return a temporary file, at its start, with what is downloaded into it."""
    spool = tempfile.SpooledTemporaryFile(max_size=SPOOL)  # noqa: SIM115 - closed by the file that reads it
    try:
        download(spool)
    except BaseException:
        spool.close()
        raise
    spool.seek(0)
    return spool
