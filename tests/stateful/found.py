"""What the machine found, step by step: ``python -m tests.stateful found`` plays each, and says which are violated."""

from __future__ import annotations

from collections.abc import Callable

from queued_storage.models import StoredFile
from queued_storage.storage import TieredStorage
from queued_storage.testing import faulty

from .actors import Actor
from .world import ALIAS, Shape, Violation, World

NAME = "a.txt"


def until(world: World, actor: Actor, at: str) -> None:
    while actor.is_alive and actor.at != at:
        world.step(actor)


def row() -> StoredFile:
    return StoredFile.objects.get(name=NAME)


def moved(world: World, content: bytes = b"one") -> None:
    """A file that a worker has brought where its policy wants it."""
    world.run(world.save(world.processes[0], NAME, content))
    world.shift(1001)
    world.run(world.work(world.processes[0], row().pk))


def go_on(world: World, actor: Actor) -> None:
    if actor.is_alive:
        world.run(actor)
    world.check(world.processes[0], thorough=True)


def transfer_while_a_delete_is_not_done(world: World) -> None:
    world.begin(Shape())
    a, b = world.processes
    world.run(world.save(a, NAME, b"one"))
    delete = world.delete(a, NAME)
    until(world, delete, "catalog.claim")
    world.run(world.transfer(b, NAME))
    go_on(world, delete)


def second_delete_after_one_that_crashed(world: World) -> None:
    world.begin(Shape())
    a, b = world.processes
    world.run(world.save(a, NAME, b"one"))
    delete = world.delete(a, NAME)
    until(world, delete, "catalog.claim")
    delete.crash()
    world.run(world.delete(b, NAME))
    with world.audit(), b.here() as storage:
        if storage.exists(NAME):
            raise Violation("G5: delete() returned, and the file is still there")


def save_that_fails_half_way(world: World) -> None:
    world.begin(Shape(first="in place"))
    a, _ = world.processes
    world.set_fault("near", "save", faulty.cut_and_fail, None)
    world.run(world.save(a, NAME, b"twelve bytes"))
    if world.holds("near", NAME) is not None:
        raise Violation("G4: a save that failed left a part")


def review_that_fails(world: World) -> None:
    world.begin(Shape(policy="move later"))
    a, _ = world.processes
    world.run(world.save(a, NAME, b"one"))
    world.shift(1001)
    world.set_fault("far", "save", faulty.refuse, None)
    world.run(world.work(a, row().pk))
    if row().state != "pending":
        raise Violation(f"G3: the file is {row().state}, and owed a copy that fails")


def late_delete_of_a_tombstone(world: World, far: str) -> None:
    world.begin(Shape(first="overwriting disk", lower=(far,), policy="move"))
    a, b = world.processes
    moved(world)
    delete = world.delete(a, NAME)
    until(world, delete, "far.delete")
    world.run(world.save(b, NAME, b"second"))
    world.shift(301)
    world.run(world.work(b, row().pk))
    go_on(world, delete)


def late_delete_of_what_is_stale(world: World, far: str) -> None:
    world.begin(Shape(first="overwriting disk", lower=(far,), policy="move later"))
    a, b = world.processes
    moved(world)
    world.run(world.save(b, NAME, b"second"))
    world.shift(800)
    worker = world.work(a, row().pk)
    until(world, worker, "far.delete")
    world.shift(301)  # its lease is over, and so is the file's wait
    world.run(world.work(b, row().pk))
    go_on(world, worker)


def delete_whose_clearing_is_taken_over(world: World) -> None:
    world.begin(Shape())
    a, b = world.processes
    world.run(world.save(a, NAME, b"one"))
    late = world.work(b, row().pk)
    until(world, late, "far.save")
    world.shift(301)
    world.run(world.work(a, row().pk))
    world.run(world.save(a, NAME, b"second", opened=True))
    delete = world.delete(a, NAME)
    until(world, delete, "catalog.claim done")
    while late.is_alive and not (late.at == "catalog.claim done" and row().lease and row().fence > 3):
        world.step(late)
    late.crashes_after = 3
    if late.is_alive:
        world.run(late)
    world.run(delete)
    with world.audit(), b.here():
        if TieredStorage(ALIAS).exists(NAME):
            raise Violation("G5: delete() returned, and the file is still there")


def late_distrust(world: World) -> None:
    world.begin(Shape(policy="move"))
    a, b = world.processes
    world.run(world.save(a, NAME, b"one"))
    late = world.work(b, row().pk)
    until(world, late, "far.save")
    world.run(world.save(a, NAME, b"second", opened=True))
    until(world, late, "catalog.distrust")
    world.shift(1001)
    world.run(world.work(a, row().pk))
    go_on(world, late)


def delete_by_who_slept_after_it_told_the_catalog(world: World) -> None:
    world.begin(Shape(first="overwriting disk", lower=("remote",), policy="move"))
    a, b = world.processes
    moved(world)
    late = world.delete(b, NAME)
    until(world, late, "catalog.note_clearing done")
    world.shift(1001)
    world.run(world.work(a, row().pk))
    world.run(world.save(a, NAME, b"second", opened=True))
    world.shift(1001)
    world.run(world.work(a, row().pk))
    go_on(world, late)


def name_made_up_and_not_deleted(world: World) -> None:
    world.begin(Shape(first="overwriting disk", lower=("overwriting remote",), policy="move"))
    a, _ = world.processes
    world.run(world.save(a, NAME, b"one"))
    world.set_fault("far", "save", faulty.rename, [1])
    world.set_fault("far", "delete", faulty.refuse, [1])
    world.run(world.work(a, row().pk))
    world.come_to_rest()
    if strangers := set(world.all_on("far")) - {NAME}:
        raise Violation(f"G5: far keeps {strangers}")


FOUND: dict[str, list[Callable[[World], None]]] = {
    "S1": [transfer_while_a_delete_is_not_done],
    "S2": [second_delete_after_one_that_crashed],
    "S3": [save_that_fails_half_way],
    "S4": [review_that_fails],
    "S5": [lambda world: late_delete_of_a_tombstone(world, "disk")],
    "S6": [
        lambda world: late_delete_of_what_is_stale(world, "disk"),
        lambda world: late_delete_of_what_is_stale(world, "remote"),
        lambda world: late_delete_of_what_is_stale(world, "overwriting remote"),
    ],
    "S7": [lambda world: late_delete_of_a_tombstone(world, "remote")],
    "S8": [delete_whose_clearing_is_taken_over],
    "S9": [late_distrust],
    "S10": [delete_by_who_slept_after_it_told_the_catalog],
    "S11": [name_made_up_and_not_deleted],
}


def play(world: World) -> dict[str, str]:
    """Return what is violated, and how, by the name of what was found."""
    violated = {}
    for name, scenes in FOUND.items():
        for scene in scenes:
            try:
                scene(world)
                world.come_to_rest()
            except Violation as violation:
                violated[name] = str(violation)
            finally:
                world.end()
    return violated
