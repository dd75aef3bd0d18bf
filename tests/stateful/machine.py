"""The state machine: what may happen, in any order; after each step the world is compared with the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.cache import caches
from django.utils import timezone
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from queued_storage import catalog, dispatch
from queued_storage.exceptions import LeaseLost
from queued_storage.models import StoredFile
from queued_storage.testing import faulty

from . import tiers
from .actors import Actor
from .world import POLICIES, UNKNOWN, Process, Recorder, Shape, Violation, World

NAMES = ("a.txt", "b.txt", "d/c.txt")
MAX_ACTORS = 6
MAX_HANDLES = 2

SAVE_FAULTS = {
    "refuse": faulty.refuse, "full": faulty.full, "fail afterwards": faulty.fail_afterwards, "cut": faulty.cut,
    "cut and fail": faulty.cut_and_fail, "lie": faulty.lie, "rename": faulty.rename, "hang": tiers.hang,
}  # fmt: skip
FIRST_FAULTS = {key: SAVE_FAULTS[key] for key in ("refuse", "full", "fail afterwards", "cut and fail")}
DELETE_FAULTS = {"refuse": faulty.refuse, "fail afterwards": faulty.fail_afterwards, "hang": tiers.hang}
OPEN_FAULTS = {"refuse": faulty.refuse, "break off": faulty.break_off, "truncate": faulty.truncate}
ASK_FAULTS = {"refuse": faulty.refuse}
METHODS = ("save", "save", "save", "delete", "open", "size", "exists")
FAULTS = {
    "save": SAVE_FAULTS,
    "delete": DELETE_FAULTS,
    "open": OPEN_FAULTS,
    "size": ASK_FAULTS,
    "exists": ASK_FAULTS,
}

SHAPES = st.builds(
    Shape,
    first=st.sampled_from(("disk", "overwriting disk", "overwriting disk", "in place")),
    lower=st.lists(st.sampled_from(("remote", "disk", "overwriting remote")), min_size=1, max_size=2).map(
        tuple
    ),
    policy=st.sampled_from((*POLICIES, "move", "move", "move later", "move later")),
    verify=st.sampled_from(("size", "content")),
    timeout=st.booleans(),
)
INDEX = st.integers(0, 7)
TO_ITS_END, TO_A_DEED = 0, -1
#: Races need one name more than they need many.
PARTS = st.lists(st.sampled_from(("save", "delete")), min_size=1, max_size=3)
MEANWHILE = st.lists(
    st.sampled_from(("resave", "resave", "delete", "transfer", "work", "work")), min_size=1, max_size=4
)
UNDO = st.sampled_from(("", "all", "last"))
NAME = st.sampled_from(NAMES[:1] * 3 + NAMES)
STEPS = st.sampled_from((TO_A_DEED, TO_A_DEED, TO_A_DEED, TO_ITS_END, TO_ITS_END, 1, 2, 4))

#: What happens, each as often as it stands here.
USER = (
    *("save", "save", "write", "resave", "resave", "resave", "resave"),
    *("delete", "delete", "transact", "read", "hold", "transfer"),
)
WORK = ("work", "work", "work", "work", "deliver", "repeat")
GO_ON = (
    *("step", "step", "step", "step_two", "step_two", "deed", "deed", "finish", "finish", "finish"),
    *(
        "wake_late",
        "wake_late",
        "wake_late",
        "wake_late",
        "beat",
        "overtake",
        "overtake",
        "overtake",
        "overtake",
        "crash",
        "crash_inside",
    ),
)
TROUBLE = (
    *("wait", "wait", "wait", "fault", "fault", "fault", "heal", "heal"),
    *("sweep", "flush", "retry", "lose", "forge", "restart"),
)
RACES = ("wake_late", "wake_late", "wake_late", "wake_late", "wake_late")
WHAT = (*RACES, *USER, *WORK, *GO_ON, *TROUBLE)
WAIT = st.sampled_from((75, 150, 301, 301, 601, 1001, 1001, 5 * 3600))
WHO = st.integers(0, 1)

#: How often each rule ran, and how often an actor was stepped.
RAN: Counter[str] = Counter()
#: Points at which actors stood when they crashed.
CRASHED_AT: Counter[str] = Counter()


class Machine(RuleBasedStateMachine):
    world: World
    #: After how many steps of the run something was first violated; the rest is Hypothesis making it small.
    failed_after = 0

    @initialize(shape=SHAPES)
    def begin(self, shape: Shape) -> None:
        self.steps = 0
        self.saves = 0
        self.handles: list[tuple[Any, bytes, str]] = []
        self.world.begin(shape)

    def teardown(self) -> None:
        if not hasattr(self, "steps"):
            return
        try:
            for file, _, _ in self.handles:
                file.close()
            with self.counted():
                self.world.come_to_rest()
        finally:
            self.world.end()

    # ---- helpers ----

    def after(self, name: str) -> None:
        RAN[name] += 1
        self.steps += 1
        with self.counted():
            self.world.check(self.world.processes[self.steps % 2], thorough=self.steps % 3 == 0)

    @contextmanager
    def counted(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            Machine.failed_after = Machine.failed_after or RAN.total()
            raise

    def content(self) -> bytes:
        """Contents differ in size where a tier may lie and only sizes are compared."""
        self.saves += 1
        if self.world.shape.verify == "size":
            return b"v%d" % self.saves + b"." * self.saves
        return b"v%07d" % self.saves

    def advance(self, actor: Actor, steps: int) -> None:
        """Let it go some steps, to its end, or to where it is about to change a tier."""
        with self.counted():
            if steps == TO_ITS_END:
                self.world.run(actor)
            while steps == TO_A_DEED and actor.is_alive:
                self.world.step(actor)
                if actor.facts.get("writes") or actor.facts.get("publishes"):
                    break
            for _ in range(steps):
                if actor.is_alive:
                    self.world.step(actor)
        note(f"    {actor!r}")

    @property
    def has_room(self) -> bool:
        return len(self.world.actors) < MAX_ACTORS

    @rule(what=st.sampled_from(WHAT), data=st.data())
    def happen(self, what: str, data: Any) -> None:
        """One rule for all, as Hypothesis would have most lives do without most of them."""
        if what in GO_ON and not self.world.actors:
            what = "work"
        elif what in (*USER, *WORK) and not self.has_room:
            what = "finish"
        self.draw = data.conjecture_data.draw  # quietly: what came of it is noted, in words
        told = getattr(self, f"_{what}")()
        self.after(told)

    def process(self) -> Process:
        return self.world.processes[self.draw(WHO)]

    def known(self) -> str:
        """Return a name that is or was there, one of the first more often."""
        names = [*self.world.model.names, NAMES[0]]
        return names[max(self.draw(INDEX) - 4, 0) % len(names)]

    def some_row(self) -> int:
        now = timezone.now()
        due = list(catalog.due(now).values_list("pk", flat=True))
        pks = due or list(StoredFile.objects.order_by("pk").values_list("pk", flat=True)) or [UNKNOWN]
        return pks[max(self.draw(INDEX) - 4, 0) % len(pks)]

    def actor(self) -> Actor:
        return self.world.actors[self.draw(INDEX) % len(self.world.actors)]

    def begin_with(self, actor: Actor) -> None:
        self.advance(actor, self.draw(STEPS))

    # ---- what users do ----

    def _save(self) -> str:
        self.begin_with(self.world.save(self.process(), self.draw(NAME), self.content()))
        return "save"

    def _write(self) -> str:
        self.begin_with(self.world.save(self.process(), self.draw(NAME), self.content(), opened=True))
        return "open wb"

    def _resave(self) -> str:
        opened = self.draw(st.booleans())
        self.begin_with(self.world.save(self.process(), self.known(), self.content(), opened=opened))
        return "re-save"

    def _delete(self) -> str:
        self.begin_with(self.world.delete(self.process(), self.known()))
        return "delete"

    def _read(self) -> str:
        self.begin_with(self.world.read(self.process(), self.known()))
        return "read"

    def _transfer(self) -> str:
        self.begin_with(self.world.transfer(self.process(), self.known()))
        return "transfer()"

    def _transact(self) -> str:
        kinds, undo = self.draw(PARTS), self.draw(UNDO)
        parts = [(kind, self.known(), self.content()) for kind in kinds]
        self.begin_with(self.world.transact(self.process(), parts, undo))
        return f"transaction, {'rolled back' if undo else 'committed'}"

    def _hold(self) -> str:
        """Read the beginning of a file now, and the rest later."""
        if len(self.handles) == MAX_HANDLES:
            return self._read_on()
        name = self.known()
        with self.world.audit(), self.process().here() as storage:
            try:
                file = storage.open(name)
            except FileNotFoundError:
                return "find nothing to open"
            self.handles.append((file, file.read(1), name))
        return "open and hold"

    def _read_on(self) -> str:
        file, begun, name = self.handles.pop(0)
        with self.counted(), file:
            content = begun + file.read()
            if content not in self.world.model.contents:
                raise Violation(f"G4: a file of {name!r} that was open read as {content!r}")
        return "read on"

    # ---- what workers do ----

    def _work(self) -> str:
        self.begin_with(self.world.work(self.process(), self.some_row()))
        return "work"

    def _deliver(self) -> str:
        if not Recorder.messages:
            return self._work()
        pk = Recorder.messages.pop(self.draw(INDEX) % len(Recorder.messages))
        self.begin_with(self.world.work(self.process(), pk))
        return "deliver a message"

    def _repeat(self) -> str:
        if not Recorder.messages:
            return self._work()
        pk = Recorder.messages[self.draw(INDEX) % len(Recorder.messages)]
        self.begin_with(self.world.work(self.process(), pk))
        return "deliver a message, not for the last time"

    def _step(self) -> str:
        self.advance(self.actor(), self.draw(st.integers(1, 4)))
        return "step"

    def _step_two(self) -> str:
        self.advance(self.actor(), 1)
        if self.world.actors:
            self.advance(self.actor(), 1)
        return "step two in turn"

    def _deed(self) -> str:
        self.advance(self.actor(), TO_A_DEED)
        return "step to where a tier is changed"

    def _finish(self) -> str:
        self.advance(self.actor(), TO_ITS_END)
        return "run to its end"

    def _overtake(self) -> str:
        """Somebody sleeps, while another takes over what it was at."""
        row = StoredFile.objects.filter(name=self.actor().name).first()
        if row is not None and self.has_room:
            seconds = self.draw(st.sampled_from((301, 301, 1001)))
            note(f"    {seconds} seconds pass")
            self.world.shift(seconds)
            self.advance(self.world.work(self.process(), row.pk), TO_ITS_END)
        return "overtake a sleeper"

    def _wake_late(self) -> str:
        """Somebody sleeps just before it changes a tier, and wakes when the file is another, and settled by others."""
        sleepers = [actor for actor in self.world.actors if actor.name and actor.facts.get("tier")]
        if not sleepers:
            self.advance(self.world.work(self.process(), self.some_row()), TO_A_DEED)
            return "work"
        sleeper = self.draw(st.sampled_from(sleepers))
        for what in self.draw(MEANWHILE):
            if what == "resave":
                other = self.world.save(self.process(), sleeper.name, self.content(), opened=True)
            elif what == "delete":
                other = self.world.delete(self.process(), sleeper.name)
            elif what == "transfer":
                other = self.world.transfer(self.process(), sleeper.name)
            else:
                self.world.shift(self.draw(st.sampled_from((1, 301))))
                row = StoredFile.objects.filter(name=sleeper.name).first()
                other = self.world.work(self.process(), row.pk if row is not None else UNKNOWN)
            self.advance(other, TO_ITS_END)
        if sleeper.is_alive:
            self.advance(sleeper, self.draw(STEPS))
        return "wake late"

    def _beat(self) -> str:
        actor = self.actor()
        beat = actor.beat
        if beat is not None and beat._flowed and actor.steps:
            with actor.process.here():
                try:
                    beat._renew()
                    actor.lands_by = self.world.clock.time() + 2 * self.world.LEASE
                except LeaseLost:
                    beat._lost = True
            beat._flowed = False
        return "heartbeat"

    # ---- what goes wrong ----

    def _crash(self) -> str:
        actor = self.actor()
        CRASHED_AT[actor.at] += 1
        actor.crash()
        note(f"    {actor!r}")
        return "crash"

    def _crash_inside(self) -> str:
        """Also inside a transaction, where an actor does not stop."""
        actor = self.actor()
        actor.crashes_after = self.draw(st.integers(0, 14))
        self.advance(actor, TO_ITS_END)
        if actor.dead and not actor.done:
            CRASHED_AT[actor.at] += 1
        return "crash after some points"

    def _wait(self) -> str:
        seconds = self.draw(WAIT)
        note(f"    {seconds} seconds pass")
        self.world.shift(seconds)
        return "time passes"

    def _fault(self) -> str:
        tier = self.draw(st.sampled_from(self.world.shape.names))
        if tier == self.world.first:
            method, faults = "save", FIRST_FAULTS
        else:
            method = self.draw(st.sampled_from(METHODS))
            faults = FAULTS[method]
        kind = self.draw(st.sampled_from(sorted(faults)))
        note(f"    {tier}.{method}: {kind}")
        self.world.set_fault(
            tier, method, faults[kind], self.draw(st.sampled_from((None, (1,), (2,), (1, 2))))
        )
        return "a tier fails"

    def _heal(self) -> str:
        self.world.heal()
        return "tiers are well"

    def _flush(self) -> str:
        caches["default"].clear()
        return "flush the cache"

    def _sweep(self) -> str:
        with self.process().here():
            dispatch.sweep()
        return "sweep"

    def _retry(self) -> str:
        catalog.retry(StoredFile.objects.filter(state="failed"))
        return "retry"

    def _lose(self) -> str:
        if Recorder.messages:
            Recorder.messages.pop(self.draw(INDEX) % len(Recorder.messages))
        return "lose a message"

    def _forge(self) -> str:
        if self.has_room:
            self.advance(self.world.work(self.process(), UNKNOWN), TO_ITS_END)
        return "message for no row"

    def _restart(self) -> str:
        """Crash all that a process is doing, and have it forget what it knew."""
        process = self.process()
        for actor in [actor for actor in self.world.actors if actor.process is process]:
            actor.crash()
        process.restart()
        return "restart a process"
