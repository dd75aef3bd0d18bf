"""Plan and apply: what changed settings mean for the files that are there, and having it done.

Files that lie where their policy wanted them stay there when settings change, until somebody has read the plan and
applies it. New saves, and files that are owed work anyway, follow the new settings at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.core.exceptions import FieldDoesNotExist
from django.utils import timezone

from . import applied, catalog, identity
from .brakes import Brake, Cap, TooManyReleases
from .chain import Assessment, Chain
from .storage import TieredStorage

if TYPE_CHECKING:
    from .models import StoredFile

#: Rows that are read, and changed, together.
PAGE = 500
#: How often a file's policy is asked ahead, at most.
STEPS = 8
#: Times that differ by less are the same.
_SAME = timedelta(seconds=1)


@dataclass
class Amount:
    """Files and their bytes."""

    files: int = 0
    bytes: int = 0

    def add(self, size: int | None) -> None:
        self.files += 1
        self.bytes += size or 0


@dataclass
class Change:
    """What is to be done on one tier."""

    #: Copies that lie there now.
    holds: int = 0
    #: What is to be copied there and deleted there, at once or when the policy says so.
    copies: Amount = field(default_factory=Amount)
    releases: Amount = field(default_factory=Amount)


@dataclass
class Plan:
    """What the settings mean for the files of a chain."""

    chain: str
    #: How the settings differ from those that were applied last, in words.
    changes: list[str]
    tiers: dict[str, Change]
    looked_at: int = 0
    #: Files that are to be made due: something is to be copied or released.
    moves: Amount = field(default_factory=Amount)
    #: Files that are to be looked at again at another time than before.
    reviews: int = 0
    #: Files that followed the chain's POLICY as it was, and are to follow it as it is.
    followers: int = 0
    #: Files that wait for a time of their policy's, and follow the settings as they are then, applied or not.
    waiting: int = 0
    #: Files that are owed work already, which follows the settings as they are; and files that failed, and stay so.
    owed: int = 0
    failed: int = 0
    #: Files of which no tier of the settings has a copy, by the tiers that have.
    stranded: Counter[str] = field(default_factory=Counter)
    #: Files for which the policy has no answer, by what it said.
    problems: Counter[str] = field(default_factory=Counter)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be done."""
        return not (self.moves.files or self.reviews or self.followers)

    @property
    def has_findings(self) -> bool:
        """Whether there are files that nothing can be done for."""
        return bool(self.stranded or self.problems)


@dataclass
class _Wanted:
    """What is to be done about some rows: those to be made due, and others' times."""

    due: list[StoredFile] = field(default_factory=list)
    times: dict[int, datetime | None] = field(default_factory=dict)
    #: Those that are to follow the chain's POLICY as it is.
    followers: list[int] = field(default_factory=list)


def plan(chain: Chain, stopping: Callable[[], bool] = lambda: False) -> Iterator[tuple[Plan, bool]]:
    """Yield the plan as far as it is, after each page of rows, and whether it is whole. Nothing is changed."""
    told = Plan(chain.alias, applied.pending(chain), {tier.name: Change() for tier in chain})
    looker = _Looker(chain, told)
    for page in _pages(chain, 0):
        looker.look(page)
        yield told, False
        if stopping():
            return
    yield told, True


class _Followers:
    """Tells files that follow the chain's POLICY, and remember it by a former name, from those given that one."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self._former = applied.former_names(chain)
        self._fields: dict[tuple[str, str], bool] = {}

    def policy_of(self, row: StoredFile) -> str:
        """Return the name of the policy that the file is to follow."""
        name = self.chain.policy_name
        if name is None or row.policy not in self._former or self._has_own(row):
            return row.policy
        return name

    def _has_own(self, row: StoredFile) -> bool:
        """Tell whether the field that saved the file names a policy of its own."""
        key = row.model, row.field
        if key not in self._fields:
            model = row.model_class
            try:
                storage = (
                    None if model is None else getattr(model._meta.get_field(row.field), "storage", None)
                )
            except FieldDoesNotExist:
                storage = None
            self._fields[key] = isinstance(storage, TieredStorage) and storage.own_policy is not None
        return self._fields[key]


class _Looker:
    def __init__(self, chain: Chain, told: Plan) -> None:
        self.chain = chain
        self.told = told
        self._followers = _Followers(chain)

    def look(self, rows: list[StoredFile]) -> _Wanted:
        wanted, now = _Wanted(), timezone.now()
        for row in rows:
            self.told.looked_at += 1
            self._count_copies(row)
            if (policy := self._followers.policy_of(row)) != row.policy:
                row.policy = policy
                if not row.lease:
                    wanted.followers.append(row.pk)
                    self.told.followers += 1
            if self._can_change(row) and (assessment := self._assess(row, now)) is not None:
                self._count(row, assessment, wanted)
        return wanted

    def _count_copies(self, row: StoredFile) -> None:
        held = [name for name in row.tiers if name in self.chain]
        for name in held:
            self.told.tiers[name].holds += 1
        if row.tiers and not held:
            self.told.stranded[", ".join(row.tiers)] += 1

    def _can_change(self, row: StoredFile) -> bool:
        self.told.failed += row.state == "failed"
        is_owed = row.state == "pending" or bool(row.lease)
        is_owed |= row.state == "settled" and row.due_at is not None and row.due_at <= timezone.now()
        self.told.owed += is_owed
        return row.state == "settled" and not is_owed

    def _assess(self, row: StoredFile, now: datetime) -> Assessment | None:
        try:
            return self.chain.assess(row, row.policy, now)
        except Exception as error:  # noqa: BLE001 - a policy is the project's own code: told, and the file is left alone
            self.told.problems[str(error) or type(error).__name__] += 1
            return None

    def _count(self, row: StoredFile, assessment: Assessment, wanted: _Wanted) -> None:
        if not assessment.is_settled:
            wanted.due.append(row)
            self.told.moves.add(row.size)
        elif not row.lost and not _is_same(row.due_at, assessment.review_at):
            wanted.times[row.pk] = assessment.review_at
            self.told.reviews += 1
        else:
            self.told.waiting += assessment.review_at is not None
            return
        copied, released = self._foreseen(row, assessment)
        for name in copied:
            self.told.tiers[name].copies.add(row.size)
        for name in released:
            self.told.tiers[name].releases.add(row.size)

    def _foreseen(self, row: StoredFile, assessment: Assessment) -> tuple[set[str], set[str]]:
        """Return the tiers on which the file will be copied and deleted, at once or in time.

        Most policies release a copy only a while after the others were made: that is what a brake has to know of now.
        """
        file, moment = copy(row), timezone.now()
        copied, released = set[str](), set[str]()
        for _ in range(STEPS):
            copied.update(assessment.missing)
            released.update(assessment.surplus)
            held = {*file.tiers, *assessment.missing}.difference(assessment.surplus)
            file.tiers = [name for name in self.chain.names if name in held]
            if assessment.missing:
                file.copied_at = moment
            if assessment.is_settled:
                if assessment.review_at is None:
                    break
                moment = max(assessment.review_at, moment)
            try:
                assessment = self.chain.assess(file, row.policy, moment)
            except Exception:  # noqa: BLE001 - a policy of the project's own, asked of what has not come yet
                break
        return copied, released


def _is_same(moment: datetime | None, other: datetime | None) -> bool:
    return moment == other if moment is None or other is None else abs(moment - other) < _SAME


def _pages(chain: Chain, last: int) -> Iterator[list[StoredFile]]:
    """Yield the live rows beyond that key, some at a time: no query lasts while they are changed."""
    while page := list(catalog.live_after(last, chain.alias).defer("metadata")[:PAGE]):
        yield page
        last = page[-1].pk


@dataclass
class Application:
    """How far ``apply`` has come."""

    plan: Plan
    #: Files that were made due, and such as have another time to be looked at.
    due: Amount = field(default_factory=Amount)
    reviews: int = 0
    #: Rows that this run has gone through.
    done: int = 0
    #: Whether all rows were gone through, so that the chain's files follow the settings.
    is_complete: bool = False


def prove(chain: Chain, *, dry_run: bool = False) -> list[identity.Identified]:
    """Identify tiers that nobody has identified, and raise WrongPlace unless each is the right place."""
    unknown = identity.unidentified(chain)
    written = [] if dry_run else list(identity.identify(chain, unknown))
    identity.require_each(chain, [tier.name for tier in chain if tier.name not in unknown or written])
    return written


def brake(told: Plan, max_share: float) -> None:
    """Raise TooManyReleases where the plan has a larger share of a tier's copies deleted."""
    for name, change in told.tiers.items():
        Brake(max_share, TooManyReleases).check({name: change.holds}, {name: change.releases.files})


def apply(
    chain: Chain, told: Plan, cap: Cap, stopping: Callable[[], bool] = lambda: False
) -> Iterator[Application]:
    """Make due what the plan has found, a page of rows at a time; yield how far it is after each.

    The work itself is the workers'. Interrupted or killed anywhere, it goes on where it was when it is run again under
    the same settings; files are guarded each for itself, so those that others have in hand meanwhile are left to them.
    """
    done, settings = Application(told), applied.settings_of(chain)
    looker = _Looker(chain, Plan(chain.alias, [], {tier.name: Change() for tier in chain}))
    for page in _pages(chain, _last_done(chain, settings)):
        wanted = looker.look(page)
        fitting = [row for row in wanted.due if cap.takes(row.size)]
        beyond = wanted.due[len(fitting)] if len(fitting) < len(wanted.due) else None
        followers = [pk for pk in wanted.followers if beyond is None or pk < beyond.pk]
        catalog.have_follow(followers, chain.policy_name or "")
        if catalog.wake([row.pk for row in fitting]):
            for row in fitting:
                done.due.add(row.size)
        times = {pk: moment for pk, moment in wanted.times.items() if beyond is None or pk < beyond.pk}
        done.reviews += catalog.look_again(times)
        done.done += len(page)
        _note_progress(chain, settings, page[-1].pk if beyond is None else beyond.pk - 1)
        yield done
        if beyond is not None or stopping():
            return
    applied.record(chain, instead=True)
    done.is_complete = True
    yield done


def _last_done(chain: Chain, settings: dict[str, Any]) -> int:
    """Return the key of the last row that an earlier run has done, under these settings."""
    known = catalog.known_chain(chain.alias)
    progress = {} if known is None else known.progress
    return int(progress["last"]) if progress.get("settings") == settings else 0


def _note_progress(chain: Chain, settings: dict[str, Any], last: int) -> None:
    with catalog.changing_chain(chain.alias) as known:
        known.progress = {"settings": settings, "last": last}
