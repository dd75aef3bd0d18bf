"""``tiers identify``: its options, and what it prints."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.core.management.base import CommandError

from queued_storage import identity
from queued_storage.chain import Chain
from queued_storage.exceptions import QueuedStorageError


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--tier", help="identify this tier alone")
    parser.add_argument(
        "--accept",
        action="store_true",
        help="with --chain and --tier: take the place that is there for the right one, whatever it says",
    )


@dataclass(frozen=True)
class Told:
    """What came of a tier: a result of ``identity.identify``, or "refused" and why."""

    chain: str
    tier: str
    result: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.chain}: {self.tier}: {self.result}{': ' if self.reason else ''}{self.reason}"


def run(chains: Iterable[Chain], tier: str | None, *, accept: bool, one_chain: bool) -> list[Told]:
    """Identify the tiers that have IDENTITY; raise CommandError where there is none of them."""
    if accept and not (tier and one_chain):
        raise CommandError("--accept is said of one tier that was looked at: write --chain and --tier, too.")
    told = [each for chain in chains for each in _identify(chain, tier, accept=accept)]
    if not told:
        raise CommandError(
            'No tier that is asked for has IDENTITY: write "IDENTITY": True into its settings first.'
        )
    return told


def _identify(chain: Chain, only: str | None, *, accept: bool) -> Iterator[Told]:
    if only is not None:
        _ = chain[only]
    for tier in chain:
        if tier.has_identity and only in (None, tier.name):
            try:
                for done in identity.identify(chain, [tier.name], accept=accept):
                    yield Told(chain.alias, tier.name, done.result)
            except QueuedStorageError as error:
                yield Told(chain.alias, tier.name, "refused", str(error))
