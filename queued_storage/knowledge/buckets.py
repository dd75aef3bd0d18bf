"""Whether there is a bucket at all: asked once by those that say "no such file" where their whole bucket is missing."""

from __future__ import annotations

from collections.abc import Callable

#: What this process has seen to be there.
_seen: set[tuple[str, str]] = set()


def require(bucket: str, endpoint: str, look: Callable[[], None]) -> None:
    """Have ``look`` raise if there is no bucket; each is looked for until it was there once."""
    if (bucket, endpoint) not in _seen:
        look()
        _seen.add((bucket, endpoint))
