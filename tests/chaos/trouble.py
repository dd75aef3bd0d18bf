"""What goes wrong in a run, and in which order: decided by the seed."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import partial

from tests.chaos.world import World, children, flush, send
from tests.support.workers import Worker

KILLS = ("child", "group", "child", "writer", "wake_and_kill", "child", "group", "child")
FAULTS = ("refuse", "swallow", "silent", "cut", "delay")


class Trouble:
    """Strikes evenly over the work of the writers, or by the clock where that stands still."""

    #: Seconds after which the next strike comes in any case.
    PATIENCE = 12.0

    def __init__(self, world: World, kills: int, flushes: int, faults: int, stops: int) -> None:
        self.world = world
        self.rng = random.Random(f"{world.plan.seed}/trouble")
        self.counts: Counter[str] = Counter()
        self.kinds: dict[str, Counter[str]] = defaultdict(Counter)
        self.strikes = self._planned(kills, flushes, faults, stops)
        self.total = len(self.strikes)
        self._last = time.monotonic()
        self._faulty_until = 0.0
        self._stopped: set[int] = set()

    def _planned(self, kills: int, flushes: int, faults: int, stops: int) -> list[Callable[[], None]]:
        only_workers = self.world.plan.only_saves
        wanted = [kind for kind in KILLS if kind != "writer"] if only_workers else list(KILLS)
        named = [wanted[i % len(wanted)] for i in range(kills)]
        named += ["stop_child" if i % 2 else "stop_group" for i in range(stops)]
        named += ["flush_broker"] * flushes + ["flush_cache"] * flushes
        planned = [getattr(self, name) for name in named]
        planned += [partial(self.fault, FAULTS[i % len(FAULTS)]) for i in range(faults)]
        self.rng.shuffle(planned)
        return planned

    @property
    def is_over(self) -> bool:
        return not self.strikes and not self.world.agenda

    def strike_if_due(self, progress: float) -> None:
        """Strike, ``progress`` being how much of the writers' work is done."""
        if not self.strikes:
            return
        done = self.total - len(self.strikes)
        waited = time.monotonic() - self._last
        if (progress >= (done + 1) / (self.total + 1) and waited > 0.2) or waited > self.PATIENCE:
            self._last = time.monotonic()
            self.strikes.pop()()

    # ---- kills ----

    def child(self) -> None:
        """Kill a process of a pool, as the kernel does where memory ends."""
        if pids := children(self._worker()):
            self._count("kills", "pool processes")
            send(self.rng.choice(pids), signal.SIGKILL)
        else:
            self.world.after(1, self.child)

    def group(self) -> None:
        """Kill a worker with all its processes."""
        self._count("kills", "workers")
        self._kill(self._worker())

    def _kill(self, worker: Worker) -> None:
        if worker not in self.world.workers:
            return  # another strike was quicker
        worker.kill()
        self.world.workers.remove(worker)
        self.world.start_worker()

    def writer(self) -> None:
        """Kill a web process in the middle of whatever it does."""
        running = [number for number, process in self.world.writers.items() if process.running]
        if not running:
            self.child()
            return
        self._count("kills", "web processes")
        number = self.rng.choice(running)
        self.world.wait_for_an_operation(number)
        self.world.writers[number].kill()
        self.world.note_unknown(number)
        self.world.after(1, partial(self.world.start_writer, number))

    def wake_and_kill(self) -> None:
        """Stop a worker beyond its lease, wake it, and kill it in its first movements."""
        worker = self._worker()
        self._count("kills", "workers just woken")
        self._stop(worker.pid, group=True)

        def wake() -> None:
            self._wake(worker.pid, group=True)
            self.world.after(self.rng.uniform(0, 0.3), partial(self._kill, worker))

        self.world.after(self.world.plan.lease * self.rng.uniform(1.1, 2.5), wake)

    # ---- stops ----

    def stop_group(self) -> None:
        """Stop a worker with all its processes beyond its lease, and let it go on."""
        self._count("stops", "workers")
        self._stop_for_a_while(self._worker().pid, group=True)

    def stop_child(self) -> None:
        if pids := children(self._worker()):
            self._count("stops", "pool processes")
            self._stop_for_a_while(self.rng.choice(pids), group=False)
        else:
            self.world.after(1, self.stop_child)

    def _stop_for_a_while(self, pid: int, *, group: bool) -> None:
        self._stop(pid, group=group)
        self.world.after(
            self.world.plan.lease * self.rng.uniform(1.1, 3), partial(self._wake, pid, group=group)
        )

    def _stop(self, pid: int, *, group: bool) -> None:
        self._stopped.add(pid)
        send(pid, signal.SIGSTOP, group=group)

    def _wake(self, pid: int, *, group: bool) -> None:
        self._stopped.discard(pid)
        send(pid, signal.SIGCONT, group=group)

    # ---- servers ----

    def flush_broker(self) -> None:
        self._count("broker flushes")
        flush(self.world.broker)

    def flush_cache(self) -> None:
        self._count("cache flushes")
        flush(self.world.cache)

    def fault(self, kind: str) -> None:
        """Have the line to the second bucket fail for some seconds; one fault at a time."""
        wait = self._faulty_until - time.monotonic()
        if wait > 0:
            self.world.after(wait + 0.1, partial(self.fault, kind))
            return
        self._count("network faults", kind)
        relay, seconds = self.world.relay, self.world.plan.lease * self.rng.uniform(0.5, 1.5)
        self._faulty_until = time.monotonic() + seconds
        if kind == "cut":
            for i in range(5):
                self.world.after(seconds * i / 5, relay.cut)
            return
        strike = {
            "swallow": relay.swallow,
            "silent": relay.be_silent,
            "delay": lambda: relay.delay(0.15),
            "refuse": relay.refuse,
        }[kind]
        strike()
        self.world.after(seconds, relay.hand_on)

    # ---- whom ----

    def replace_the_dead(self) -> None:
        """Start workers for those that gave up: Celery does, where the processes of a pool do not start in time."""
        for worker in [each for each in self.world.workers if not each.running]:
            self._count("workers that gave up")
            self._kill(worker)

    def _worker(self) -> Worker:
        """Return a worker that runs, one that is not stopped if there is one."""
        self.replace_the_dead()
        awake = [each for each in self.world.workers if each.pid not in self._stopped]
        return self.rng.choice(awake or self.world.workers)

    def _count(self, what: str, kind: str = "") -> None:
        self.counts[what] += 1
        if kind:
            self.kinds[what][kind] += 1

    def table(self) -> Iterator[tuple[str, str]]:
        for what, count in self.counts.items():
            kinds = ", ".join(f"{number} {kind}" for kind, number in self.kinds[what].items())
            yield what, f"{count} ({kinds})" if kinds else f"{count}"
