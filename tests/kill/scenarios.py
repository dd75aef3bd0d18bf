"""What is done, and killed, and what may be seen then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.core.files.base import ContentFile
from django.db import transaction

from queued_storage import catalog
from queued_storage.reconcile import reconcile
from queued_storage.storage import TieredStorage, tiered_storages

ALIAS = "media"
#: More than one chunk of Django's, and no two alike in size.
OLD, NEW, LATEST = b"old " * 20_000, b"new, " * 20_000, b"latest" * 20_000
NOTHING = b""
#: How the parent goes on, once the child was killed.
AFTERMATHS = ("leave", "save", "delete")


@dataclass(frozen=True)
class Scenario:
    """One operation on one name, on tiers of certain kinds."""

    operation: str
    policy: str
    lower: str = "disk"
    overwriting: bool = False

    @property
    def label(self) -> str:
        kind = "replacing" if self.overwriting else "plain"
        return f"{self.operation}/{self.policy}/{kind} disk to {self.lower}"

    @property
    def wanted(self) -> tuple[str, ...]:
        return ("far",) if self.policy == "transfer-and-delete" else ("near", "far")

    def prepare(self, name: str) -> None:
        PREPARATIONS[self.operation](name)

    def operate(self, name: str) -> None:
        OPERATIONS[self.operation](name)

    @property
    def may_be_seen(self) -> set[bytes]:
        return SEEN[self.operation]


def storage() -> TieredStorage:
    return tiered_storages[ALIAS]


def save(name: str, data: bytes) -> str:
    return storage().save(name, ContentFile(data))


def work_on(name: str) -> None:
    """Do all the work that the file is owed."""
    row = catalog.find(ALIAS, name)
    assert row is not None
    reconcile(row.pk, own_process=True)


def prepare_nothing(name: str) -> None:
    """The name is new."""


def prepare_unmoved(name: str) -> None:
    save(name, OLD)


def prepare_settled(name: str) -> None:
    save(name, OLD)
    work_on(name)
    assert storage().state(name) == "settled"


def prepare_replaced(name: str) -> None:
    """The lower tier holds what the first tier's content has replaced."""
    prepare_settled(name)
    save(name, NEW)


def save_new(name: str) -> None:
    save(name, NEW)


def save_in_transaction(name: str) -> None:
    with transaction.atomic():
        save(name, NEW)
        save(f"{name}.second", NEW)


def write(name: str) -> None:
    with storage().open(name, "wb") as file:
        file.write(NEW)


def delete(name: str) -> None:
    storage().delete(name)


def delete_in_transaction(name: str) -> None:
    with transaction.atomic():
        delete(name)


OPERATIONS: dict[str, Callable[[str], None]] = {
    "save": save_new,
    "save in a transaction": save_in_transaction,
    "replace": save_new,
    "replace in a transaction": save_in_transaction,
    "write": write,
    "transfer": work_on,
    "transfer what was replaced": work_on,
    "delete": delete,
    "delete in a transaction": delete_in_transaction,
    "delete before it moved": delete,
}
PREPARATIONS: dict[str, Callable[[str], None]] = {
    "save": prepare_nothing,
    "save in a transaction": prepare_nothing,
    "replace": prepare_settled,
    "replace in a transaction": prepare_settled,
    "write": prepare_settled,
    "transfer": prepare_unmoved,
    "transfer what was replaced": prepare_replaced,
    "delete": prepare_settled,
    "delete in a transaction": prepare_settled,
    "delete before it moved": prepare_unmoved,
}
SEEN: dict[str, set[bytes]] = {
    "save": {NOTHING, NEW},
    "save in a transaction": {NOTHING, NEW},
    "replace": {OLD, NEW},
    "replace in a transaction": {OLD, NEW},
    "write": {OLD, NEW},
    "transfer": {OLD},
    "transfer what was replaced": {NEW},
    "delete": {OLD, NOTHING},
    "delete in a transaction": {OLD, NOTHING},
    "delete before it moved": {OLD, NOTHING},
}

MOVE, COPY = "transfer-and-delete", "transfer"
GROUPS: dict[str, list[Scenario]] = {
    "save": [
        Scenario("save", MOVE),
        Scenario("save in a transaction", MOVE),
        Scenario("save", COPY, overwriting=True),
        Scenario("replace", COPY, overwriting=True),
        Scenario("replace", MOVE, overwriting=True),
        Scenario("replace in a transaction", COPY, overwriting=True),
        Scenario("replace in a transaction", MOVE, overwriting=True),
        Scenario("write", MOVE),
    ],
    "transfer": [
        Scenario("transfer", COPY),
        Scenario("transfer", MOVE),
        Scenario("transfer what was replaced", COPY, overwriting=True),
        Scenario("transfer what was replaced", MOVE, overwriting=True),
    ],
    "delete": [
        Scenario("delete", COPY),
        Scenario("delete", MOVE),
        Scenario("delete before it moved", MOVE),
        Scenario("delete in a transaction", COPY, overwriting=True),
    ],
    "s3": [
        Scenario("transfer", COPY, lower="s3"),
        Scenario("transfer", MOVE, lower="s3"),
        Scenario("transfer what was replaced", MOVE, lower="s3", overwriting=True),
        Scenario("delete", COPY, lower="s3"),
    ],
    "postgresql": [
        Scenario("replace in a transaction", MOVE, overwriting=True),
        Scenario("transfer what was replaced", MOVE, overwriting=True),
    ],
}
