"""What the catalog says is owed, as values that a test compares, and as assertions that say what to do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from django.utils import timezone

from queued_storage import catalog
from queued_storage.chain import chains
from queued_storage.exceptions import QueuedStorageError
from queued_storage.names import clean

if TYPE_CHECKING:
    from queued_storage.models import StoredFile


@dataclass(frozen=True)
class Owed:
    """One file that does not lie where its policy wants it, or whose bytes are to be cleared away."""

    chain: str
    name: str
    #: "pending", "failed", "deleted" (its bytes are not gone yet), or "settled" if its policy wants to look again now.
    state: str
    #: Tiers that hold a verified copy.
    tiers: tuple[str, ...]
    #: Tiers that lack a copy, as the file's policy sees it now.
    missing: tuple[str, ...]
    #: Tiers whose copy is to go, as the file's policy sees it now.
    surplus: tuple[str, ...]
    #: Tiers that may hold other bytes by this name, to be removed.
    stale: tuple[str, ...]
    #: When the work falls due (if an attempt is under way: should it die); None: not before ``tiers retry``.
    due_at: datetime | None
    #: What the last attempt failed with.
    reason: str

    def __str__(self) -> str:
        return f"{self.chain}:{self.name} is {self.state}: {self._work()}. {self._why()}"

    def _work(self) -> str:
        stale = (name for name in self.stale if name not in self.missing)
        steps = [f"copy to {name!r}" for name in self.missing]
        steps += [f"release from {name!r}" for name in self.surplus]
        steps += [f"clear {name!r}" for name in stale]
        return ", ".join(steps) or "to be looked at"

    def _why(self) -> str:
        failed = f"The last attempt failed: {self.reason}. " if self.reason else ""
        if self.due_at is None:
            return f"{failed}It was given up: mend the cause, then call_command('tiers', 'retry')."
        if self.due_at > timezone.now():
            at = f"{self.due_at:%Y-%m-%d %H:%M:%S %Z}"
            return f"{failed}It is due at {at}: move the clock there, then run_owed_work()."
        return f"{failed}It is due: run_owed_work() does it."


def owed(chain: str | None = None) -> list[Owed]:
    """Return what is owed (to the files of one chain), by chain and name; a review to come is not owed yet."""
    rows = catalog.files().exclude(due_at=None, state__in=("settled", "deleted"))
    if chain is not None:
        rows = rows.filter(chain=chain)
    now = timezone.now()
    return [_owed(row, now) for row in rows.order_by("chain", "name") if _is_owed(row, now)]


def assert_nothing_owed(chain: str | None = None) -> None:
    """Fail with every file (of one chain) that is owed something, why, and what to do about it."""
    if found := owed(chain):
        listed = "\n".join(f"  {each}" for each in found)
        raise AssertionError(f"{_count(len(found))} owed work{_of(chain)}:\n{listed}")


def assert_owed(
    name: str,
    *,
    chain: str | None = None,
    state: str | None = None,
    missing: tuple[str, ...] | list[str] | None = None,
    surplus: tuple[str, ...] | list[str] | None = None,
) -> Owed:
    """Return what the file is owed; fail if that is nothing, or not what is given here."""
    name = clean(name)
    found = [each for each in owed(chain) if each.name == name]
    if not found:
        raise AssertionError(f"{name!r} is owed nothing{_of(chain)}: {_instead(name, chain)}")
    if len(found) > 1:
        aliases = ", ".join(repr(each.chain) for each in found)
        raise AssertionError(f"{name!r} is owed work in several chains; say which with chain=: {aliases}.")
    each = found[0]
    expected = {"state": state, "missing": _tuple(missing), "surplus": _tuple(surplus)}
    for what, value in expected.items():
        if value is not None and getattr(each, what) != value:
            raise AssertionError(f"{what} is {getattr(each, what)!r}, not {value!r}: {each}")
    return each


def _is_owed(row: StoredFile, now: datetime) -> bool:
    return row.state != "settled" or (row.due_at is not None and row.due_at <= now)


def _owed(row: StoredFile, now: datetime) -> Owed:
    missing: tuple[str, ...] = ()
    surplus: tuple[str, ...] = ()
    reason = row.last_error
    if row.is_live:
        try:
            assessment = chains[row.chain].assess(row, row.policy, now)
        except QueuedStorageError as error:
            reason = reason or str(error)
        else:
            missing, surplus = assessment.missing, assessment.surplus
    return Owed(
        chain=row.chain,
        name=row.name,
        state=row.state,
        tiers=tuple(row.tiers),
        missing=missing,
        surplus=surplus,
        stale=tuple(row.stale),
        due_at=row.lease_until if row.lease else row.due_at,
        reason=reason,
    )


def _instead(name: str, chain: str | None) -> str:
    rows = catalog.files().filter(key=catalog.files().model.key_of(name))
    if chain is not None:
        rows = rows.filter(chain=chain)
    row = rows.first()
    if row is None:
        known = catalog.files().exclude(state="deleted").order_by("name").values_list("name", flat=True)
        names = ", ".join(map(repr, known[:5])) or "no file at all"
        return f"the catalog does not know it (it knows {names}). A save may have given it another name."
    if not row.is_live:
        return "it is deleted, and no tier has anything of it."
    return f"it is {row.state} on {', '.join(map(repr, row.tiers))}."


def _tuple(names: tuple[str, ...] | list[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)


def _count(number: int) -> str:
    return "1 file is" if number == 1 else f"{number} files are"


def _of(chain: str | None) -> str:
    return "" if chain is None else f" in chain {chain!r}"
