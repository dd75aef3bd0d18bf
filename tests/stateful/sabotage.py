"""Ways to break the engine, to show that the machine tells: ``SABOTAGE="skip verify" python -m tests.stateful``."""

from __future__ import annotations

import weakref
from typing import Any
from unittest import mock

from django.db.models import Q

from queued_storage import catalog, copies, copying, reconcile
from queued_storage.chain import chains


def _nothing(*args: Any, **kwargs: Any) -> None:
    return None


def _skip_verify() -> None:
    _replace(copying, "check", _nothing)


def _delete_before_record() -> None:
    original = catalog.record_copy

    def record_copy(row: Any, chain: Any, tier: str, **facts: Any) -> None:
        chain.first.storage.delete(row.name)
        original(row, chain, tier, **facts)

    _replace(catalog, "record_copy", record_copy)


def _release_unverified() -> None:
    _replace(reconcile.Reconciliation, "_verify_those_that_stay", lambda self, released: True)


def _no_guard() -> None:
    def change(row: Any, also: Q | None = None, **changes: Any) -> None:
        catalog.files().filter(pk=row.pk).update(**changes)
        for name, value in changes.items():
            if name != "lease":
                setattr(row, name, value)

    _replace(catalog, "_change", change)


def _forget_the_tombstone() -> None:
    original = catalog.tombstone

    def tombstone(chain: Any, name: str) -> Any:
        row = original(chain, name)
        row.stale = [chain.first.name]
        row.save(update_fields=["stale"])
        return row

    _replace(catalog, "tombstone", tombstone)


def _forget_lost_attempts() -> None:
    _replace(catalog, "_with_loser", lambda row: list(row.lost))


def _wait_for_nobody() -> None:
    _replace(catalog, "may_write", lambda row: None)


def _forget_late_deletes() -> None:
    if hasattr(catalog, "_destroying"):
        _replace(catalog, "_destroying", lambda row: {})


def _no_fence() -> None:
    _replace(copying, "fence", _nothing)


def _no_undo() -> None:
    _replace(copies.Copies, "undo", _nothing)


def _forget_what_is_stale() -> None:
    _replace(catalog, "note_writing", lambda row, tier, **_: catalog.renew(row))


def _settle_too_soon() -> None:
    make_each, assess = copies.Copies.make_each, reconcile.Reconciliation._assess
    done = mock.Mock(missing=(), surplus=(), review_at=None)
    satisfied: weakref.WeakSet[Any] = weakref.WeakSet()

    def make_one(self: Any, names: tuple[str, ...]) -> None:
        make_each(self, names[:1])
        satisfied.add(self.attempt)

    _replace(copies.Copies, "make_each", make_one)
    _replace(
        reconcile.Reconciliation, "_assess", lambda self: done if self.attempt in satisfied else assess(self)
    )


def _read_without_catalog() -> None:
    """Readers take what lies highest, whatever the catalog says of it."""
    from queued_storage.reading import Reader

    def find_below(reader: Any, search: Any) -> Any:
        return search.try_tiers(chains[reader.chain.alias].lower) or search.give_up()

    _replace(Reader, "_find_below", find_below)


SABOTAGES = {
    "skip verify": _skip_verify,
    "delete before record": _delete_before_record,
    "release unverified": _release_unverified,
    "no guard": _no_guard,
    "forget the tombstone": _forget_the_tombstone,
    "forget lost attempts": _forget_lost_attempts,
    "wait for nobody": _wait_for_nobody,
    "forget late deletes": _forget_late_deletes,
    "no fence": _no_fence,
    "no undo": _no_undo,
    "forget what is stale": _forget_what_is_stale,
    "settle too soon": _settle_too_soon,
    "read without catalog": _read_without_catalog,
}


def _replace(owner: Any, name: str, value: Any) -> None:
    mock.patch.object(owner, name, value).start()
