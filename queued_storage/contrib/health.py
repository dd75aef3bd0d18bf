"""A check for django-health-check 4 (extra ``health``): is work done, has a file failed, is a tier down?"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from django.db import Error as DatabaseError
from django.utils import timezone
from health_check.base import HealthCheck
from health_check.exceptions import HealthCheckException, ServiceUnavailable, ServiceWarning

from .. import catalog, hosts, outage, vitals
from ..chain import Chain, chains
from ..exceptions import ConfigurationError, TierUnavailable
from ..names import staging_name
from ..tier import Tier

#: Failed files that are counted at most, beyond those that are allowed.
COUNTED = 1_000


@dataclass
class Tiers(HealthCheck):  # type: ignore[misc] # health_check has no types
    """Fails, or warns, by a few queries that go by an index, however many files there are.

    Unavailable: the catalog cannot be read, work waits for longer than ``max_age`` (no worker takes it), or no tier of
    a chain can be reached. A warning, where nothing is lost and readers are served: more than ``max_failed`` files have
    failed, or some tier is down; and where a host with a disk of its own is silent while work waits for it.
    """

    #: One chain; None is every chain.
    chain: str | None = None
    #: How long work may wait for a worker after it is due; None: for ever.
    max_age: datetime.timedelta | None = datetime.timedelta(minutes=15)
    #: How many files may have failed; None: any number.
    max_failed: int | None = 0
    #: Ask each tier now, not only the memory of those that missed their TIMEOUT.
    probe: bool = False
    timeout: datetime.timedelta = field(default=datetime.timedelta(seconds=5), repr=False)

    def run(self) -> None:
        """Raise ServiceUnavailable or ServiceWarning; neither tells a file's name, an option or a backend's words."""
        try:
            with vitals.borrowed_connection():
                problems = list(self._problems())
        except DatabaseError as error:
            problem: HealthCheckException = ServiceUnavailable(
                f"the catalog cannot be read ({type(error).__name__})"
            )
        except ConfigurationError:
            problem = ServiceUnavailable("the settings cannot be used; `manage.py check` tells why")
        except Exception as error:  # noqa: BLE001 - its text may be a backend's, and hold anything
            problem = ServiceUnavailable(f"the check itself failed ({type(error).__name__})")
        else:
            if not problems:
                return
            is_severe = any(isinstance(each, ServiceUnavailable) for each in problems)
            kind = ServiceUnavailable if is_severe else ServiceWarning
            problem = kind("; ".join(each.message for each in problems))
        # Not raised where the error was caught: that would be its context, and logged with it.
        raise problem

    def _problems(self) -> Iterator[HealthCheckException]:
        catalogued = catalog.aliases() if self.chain is None else [self.chain]
        yield from self._late(catalogued)
        yield from self._failed(catalogued)
        yield from self._silent()
        for chain in [chains[alias] for alias in chains] if self.chain is None else [chains[self.chain]]:
            yield from self._down(chain)

    def _late(self, catalogued: list[str]) -> Iterator[HealthCheckException]:
        if self.max_age is None:
            return
        now = timezone.now()
        seconds = max((vitals.overdue(now, alias) for alias in catalogued), default=0.0)
        if seconds > self.max_age.total_seconds():
            yield ServiceUnavailable(f"work has waited for {seconds:.0f} s; is a worker running?")

    def _failed(self, catalogued: list[str]) -> Iterator[HealthCheckException]:
        if self.max_failed is None:
            return
        count = vitals.failed(catalogued, self.max_failed + COUNTED)
        if count > self.max_failed:
            more = "at least " if count == self.max_failed + COUNTED else ""
            yield ServiceWarning(f"{more}{count} failed; `manage.py tiers status` tells more")

    def _silent(self) -> Iterator[HealthCheckException]:
        if self.chain is not None and chains[self.chain].own is None:
            return
        for host in hosts.status(timezone.now()):
            if host.is_silent:
                yield ServiceWarning(
                    f"host {host.host!r} gives no sign of life, and {host.owed} wait for it alone"
                )

    def _down(self, chain: Chain) -> Iterator[HealthCheckException]:
        down = [tier.name for tier in chain if self._is_down(tier)]
        if down:
            kind = ServiceUnavailable if len(down) == len(chain.tiers) else ServiceWarning
            yield kind(f"chain {chain.alias!r}: {', '.join(down)} down")

    def _is_down(self, tier: Tier) -> bool:
        if tier.timeout is not None and outage.is_down(tier):
            return True
        if not self.probe:
            return False
        try:
            outage.ask(tier, partial(_look, tier), self.timeout.total_seconds() / 2)
        except TierUnavailable:
            return True
        return False


def _look(tier: Tier) -> bool:
    return tier.storage.exists(staging_name("health"))
