"""A chain, the processes that use it, what they are doing, and what may be seen of it all."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from django.conf import settings
from django.core.cache import caches
from django.core.files.base import ContentFile
from django.db import connections, transaction
from django.utils import timezone

from queued_storage import catalog, chain, outage
from queued_storage.exceptions import NameTaken
from queued_storage.models import StoredFile
from queued_storage.names import is_staging
from queued_storage.policies import registry
from queued_storage.reconcile import reconcile
from queued_storage.storage import TieredStorage
from queued_storage.testing import faulty

from . import instrument, tiers
from .actors import Actor
from .excuses import EXCUSED
from .model import ANYTHING, Model, Name, Operation

ALIAS = "media"
TIERS = "tests.stateful.tiers"
UNKNOWN = 10**9


class Violation(AssertionError):
    """The package did not keep what it promises."""


@dataclass(frozen=True)
class Shape:
    """What a chain is made of."""

    first: str = "disk"
    lower: tuple[str, ...] = ("remote",)
    policy: str = "transfer"
    verify: str = "size"
    timeout: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return ("near", "far", "vault")[: 1 + len(self.lower)]

    @property
    def kinds(self) -> dict[str, str]:
        return dict(zip(self.names, (self.first, *self.lower), strict=True))


POLICIES = {
    "transfer": ("Transfer", {}),
    "move": ("TransferAndDelete", {}),
    "move later": ("TransferAndDelete", {"after": 1000}),
    "move and keep": ("TransferAndDelete", {"keep": 1000}),
    "copy when asked": ("Delayed", {"then": "transfer"}),
    "move when asked": ("Delayed", {"then": "transfer-and-delete"}),
}


class Recorder:
    """Keeps the messages that a broker would have."""

    messages: ClassVar[list[int]] = []

    def dispatch(self, ids: Sequence[int]) -> None:
        self.messages += ids


class Process:
    """What one process knows: its chains, and which tiers it found down."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.restart()

    def __repr__(self) -> str:
        return self.name

    def restart(self) -> None:
        self._chains: Any = None
        self._memory: dict[str, Any] = {
            key: type(value)()
            for key, value in vars(outage._Memory).items()
            if not key.startswith("__") and isinstance(value, dict | float)
        }

    def enter(self) -> None:
        chain.chains._chains = self._chains
        for key, value in self._memory.items():
            setattr(outage._Memory, key, value)

    def leave(self) -> None:
        self._chains = chain.chains._chains
        for key in self._memory:
            self._memory[key] = getattr(outage._Memory, key)

    @contextmanager
    def here(self) -> Iterator[TieredStorage]:
        self.enter()
        try:
            yield TieredStorage(ALIAS)
        finally:
            self.leave()


class World:
    LEASE = 300

    def __init__(self) -> None:
        self.instruments = instrument.Instruments(self)
        self.folder = Path(settings.FOLDER) / "tiers"
        self.lives = 0
        #: What happened in the engine that is rare.
        self.events: Counter[str] = Counter()

    # ---- beginning and end ----

    def begin(self, shape: Shape) -> None:
        self.lives += 1
        self.shape = shape
        self.first = shape.names[0]
        self.root = self.folder / str(self.lives)
        self.clock = self.instruments.clock
        self.clock.reset()
        self.instruments.counter = itertools.count(1)
        Recorder.messages.clear()
        StoredFile.objects.all().delete()
        caches["default"].clear()
        faulty.FaultyStorage.buckets.clear()
        for name, kind in shape.kinds.items():
            if "disk" not in kind:
                faulty.FaultyStorage.buckets[name] = tiers.Bucket(name)
        backend, options = POLICIES[shape.policy]
        verify = {"verify": shape.verify}
        settings.QUEUED_STORAGE_POLICIES = {
            "policy": {"BACKEND": f"queued_storage.policies.{backend}", "OPTIONS": options | verify}
        }
        settings.QUEUED_STORAGE_TIERS = {ALIAS: {"TIERS": self._tiers(), "POLICY": "policy"}}
        registry._named.cache_clear()
        chain.chains.reset()
        self.processes = [Process(self, "A"), Process(self, "B")]
        self.model = Model()
        self.actors: list[Actor] = []
        self.fallen: list[Actor] = []
        self.disk_faults: dict[str, Any] = {}
        self.is_faulty = False
        #: Counts the faults that were ever set, so that who began before knows that there was one.
        self.faults_set = 0
        self.excused: set[tuple[str, str]] = set()

    def _tiers(self) -> dict[str, Any]:
        return {name: self._tier(name, kind) for name, kind in self.shape.kinds.items()}

    def _tier(self, name: str, kind: str) -> dict[str, Any]:
        if "disk" in kind:
            options: dict[str, Any] = {"tier": name, "location": str(self.root / name)}
            if kind == "overwriting disk":
                options["allow_overwrite"] = True
            return {"BACKEND": f"{TIERS}.Disk", "OPTIONS": options}
        backend = {"remote": "Remote", "overwriting remote": "OverwritingRemote", "in place": "InPlace"}[kind]
        tier: dict[str, Any] = {"BACKEND": f"{TIERS}.{backend}", "OPTIONS": {"bucket": name}}
        return tier | ({"TIMEOUT": 5.0} if self.shape.timeout and name != self.first else {})

    def end(self) -> None:
        for actor in [*self.actors, *self.fallen]:
            actor.unwind()
        self.actors, self.fallen = [], []
        shutil.rmtree(self.root, ignore_errors=True)

    # ---- what is done ----

    def start(self, label: str, process: Process, function: Callable[[], Any], **facts: Any) -> Actor:
        actor = Actor(label, process, function)
        actor.operations = facts.pop("operations", [])
        actor.operation = actor.operations[0] if actor.operations else None
        actor.finish = facts.pop("finish", self._finish_work)
        actor.touched = []
        actor.noted = 0
        actor.must_commit = False
        actor.name = ""
        actor.saved_as = set()
        actor.lands_by = None
        actor.began_with = self.faults_set
        actor.saw_fault = self.is_faulty
        actor.beat = None
        actor.on_crash = lambda atomic: self._crashed(actor, atomic)
        vars(actor).update(facts)
        self.actors.append(actor)
        return actor

    def step(self, actor: Actor) -> None:
        actor.step()
        if actor.dead:
            return
        if actor.done:
            self.actors.remove(actor)
            actor.unwind()
            actor.finish(actor)

    def run(self, actor: Actor) -> None:
        for _ in range(400):
            if not actor.is_alive:
                return
            self.step(actor)
        raise Violation(f"{actor!r} does not come to an end")

    def met_faults(self, actor: Actor) -> bool:
        return bool(actor.saw_fault or self.faults_set > actor.began_with)

    def save(self, process: Process, name: str, content: bytes, *, opened: bool = False) -> Actor:
        operation = Operation("save", content)
        self.model.contents.add(content)

        def function() -> None:
            storage = TieredStorage(ALIAS)
            if opened:
                with storage.open(name, "wb") as file:
                    file.write(content)
                operation.name = name
            else:
                operation.name = storage.save(name, ContentFile(content))

        label = f"{'open wb' if opened else 'save'} {name} in {process}"
        return self.start(
            label,
            process,
            function,
            operations=[operation],
            finish=self._finish_operation,
            must_commit=True,
            name=name,
        )

    def delete(self, process: Process, name: str) -> Actor:
        operation = Operation("delete", None, name)
        seen = self.model[name].watch()

        def finish(actor: Actor) -> None:
            self.model[name].unwatch(seen)
            self._finish_operation(actor)
            known = self.model[name]
            if (
                "S2" not in EXCUSED
                and not actor.error
                and known.current is None
                and known.last
                and known.last.crashed
            ):
                known.also.clear()
            if not (actor.error or operation.committed or None in seen or ANYTHING in seen or known.murky):
                raise Violation(f"delete({name!r}) returned without deleting")

        function = lambda: TieredStorage(ALIAS).delete(name)  # noqa: E731
        return self.start(
            f"delete {name} in {process}", process, function, operations=[operation], finish=finish, name=name
        )

    def transact(self, process: Process, parts: Sequence[tuple[str, str, bytes]], undo: str) -> Actor:
        """Save and delete in one transaction; ``undo``: "", "all" or "last" (by a savepoint)."""
        operations = [
            Operation(kind, content if kind == "save" else None, name) for kind, name, content in parts
        ]
        self.model.contents |= {content for _, _, content in parts}

        def one(operation: Operation, name: str) -> None:
            actor.operation = operation
            storage = TieredStorage(ALIAS)
            if operation.kind == "save":
                assert operation.content is not None
                operation.name = storage.save(name, ContentFile(operation.content))
                told = storage.open(operation.name)
                with told:
                    if told.read() != operation.content:
                        raise Violation("a transaction does not see its own save")
            else:
                storage.delete(name)
                known = self.model[name]
                if storage.exists(name) and not known.murky and not ("S2" in EXCUSED and known.also):
                    raise Violation("a transaction sees the file that it deleted")
            operation.done = True

        def function() -> None:
            with _undone(undo == "all"), transaction.atomic():
                for i, (operation, (_, name, _)) in enumerate(zip(operations, parts, strict=True)):
                    with _undone(undo == "last" and i == len(parts) - 1), transaction.atomic():
                        one(operation, name)
                        if undo == "last" and i == len(parts) - 1:
                            operation.undone = True
                            raise _Undo
                    self._roll_back(actor)
                if undo == "all":
                    for operation in operations:
                        operation.undone = True
                    raise _Undo
            if undo == "all":
                self._roll_back(actor)

        told = ", ".join(f"{kind} {name}" for kind, name, _ in parts)
        label = f"transaction ({told}; undo {undo or 'nothing'}) in {process}"
        actor = self.start(label, process, function, operations=operations, finish=self._finish_operation)
        return actor

    def read(self, process: Process, name: str) -> Actor:
        seen = self.model[name].watch()

        def function() -> bytes | None:
            try:
                with TieredStorage(ALIAS).open(name) as file:
                    content: bytes = file.read()
                    return content
            except FileNotFoundError:
                return None

        def finish(actor: Actor) -> None:
            self.model[name].unwatch(seen)
            if ANYTHING in seen:
                return
            if self.met_faults(actor):
                if actor.error is not None and isinstance(actor.error, OSError):
                    return
                if actor.error is None and actor.result is not None:
                    return  # a fault of reading may have cut it
            self._raise(actor)
            if actor.result not in seen:
                raise Violation(f"{actor.label} found {actor.result!r}, not one of {seen}")

        return self.start(f"read {name} in {process}", process, function, finish=finish)

    def work(self, process: Process, pk: int) -> Actor:
        name = self.name_of(pk)
        return self.start(f"worker at {name} in {process}", process, lambda: reconcile(pk), name=name)

    def transfer(self, process: Process, name: str) -> Actor:
        def finish(actor: Actor) -> None:
            if "S1" in EXCUSED and isinstance(actor.error, NameTaken):
                return
            if not isinstance(actor.error, FileNotFoundError) and not (
                self.met_faults(actor) and isinstance(actor.error, OSError)
            ):
                self._raise(actor)

        function = lambda: TieredStorage(ALIAS).transfer(name)  # noqa: E731
        return self.start(f"transfer {name} in {process}", process, function, finish=finish)

    def linger(self, actor: Actor, call: faulty.Call) -> None:
        """A call that its caller gave up goes on, for as long as a lease."""
        label = f"{call.method} {call.name}, given up by {actor.label}"
        other = self.start(label, actor.process, call.proceed, finish=lambda actor: None)
        other.at, other.facts = "its deed", {"writes": call.method in ("save", "delete")}
        other.lands_by = self.clock.time() + self.LEASE

    def linger_is_over(self, actor: Actor) -> bool:
        return actor.lands_by is not None and self.clock.time() >= actor.lands_by

    # ---- how it ends ----

    def _raise(self, actor: Actor) -> None:
        if actor.error is not None:
            raise Violation(f"{actor.label} raised {actor.error!r}") from actor.error

    def _finish_work(self, actor: Actor) -> None:
        if not self.met_faults(actor):
            self._raise(actor)

    def _finish_operation(self, actor: Actor) -> None:
        if actor.error is not None:
            if not (self.met_faults(actor) and isinstance(actor.error, OSError)):
                self._raise(actor)
            done = {operation.content for operation in actor.operations if operation.done}
            for name, content in actor.touched:
                if content in done:  # of the same transaction, which is rolled back
                    self._murk(name, content)
            if committed := [each for each in actor.operations if each.committed]:
                raise Violation(f"{actor.label} raised {actor.error!r} after it committed {committed}")
            return
        rows = self.rows()
        for operation in actor.operations:
            if operation.committed and not ("S8" in EXCUSED and self._is_uncleared(operation, rows)):
                self.model.returned(operation)
            operation.crashed |= not operation.returned
        if actor.must_commit and not actor.operations[0].committed:
            raise Violation(f"{actor.label} returned without a commit")

    def _is_uncleared(self, operation: Operation, rows: dict[str, StoredFile]) -> bool:
        row = rows.get(operation.name)
        return operation.kind == "delete" and row is not None and not row.is_live and self.first in row.stale

    def _crashed(self, actor: Actor, atomic: bool) -> None:
        self.actors.remove(actor)
        self.fallen.append(actor)
        for operation in actor.operations:
            operation.crashed = True
        for name, content in actor.touched:
            self._murk(name, content)
        self.excused |= actor.saved_as

    def _roll_back(self, actor: Actor) -> None:
        """What was saved and rolled back may stay on the first tier, as with Django's own storages."""
        for operation in actor.operations:
            if operation.undone:
                for name, content in actor.touched:
                    if content == operation.content:
                        self._murk(name, content)

    def _murk(self, name: str, content: bytes | None) -> None:
        self.model.murk(name, content if "disk" in self.shape.first else ANYTHING)

    def touched(self, actor: Actor, name: str, content: bytes | None) -> None:
        operation = actor.operation
        if is_staging(PurePosixPath(name).name):
            return
        if operation is not None and not operation.committed and connections["default"].in_atomic_block:
            actor.touched.append((name, content))

    def recorded(self, actor: Actor, row: StoredFile) -> None:
        """A save or delete is in the catalog: should its transaction commit, the model learns it first of all."""
        operation = actor.operation
        if operation is None or row is None:
            return
        connection = connections["default"]

        def committed() -> None:
            actor.touched = [entry for entry in actor.touched if entry != (row.name, operation.content)]
            self.model.committed(operation, row.name)

        entry = (set(connection.savepoint_ids), committed, False)
        if connection.in_atomic_block:
            # Before what the package itself does at the commit, in the order of the operations.
            connection.run_on_commit.insert(actor.noted, entry)
            actor.noted += 1
        else:
            committed()

    # ---- faults and time ----

    def disk_fault(self) -> None:
        if Actor.current is not None and self.disk_faults.get("full") and not Actor.current.operations:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def set_fault(self, tier: str, method: str, effect: Any, calls: Any) -> None:
        self.is_faulty = True
        self.faults_set += 1
        bucket = faulty.FaultyStorage.buckets.get(tier)
        if bucket is None:
            self.disk_faults["full"] = True
        else:
            bucket.on(method, effect, calls)

    def heal(self) -> None:
        self.is_faulty = False
        self.disk_faults.clear()
        for bucket in faulty.FaultyStorage.buckets.values():
            bucket.heal()

    def shift(self, seconds: float) -> None:
        self.clock.shift(seconds)
        for actor in list(self.actors):
            # No call to a server lasts that long; what a disk publishes from staging may.
            if actor.facts.get("writes") and self.linger_is_over(actor):
                actor.crash()

    # ---- what can be seen ----

    @contextmanager
    def audit(self) -> Iterator[None]:
        """Look at the tiers without faults, points and remembered outages."""
        buckets = list(faulty.FaultyStorage.buckets.values())
        refuse, is_down = outage.refuse_if_down, outage.is_down
        for bucket in buckets:
            bucket.suspended = True
        outage.refuse_if_down = lambda tier: None
        outage.is_down = lambda tier: False
        try:
            yield
        finally:
            for bucket in buckets:
                bucket.suspended = False
            outage.refuse_if_down, outage.is_down = refuse, is_down

    def rows(self) -> dict[str, StoredFile]:
        return {row.name: row for row in StoredFile.objects.all()}

    def name_of(self, pk: int) -> str:
        return next((row.name for row in StoredFile.objects.filter(pk=pk)), f"row {pk}")

    def holds(self, tier: str, name: str) -> bytes | None:
        """Return what lies on a tier by that name, past every storage."""
        if (bucket := faulty.FaultyStorage.buckets.get(tier)) is not None:
            return bucket.files.get(name)
        try:
            return (self.root / tier / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def all_on(self, tier: str) -> dict[str, bytes]:
        if (bucket := faulty.FaultyStorage.buckets.get(tier)) is not None:
            return dict(bucket.files)
        return tiers.files_in(self.root / tier)

    def firm_up(self, rows: dict[str, StoredFile]) -> None:
        """Where an operation crashed after its commit, somebody else may have done its last step."""
        for name, known in self.model.names.items():
            last, row = known.last, rows.get(name)
            if not known.also or last is None or not last.crashed:
                continue
            if last.kind == "save":
                is_done = row is not None and not row.staged
            else:
                is_done = row is None or row.is_gone or self.first not in row.stale
            if is_done:
                known.also.clear()

    def check(self, process: Process, *, thorough: bool) -> None:
        """G1 to G5, as far as they can be told now."""
        rows = self.rows()
        self.firm_up(rows)
        with self.audit():
            for name, known in self.model.names.items():
                self._check_row(name, known, rows.get(name))
            with process.here() as storage:
                for name, known in self.model.names.items():
                    self._check_reads(storage, name, known, thorough=thorough)
                if thorough:
                    self._check_listing(storage)

    def _check_reads(self, storage: TieredStorage, name: str, known: Name, *, thorough: bool) -> None:
        allowed = known.allowed
        if ANYTHING in allowed:
            return
        try:
            with storage.open(name) as file:
                found: bytes | None = file.read()
        except FileNotFoundError:
            found = None
        if found not in allowed:
            which = "G5" if known.current is None else "G1" if found is None else "G4"
            raise Violation(
                f"{which}: {name!r} reads as {found!r}, not as one of {allowed}; {self._told(name)}"
            )
        if not thorough:
            return
        if storage.exists(name) != (found is not None):
            raise Violation(f"G1: exists({name!r}) does not say what open() does")
        if found is not None and len(allowed) == 1 and storage.size(name) != len(found):
            raise Violation(f"G1: size({name!r}) is {storage.size(name)}, not {len(found)}")

    def _told(self, name: str) -> str:
        """Everything about a name, for whoever has to find out what went wrong."""
        row = self.rows().get(name)
        facts = (
            "state",
            "generation",
            "tiers",
            "stale",
            "staged",
            "due_at",
            "lease",
            "lost",
            "attempts",
            "last_error",
        )
        told = None if row is None else {fact: str(getattr(row, fact)) for fact in facts}
        copies = {tier: self.holds(tier, name) for tier in self.shape.names}
        return f"row {told}, tiers {copies}, actors {self.actors}, crashed {self.fallen}"

    def _check_listing(self, storage: TieredStorage) -> None:
        listed = set()
        for folder in ("", "d"):
            try:
                listed |= {str(PurePosixPath(folder, name)) for name in storage.listdir(folder)[1]}
            except FileNotFoundError:
                continue
        for name, known in self.model.names.items():
            allowed = known.allowed
            if ANYTHING not in allowed and None not in allowed and name not in listed:
                raise Violation(f"G1: listdir() does not show {name!r}")
            if allowed == {None} and name in listed:
                raise Violation(f"G5: listdir() shows {name!r}, which is deleted")

    def _check_row(self, name: str, known: Name, row: StoredFile | None) -> None:
        if row is not None:
            self._check_state(row)
        if known.murky:
            return
        if known.current is None:
            if row is not None and row.is_live:
                raise Violation(f"G5: the row of {name!r} is live")
            return
        if row is None or not row.is_live:
            raise Violation(f"G3: {name!r} has no live row")
        copies = [self.holds(tier, name) for tier in row.tiers]
        if row.staged:
            copies.append(self.holds(self.first, str(PurePosixPath(name).parent / row.staged)))
        if known.current not in copies:
            raise Violation(f"G2: none of {row.tiers} holds {known.current!r} of {name!r}: {copies}")

    def _check_state(self, row: StoredFile) -> None:
        now = timezone.now()
        told = f"{row.name!r} is {row.state}, due {row.due_at}, on {row.tiers}, stale {row.stale}, {row.last_error!r}"
        if row.state == "settled":
            with self.processes[0].here() as storage:
                assessment = storage.chain.assess(row, row.policy, now)
            # A review whose time passed between the look and its record comes a second later (``next_look``).
            soon = now + timedelta(seconds=1)
            is_due = row.due_at is not None and (row.due_at <= soon or "S4" in EXCUSED)
            if not assessment.is_settled and not is_due:
                raise Violation(f"G3: {told}, and not where its policy wants it")
            if row.stale and not is_due:
                raise Violation(f"G3: {told}")
        elif row.state == "failed":
            if not row.last_error:
                raise Violation(f"G3: {told}: no reason")
        elif row.due_at is None and row.state == "pending":
            raise Violation(f"G3: {told}: never looked at again")
        elif row.state == "deleted" and not row.is_gone and row.due_at is None and not row.lease:
            raise Violation(f"G5: {told}: never cleared")

    # ---- rest ----

    def come_to_rest(self) -> None:
        """End every fault and every actor, do all that is owed, and look at what is left."""
        self.heal()
        for i, actor in enumerate(list(self.actors)):
            if actor.is_alive:
                if i % 2 and not actor.operations:
                    actor.crash()
                else:
                    self.run(actor)
        for _ in range(60):
            owed = StoredFile.objects.exclude(due_at=None)
            catalog.retry(StoredFile.objects.filter(state="failed"))
            moments = [
                max(row.due_at, row.lease_until) if row.lease and row.lease_until else row.due_at
                for row in owed
            ]
            if not moments:
                break
            ahead = (min(moments) - timezone.now()).total_seconds()
            self.shift(max(ahead, 0) + 1)
            process = self.processes[_ % 2]
            for pk in catalog.due(timezone.now()).values_list("pk", flat=True):
                with process.here():
                    reconcile(pk)
            self.check(process, thorough=False)
        else:
            raise Violation(f"G3: never settles: {[vars(row) for row in owed]}")
        self.check(self.processes[0], thorough=True)
        self.check(self.processes[1], thorough=True)
        self._check_rest()

    def _check_rest(self) -> None:
        rows = self.rows()
        for tier in self.shape.names:
            for name, content in self.all_on(tier).items():
                if is_staging(PurePosixPath(name).name):
                    continue
                known, row = self.model.names.get(name), rows.get(name)
                if (known is not None and known.murky) or ((tier, name) in self.excused and known is None):
                    continue
                if known is None or known.current is None:
                    raise Violation(f"G5: {tier} still has {content!r} of {name!r}")
                if row is None or tier not in row.tiers:
                    raise Violation(f"G5: {tier} has {name!r}, on which nobody counts")
                if content != known.current:
                    raise Violation(f"G6: {tier} has {content!r} of {name!r}, not {known.current!r}")
        for name, known in self.model.names.items():
            if known.current is None or known.murky:
                continue
            row = rows[name]
            if row.state != "settled":
                raise Violation(f"G3: {name!r} is {row.state} at rest: {row.last_error}")
            for tier in row.tiers:
                if self.holds(tier, name) != known.current:
                    raise Violation(f"G6: {tier} does not hold the newest content of {name!r}")


class _Undo(Exception):
    """Rolls a transaction back."""


@contextmanager
def _undone(wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    with suppress(_Undo):
        yield
