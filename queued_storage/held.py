"""Files of tiers with a TIMEOUT: whoever reads them is never held up longer than that."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, TypeVar

from django.core.files.base import File

from . import bounded, outage
from .tier import Tier

T = TypeVar("T")

READ_AHEAD = 1 << 18


def open_held(tier: Tier, opener: Callable[[], File[bytes]], name: str) -> File[bytes]:
    """Open a file within the tier's TIMEOUT, and return it as one whose every call keeps to that as well."""
    outage.refuse_if_down(tier)
    thread = bounded.Thread.borrow()
    try:
        stream = HeldStream(tier, thread, _within(tier, thread, opener))
    except BaseException:
        thread.give_back()
        raise
    return File(io.BufferedReader(stream, READ_AHEAD), name=name)


class HeldStream(io.RawIOBase):
    """The bytes of a file that only the thread which opened it touches: some clients cannot be shared."""

    def __init__(self, tier: Tier, thread: bounded.Thread, file: File[bytes]) -> None:
        self._tier = tier
        self._thread = thread
        self._file = file

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        data = self._call(lambda: self._file.read(view.nbytes))
        view[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._call(lambda: self._file.seek(offset, whence))
        return self.tell()

    def tell(self) -> int:
        position: int = self._call(self._file.tell)
        return position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        if self.closed:
            return
        try:
            _telling(self._tier, lambda: self._thread.end(self._file.close, self._tier.timeout or 0))
        finally:
            self._thread.give_back()
            super().close()

    def _call(self, function: Callable[[], T]) -> T:
        return _within(self._tier, self._thread, function)


def _within(tier: Tier, thread: bounded.Thread, function: Callable[[], T]) -> T:
    return _telling(tier, lambda: thread.call(function, tier.timeout or 0))


def _telling(tier: Tier, call: Callable[[], T]) -> T:
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - raise_told() raises it, or what it means
        outage.raise_told(tier, error)
