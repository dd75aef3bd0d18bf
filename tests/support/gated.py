"""A disk whose files stop in the middle of a read until a test lets them go on."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from django.core.files.base import File
from django.core.files.storage import FileSystemStorage

from tests.support.waiting import wait_until


class GatedStorage(FileSystemStorage):
    """Reads the first part of a file, says so in ``gate/reached``, and waits for ``gate/open``."""

    def __init__(self, gate: str, **options: Any) -> None:
        super().__init__(**options)
        self.gate = Path(gate)

    def _open(self, name: str, mode: str = "rb") -> File[Any]:
        return File(io.BufferedReader(GatedFile(self.path(name), self.gate)), name=name)


class GatedFile(io.FileIO):
    HELD_AT = 1 << 16

    def __init__(self, path: str, gate: Path) -> None:
        super().__init__(path)
        self.gate = gate

    def readinto(self, buffer: Any) -> int | None:  # type: ignore[override]
        if self.tell() >= self.HELD_AT and not (self.gate / "open").exists():
            note = self.gate / f"reached.{os.getpid()}"
            note.write_text(str(os.getpid()))
            note.replace(self.gate / "reached")  # whole or not at all
            wait_until((self.gate / "open").exists, "the gate is open", timeout=60)
        return super().readinto(memoryview(buffer)[: self.HELD_AT])
