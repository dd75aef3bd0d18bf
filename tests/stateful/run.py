"""A run of the state machine: ``python -m tests.stateful``; SEED repeats one, STEPS sets its length."""

from __future__ import annotations

import logging
import os
import random
import shutil
import time

import hypothesis
from django.conf import settings as django_settings
from django.core.management import call_command
from hypothesis import HealthCheck, Phase, Verbosity
from hypothesis.internal.conjecture import engine
from hypothesis.stateful import run_state_machine_as_test

from tests.stateful.excuses import EXCUSED
from tests.stateful.found import FOUND, play
from tests.stateful.machine import CRASHED_AT, RAN, Machine
from tests.stateful.sabotage import SABOTAGES
from tests.stateful.world import World

STEPS_OF_A_LIFE = 50
LIVES_OF_A_BATCH = 40
#: A failure that is not as small as can be, now, helps more than a smaller one in five minutes.
engine.MAX_SHRINKING_SECONDS = int(os.environ.get("SHRINK") or 60)


def found() -> int:
    """Play what the machine has found before."""
    world = prepared()
    excused = set(EXCUSED)
    EXCUSED.clear()
    try:
        violated = play(world)
    finally:
        shutil.rmtree(django_settings.FOLDER, ignore_errors=True)
    for name in FOUND:
        mended = " (mended: take it out of excuses.py)" if name in excused else ""
        print(f"{name}: {violated.get(name, f'fine{mended}')}")
    return 1 if set(violated) - excused else 0


def prepared() -> World:
    logging.disable(logging.CRITICAL)
    call_command("migrate", verbosity=0)
    if sabotage := os.environ.get("SABOTAGE"):
        SABOTAGES[sabotage]()
    world = World()
    world.instruments.start()
    return world


def main() -> int:
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(1, 10**6))
    wanted = int(os.environ.get("STEPS") or 20_000)
    print(f"stateful: seed {seed}, {wanted} steps (SEED={seed} STEPS={wanted} repeats this)", flush=True)
    Machine.world = prepared()
    began, worked = time.perf_counter(), time.process_time()
    batch = 0
    try:
        while RAN.total() < wanted:
            lives = min(LIVES_OF_A_BATCH, -(-(wanted - RAN.total()) // STEPS_OF_A_LIFE))
            run(seed * 1000 + batch, lives)
            batch += 1
    finally:
        report(time.perf_counter() - began, time.process_time() - worked)
        shutil.rmtree(django_settings.FOLDER, ignore_errors=True)
    print(f"stateful: no violation, seed {seed}")
    return 0


def run(seed: int, lives: int) -> None:
    settings = hypothesis.settings(
        max_examples=lives,
        stateful_step_count=STEPS_OF_A_LIFE,
        deadline=None,
        database=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
        verbosity=Verbosity.normal,
    )
    run_state_machine_as_test(hypothesis.seed(seed)(type("Run", (Machine,), {})), settings=settings)


def report(seconds: float, worked: float) -> None:
    steps = RAN.total()
    if Machine.failed_after:
        print(f"\nviolated after {Machine.failed_after} steps")
    print(f"\n{steps} steps in {Machine.world.lives} lives, {seconds:.1f} s ({worked:.1f} s of one core)")
    for name, count in RAN.most_common():
        print(f"{count:7} {name}")
    for name, count in Machine.world.events.most_common():
        print(f"{count:7} ({name})")
    print(f"{CRASHED_AT.total()} crashes at {len(CRASHED_AT)} different points")
