"""Hosts with disks of their own: which has a file, what each still has to clear, and when each was last seen.

Two hosts' disks may hold different content by one name. What counts is on the host that the file's row names. What an
older generation left on another host's disk is noted here, apart from the row: the one is work for that host alone, and
the other must not wait for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db.models import Count, Exists, F, Min, OuterRef, Q, QuerySet
from django.utils import timezone

from .. import conf
from ..chain import Chain, chains
from ..exceptions import UnknownChain
from .rows import database, files, stored_file_model

if TYPE_CHECKING:
    from ..models import Host, HostClearing, StoredFile

#: After which a host that has not answered is asked again.
ASKED_AGAIN = timedelta(hours=1)


def hosts() -> QuerySet[Host]:
    model: type[Host] = apps.get_model("queued_storage", "Host")
    return model._default_manager.using(database())


def clearings() -> QuerySet[HostClearing]:
    model: type[HostClearing] = apps.get_model("queued_storage", "HostClearing")
    return model._default_manager.using(database())


# ---- where a file is ----


def hosted(chain: Chain, tiers: Collection[str], staged: str = "") -> dict[str, str | None]:
    """Return what the row of a file says that this host has saved."""
    if chain.own is None:
        return {}
    if chain.own.name not in tiers and not staged:
        return {"host": None, "for_host": None}
    return {"host": conf.host(), "for_host": conf.host() if set(tiers) <= {chain.own.name} else None}


def moved(chain: Chain, row: StoredFile, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of a new generation with what follows for other hosts; note what they have to clear.

    Call it while the row, which still tells of the old generation, is locked.
    """
    own = chain.own
    if own is None:
        return dict(facts)
    stale = list(facts["stale"])
    if chain.has_elsewhere(row):
        assert row.host is not None
        owe(row.host, chain, row.name)
        stale = [name for name in stale if name != own.name]
    elif row.host is None and row.is_live and own.name not in row.tiers:
        stale = [name for name in stale if name != own.name]  # nothing of it lies on any host
    lies_here = own.name in facts["tiers"] or own.name in stale or bool(facts.get("staged"))
    alone = bool(facts["tiers"]) and set(facts["tiers"]) <= {own.name}
    return {
        **facts,
        "stale": stale,
        "host": conf.host() if lies_here else None,
        "for_host": conf.host() if lies_here and alone else None,
    }


def without_host(row: StoredFile, changes: Mapping[str, Any]) -> dict[str, None]:
    """Return what is to be written of a row nothing of which is left on its host, once these changes are made."""
    if row.host is None or "host" in changes:
        return {}
    try:
        own = chains[row.chain].first.name
    except UnknownChain:
        return {}
    names = {*changes.get("tiers", row.tiers), *changes.get("stale", row.stale)}
    if own in names or changes.get("staged", row.staged):
        return {}
    return {"host": None, "for_host": None}


def names_elsewhere(chain: Chain, folder: str) -> Iterator[str]:
    """Yield, as they go on from the folder, the names of files that lie on other hosts' own disks alone."""
    prefix = folder.strip("/") + "/" if folder.strip("/.") else ""
    live = files().filter(chain=chain.alias, host__isnull=False).exclude(host=conf.host())
    rows = (
        live.exclude(state="deleted").filter(name__startswith=prefix)
        if prefix
        else live.exclude(state="deleted")
    )
    for name, tiers in rows.values_list("name", "tiers").iterator():
        if tiers == [chain.first.name] and name.startswith(prefix):  # SQLite does not tell cases apart
            yield name.removeprefix(prefix)


# ---- whose work it is ----


def is_for(host: str) -> Q:
    """What a host's workers may take."""
    return Q(for_host=None) | Q(for_host=host)


def is_due_there(host: str) -> Q:
    """What is sent to a host's own queue."""
    return Q(for_host=host) | Q(for_host=None, host=host)


def is_for_any(alive: Collection[str]) -> Q:
    """What is sent to the queue of all: that of hosts which are not heard of too, as far as others can do it."""
    return Q(for_host=None) & (Q(host=None) | ~Q(host__in=alive))


def hosts_of(pks: Iterable[int]) -> dict[int, str | None]:
    """Return to which host's queue each of the rows goes; None for that of all."""
    rows = files().filter(pk__in=list(pks)).values_list("pk", "for_host", "host")
    return {pk: for_host or host for pk, for_host, host in rows}


# ---- what a host has to clear ----


def owe(host: str, chain: Chain, name: str) -> None:
    """Note that the host has to clear the name from its disk; call it while the name's row is locked."""
    clearing = clearings().model(
        host=host, chain=chain.alias, key=stored_file_model().key_of(name), name=name, owed_at=timezone.now()
    )
    clearings().bulk_create([clearing], ignore_conflicts=True)


def is_owed(host: str, chain: str, name: str) -> bool:
    return clearings().filter(host=host, chain=chain, key=stored_file_model().key_of(name)).exists()


def without_clearings(rows: QuerySet[StoredFile]) -> QuerySet[StoredFile]:
    """Leave out names that some host still has to clear: their tombstones hide what lies there."""
    return rows.exclude(Exists(clearings().filter(chain=OuterRef("chain"), key=OuterRef("key"))))


# ---- signs of life ----


def touch(host: str) -> None:
    """Note a sign of life; a host that was given up is not any more."""
    now = timezone.now()
    if not hosts().filter(name=host).update(seen_at=now, given_up_at=None):
        hosts().bulk_create([hosts().model(name=host, seen_at=now)], ignore_conflicts=True)


def to_ask(now: datetime) -> list[str]:
    """Return the hosts from which a sign of life is wanted, and note that they are asked.

    Who has not answered since is asked again after an hour: the question waits in its queue until then.
    """
    known = set(hosts().values_list("name", flat=True))
    unknown = {conf.host(), *owing(now)} - known
    hosts().bulk_create([hosts().model(name=name) for name in sorted(unknown)], ignore_conflicts=True)
    answered = Q(asked_at=None) | Q(seen_at__gte=F("asked_at")) | Q(asked_at__lt=now - ASKED_AGAIN)
    names = sorted(hosts().filter(answered, given_up_at=None).values_list("name", flat=True))
    hosts().filter(name__in=names).update(asked_at=now)
    return names


def ask(host: str) -> None:
    """Note that the host is asked for a sign of life now."""
    hosts().get_or_create(name=host)
    hosts().filter(name=host).update(asked_at=timezone.now())


def alive(now: datetime) -> list[str]:
    since = now - timedelta(seconds=conf.get("HOST_SILENT"))
    return list(hosts().filter(seen_at__gte=since).values_list("name", flat=True))


def owing(now: datetime) -> dict[str, tuple[int, datetime]]:
    """Return the hosts for which alone work is due, each with for how many files, and since when.

    What a host that was given up would have to clear, should it come back, waits for nothing.
    """
    found: dict[str, tuple[int, datetime]] = {}
    aliases = [chain.alias for chain in chains.with_own_tiers()]
    due = files().filter(chain__in=aliases, due_at__lte=now, for_host__isnull=False).order_by()
    owed = clearings().exclude(host__in=hosts().filter(given_up_at__isnull=False).values("name")).order_by()
    for rows in (
        due.values_list("for_host").annotate(Count("pk"), Min("due_at")),
        owed.values_list("host").annotate(Count("pk"), Min("owed_at")),
    ):
        for host, count, since in rows:
            before = found.get(host, (0, since))
            found[host] = before[0] + count, min(before[1], since)
    return found
