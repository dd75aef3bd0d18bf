"""WebDAV: this package's own WebDAVStorage on requests.

* It writes in place, and can move what it has written; ``renaming.py`` publishes there.
* The protocol has servers delete what a move replaces before they move, so it may be missed for a moment.

OpenDAL speaks WebDAV and FTP too, and was measured (0.47.12) and left out: a process that was forked off one which
had used it waits for ever at its first call, as every prefork worker does; its WebDAV takes uploads as one piece, out
of memory; and its FTP cannot rename, so that readers see files arrive.
"""

from __future__ import annotations

from typing import Any

from .base import Backend, always, register

PATH = "queued_storage.contrib.storages.webdav.WebDAVStorage"
#: An answer of a server for files that makes no sense of the request; of MogileFS's nodes too.
_FAILURE = "queued_storage.contrib.storages.remote.HTTPFailure"

#: Behind a proxy: the server itself does not answer.
_OUTAGES = frozenset({502, 503, 504})
#: A login that is refused, an address that is moved or no WebDAV, a file that is too large or of a refused name.
_PERMANENT = frozenset({301, 302, 307, 308, 400, 401, 405, 413, 414, 415, 501})


def _is_outage(error: Any) -> bool:
    return error.status_code in _OUTAGES


def _is_permanent(error: Any) -> bool:
    return error.status_code in _PERMANENT


register(
    Backend(
        path=PATH,
        extra="webdav",
        outage={_FAILURE: _is_outage},
        permanent={
            _FAILURE: _is_permanent,
            "queued_storage.contrib.storages.webdav.NoSuchFolder": always,
        },
        opens_eagerly=True,
        place=("webdav", (("url", ""),)),
    )
)
