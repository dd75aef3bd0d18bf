"""Files that can be opened again once they are closed, as model fields do, wherever the file is by then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from django.core.files.base import File


def reopenable(file: File[Any], mode: str, ask: Callable[[str], File[Any]]) -> File[Any]:
    """Return the file as one whose ``open()``, once it is closed, is answered by what ``ask`` returns for the mode.

    A file of a class of its own stays what it is: how it is opened again is its own.
    """
    return ChainFile(file.file, file.name, mode, ask) if type(file) is File else file


class ChainFile(File):  # type: ignore[type-arg]
    """A file of a chain; Django's own would look for the path that it was opened at."""

    def __init__(self, stream: Any, name: str | None, mode: str, ask: Callable[[str], File[Any]]) -> None:
        super().__init__(stream, name)
        self._mode = mode
        self._ask = ask

    def open(self, mode: str | None = None, *_: Any, **__: Any) -> Self:
        if not self.closed:
            self.seek(0)
            return self
        again = self._ask(mode or self._mode)
        self.file = again.file if isinstance(again, ChainFile) else again
        self.name = again.name
        self.__dict__.pop("size", None)
        return self
