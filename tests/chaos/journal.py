"""What was ordered, and when: the truth that the tiers are compared with at the end.

A writer notes each operation before it begins and after it has returned (in a transaction: after the commit), by the
clock that all processes of the machine share. From that follows what a reader may see, and what may lie on the tiers:
the content of any operation that is not followed by another one which began after it had ended.
"""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NEVER = 1 << 62


@dataclass
class Op:
    """One save or delete of one name."""

    id: str
    kind: str
    chain: str
    name: str
    policy: str
    size: int
    begin: int
    #: Whether it is to be rolled back, so that nobody ever sees it.
    doomed: bool = False
    end: int = NEVER
    #: "done", "undone" (rolled back, or followed by another in its transaction), "failed"; "" until it is known;
    #: "unknown" if its process was killed in it.
    outcome: str = ""
    error: str = ""

    @property
    def is_certain(self) -> bool:
        return self.outcome == "done"

    @property
    def may_count(self) -> bool:
        return not self.doomed and self.outcome != "undone"

    def __str__(self) -> str:
        end = f"{(self.end - self.begin) / 1e6:.0f} ms" if self.end != NEVER else "no end"
        return (
            f"{self.begin / 1e9:.3f} {self.kind} {self.id} {self.policy} {self.size} B: "
            f"{self.outcome or 'under way'}, {end} {self.error}"
        )


class Pen:
    """Writes a journal, so that what is written is there even if this process is killed a moment later."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, **facts: Any) -> None:
        os.write(self._file, json.dumps({"at": time.monotonic_ns()} | facts).encode() + b"\n")


class Tail:
    """Reads what was added to the journals of a folder since it was asked last."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._offsets: dict[Path, int] = defaultdict(int)

    def lines(self) -> Iterator[dict[str, Any]]:
        for path in sorted(self._folder.glob("*.journal")):
            with path.open("rb") as file:
                file.seek(self._offsets[path])
                for line in file:
                    if not line.endswith(b"\n"):
                        break  # it is just being written
                    self._offsets[path] += len(line)
                    yield json.loads(line)


class History:
    """All operations, by name."""

    def __init__(self, folder: Path) -> None:
        self._tail = Tail(folder)
        self.ops: dict[str, Op] = {}
        self.of: dict[tuple[str, str], list[Op]] = defaultdict(list)
        #: The writers that have done their share.
        self.finished: set[int] = set()

    def catch_up(self) -> list[Op]:
        """Take in what is new; return the operations that have ended since."""
        ended = []
        for line in self._tail.lines():
            if line["phase"] == "begin":
                self._begin(line)
            elif line["phase"] == "finished":
                self.finished.add(line["writer"])
            elif (op := self._end(line)) is not None:
                ended.append(op)
        return ended

    def _begin(self, line: dict[str, Any]) -> None:
        facts = {key: line[key] for key in ("kind", "chain", "name", "policy", "size", "doomed")}
        op = Op(line["op"], **facts, begin=line["at"])
        self.ops[op.id] = op
        self.of[op.chain, op.name].append(op)

    def _end(self, line: dict[str, Any]) -> Op | None:
        op = self.ops[line["op"]]
        if op.outcome:
            return None
        op.end, op.outcome, op.error = line["at"], line["outcome"], line.get("error", "")
        if line.get("name", op.name) != op.name:  # the storage gave it another
            self.of[op.chain, op.name].remove(op)
            op.name = line["name"]
            self.of[op.chain, op.name].append(op)
        return op

    def candidates(self, key: tuple[str, str], since: int = NEVER - 1, until: int = NEVER) -> set[str]:
        """Return the ids of the saves whose content may be seen by who looks from ``since`` to ``until``.

        "" stands for no file at all.
        """
        ops = [op for op in self.of.get(key, ()) if op.may_count and op.begin <= until]
        settled = [op for op in ops if op.is_certain and op.end <= since]
        latest = max((op.begin for op in settled), default=-1)
        may_be = {op.id if op.kind == "save" else "" for op in ops if op.end >= latest}
        return may_be if settled else may_be | {""}
