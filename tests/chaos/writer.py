"""A web process: saves, replaces, deletes, rolls back; each noted in its journal.

Usage: python -m tests.chaos.writer PLAN.json NUMBER. Killed and started again, it goes on where its journal ends.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import django

POLICIES = ("transfer", "transfer-and-delete")
#: Chains of which one gives a taken name another, and the other replaces what it names.
PLAIN, OVERWRITING = "plain", "overwriting"
#: Names that every writer replaces.
CONTESTED = tuple(f"shared/{number}.bin" for number in range(8))
#: What a writer does, and how often.
STEPS = {
    "save": 40, "save_together": 6, "save_undone": 3, "replace": 14, "replace_contested": 3, "replace_undone": 3,
    "replace_twice_together": 2, "delete": 8, "delete_undone": 2, "delete_contested": 1, "save_deleted": 6,
    "delete_and_save_together": 2,
}  # fmt: skip
#: How many of the newest files every second step chooses from: those that are likely under way.
RECENT = 30


class Undone(Exception):
    """Rolls a transaction back."""


@dataclass
class Plan:
    """What the controller tells its processes."""

    folder: str
    seed: int
    writers: int
    files: int
    backlog: int
    largest: int
    smallest_big: int
    sizes: tuple[int, int]
    every_big: int
    only_saves: bool
    #: Seconds between two reads of the reader.
    pause: float
    #: Seconds; the settings' defaults are made for production, where nobody waits for the end.
    lease: float
    sweep: float

    @classmethod
    def read(cls, path: str) -> Plan:
        return cls(**json.loads(Path(path).read_text()))

    def size(self, rng: random.Random, number: int) -> int:
        if self.every_big and number % self.every_big == self.every_big - 1:
            return rng.randint(self.smallest_big, self.largest)
        low, high = self.sizes
        return round(low * (high / low) ** rng.random())


@dataclass
class Writer:
    plan: Plan
    number: int
    step: int = 0
    new: int = 0
    ops: int = 0
    live: list[tuple[str, str]] = field(default_factory=list)
    deleted: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        from tests.chaos.journal import Pen

        self.path = Path(self.plan.folder) / f"writer{self.number}.journal"
        self._resume()
        self.pen = Pen(self.path)
        self._ended: list[dict[str, Any]] = []
        self._in_transaction = False
        self._doomed = False

    # ---- where it left off ----

    def _resume(self) -> None:
        if not self.path.exists():
            return
        begun = {}
        for line in map(json.loads, self.path.read_text().splitlines()):
            self.step = max(self.step, line.get("step", 0))
            if line["phase"] == "begin":
                begun[line["op"]] = line
                self.ops += 1
            elif line["phase"] == "end":
                self._take_in(begun.pop(line["op"], {}) | line)

    def _take_in(self, line: dict[str, Any]) -> None:
        if line.get("outcome") != "done" or line.get("doomed", True):
            return
        key = (line["chain"], line["name"])
        if line["name"] in CONTESTED:
            return
        self.new += line["new"]
        for names in (self.live, self.deleted):
            with suppress(ValueError):
                names.remove(key)
        (self.live if line["kind"] == "save" else self.deleted).append(key)

    # ---- what it does ----

    def run(self) -> None:
        while self.new < self.share:
            self.step += 1
            self._wait_for_workers()
            self.rng = random.Random(f"{self.plan.seed}/{self.number}/{self.step}")
            steps = {"save": 1} if self.plan.only_saves else STEPS
            (step,) = self.rng.choices(list(steps), list(steps.values()))
            with suppress(Undone):
                getattr(self, step)()
        self.pen.write(phase="finished", writer=self.number)

    @property
    def share(self) -> int:
        files, writers = self.plan.files, self.plan.writers
        return files // writers + (self.number < files % writers)

    def _wait_for_workers(self) -> None:
        """Keep as much work under way as the plan says, so that each fault meets some."""
        from queued_storage import catalog

        if self.step % 5 == 0 or self.plan.backlog < 50:
            until = time.monotonic() + 60
            pending = catalog.files().filter(due_at__isnull=False)
            while pending.count() > self.plan.backlog and time.monotonic() < until:
                time.sleep(0.1)

    def save(self) -> None:
        self._save(self._chain(), self._name(), new=True)

    def save_together(self) -> None:
        with self._transaction():
            for _ in range(self.rng.randint(2, 5)):
                self._save(self._chain(), self._name(), new=True)

    def save_undone(self) -> None:
        with self._transaction(doomed=True):
            self._save(self._chain(), self._name())

    def replace(self) -> None:
        if name := self._recent(self.live, OVERWRITING):
            self._save(OVERWRITING, name)

    def replace_contested(self) -> None:
        self._save(OVERWRITING, self.rng.choice(CONTESTED))

    def replace_undone(self) -> None:
        if name := self._recent(self.live, OVERWRITING):
            with self._transaction(doomed=True):
                self._save(OVERWRITING, name)

    def replace_twice_together(self) -> None:
        if name := self._recent(self.live, OVERWRITING):
            with self._transaction():
                self._save(OVERWRITING, name)
                self._save(OVERWRITING, name)

    def delete(self) -> None:
        chain = self._chain()
        if name := self._recent(self.live, chain):
            self._delete(chain, name)

    def delete_undone(self) -> None:
        chain = self._chain()
        if name := self._recent(self.live, chain):
            with self._transaction(doomed=True):
                self._delete(chain, name)

    def delete_contested(self) -> None:
        self._delete(OVERWRITING, self.rng.choice(CONTESTED))

    def save_deleted(self) -> None:
        chain = self._chain()
        if name := self._recent(self.deleted, chain):
            self._save(chain, name)

    def delete_and_save_together(self) -> None:
        if name := self._recent(self.live, OVERWRITING):
            with self._transaction():
                self._delete(OVERWRITING, name)
                self._save(OVERWRITING, name)

    # ---- how ----

    def _chain(self) -> str:
        return self.rng.choice((PLAIN, OVERWRITING))

    def _name(self) -> str:
        return f"w{self.number}/{self.step % 20}/{self.step}-{self.ops}.bin"

    def _recent(self, keys: list[tuple[str, str]], chain: str) -> str | None:
        names = [name for of, name in keys if of == chain]
        return self.rng.choice(names[-RECENT:] if self.rng.random() < 0.5 else names) if names else None

    @contextmanager
    def _transaction(self, *, doomed: bool = False) -> Iterator[None]:
        from django.db import transaction

        self._in_transaction, self._doomed = True, doomed
        try:
            with transaction.atomic():
                yield
                if doomed:
                    raise Undone
        except Undone:
            self._end_all()
            raise
        except Exception as error:  # noqa: BLE001 - whatever a user's save meets is a finding
            self._end_all("failed", repr(error))
        else:
            self._end_all()
        finally:
            self._in_transaction = self._doomed = False

    def _end_all(self, outcome: str | None = None, error: str = "") -> None:
        for line in self._ended:
            self._end(line | ({"outcome": outcome, "error": error} if outcome else {}))
        self._ended.clear()

    def _end(self, line: dict[str, Any]) -> None:
        self.pen.write(**{key: line[key] for key in ("phase", "op", "outcome", "name", "error")})
        self._take_in(line)

    def _save(self, chain: str, name: str, *, new: bool = False) -> None:
        from django.core.files.base import ContentFile

        from queued_storage.storage import TieredStorage

        from tests.chaos import content

        policy = self.rng.choice(POLICIES)
        size = self.plan.size(self.rng, self.ops)
        op = f"w{self.number}-{self.ops}"
        data = ContentFile(content.make(op, size))
        data.content_type = "application/x-chaos"
        storage = TieredStorage(chain, policy)
        self._run(
            lambda: storage.save(name, data),
            op=op, kind="save", chain=chain, name=name, policy=policy, size=data.size, new=new,
        )  # fmt: skip

    def _delete(self, chain: str, name: str) -> None:
        from queued_storage.storage import TieredStorage

        storage = TieredStorage(chain)
        op = f"w{self.number}-{self.ops}"
        self._run(
            lambda: storage.delete(name) or name,  # type: ignore[func-returns-value]
            op=op, kind="delete", chain=chain, name=name, policy="", size=0, new=False,
        )  # fmt: skip

    def _run(self, call: Any, **facts: Any) -> None:
        self.ops += 1
        line = {**facts, "step": self.step, "doomed": self._doomed}
        self.pen.write(phase="begin", **line)
        line |= {"phase": "end", "error": "", "outcome": "undone" if self._doomed else "done"}
        try:
            line["name"] = call()
        except Exception as error:
            line |= {"outcome": "failed", "error": repr(error)}
            if self._in_transaction:
                self._ended.append(line)
                raise
        if not self._in_transaction:
            self._end(line)
            return
        for earlier in self._ended:  # nobody outside will have seen what this transaction itself replaced
            if (earlier["chain"], earlier["name"]) == (line["chain"], line["name"]):
                earlier["outcome"] = "undone"
        self._ended.append(line)


def main(plan: str, number: str) -> None:
    django.setup()
    Writer(Plan.read(plan), int(number)).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
