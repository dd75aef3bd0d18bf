"""Chains: ordered tiers, built at first use from the settings; each thread has its own instance of a storage."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import InvalidStorageError, storages
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils import timezone
from django.utils.module_loading import import_string

from . import conf, disk, places
from .exceptions import ConfigurationError, CustodyError, UnknownChain
from .policies import FileFacts, Placement, Policy, PolicyError, bind_policy, get_policy
from .schema import (
    POLICIES,
    TIERS,
    ChainSettings,
    PolicySettings,
    Problem,
    TierSettings,
    did_you_mean,
    read_chains,
    read_policies,
)
from .tier import Tier, unknown_alias

if TYPE_CHECKING:
    from .models import StoredFile

#: What the aliases of chains begin with that code declares, not the settings.
DECLARED = ("queued-", "fallback-")


class Chain:
    """The tiers of one alias, in order, and the chain's policy."""

    def __init__(self, alias: str, config: ChainSettings) -> None:
        self.alias = alias
        self.tiers = tuple(Tier(alias, name, i, tier) for i, (name, tier) in enumerate(config.TIERS.items()))
        self._by_name = {tier.name: tier for tier in self.tiers}
        self._policies: dict[str, Policy] = {}
        self.default_policy = config.POLICY
        self.spills = config.SPILL
        self.acks = config.ACK
        self.config = config

    def __repr__(self) -> str:
        return f"<Chain {self.alias!r}: {', '.join(self.names)}>"

    def __iter__(self) -> Iterator[Tier]:
        return iter(self.tiers)

    def __getitem__(self, name: str) -> Tier:
        try:
            return self._by_name[name]
        except KeyError:
            hint = did_you_mean(name, self._by_name)
            raise ConfigurationError(f"Tier {name!r} is not in {TIERS}[{self.alias!r}]. {hint}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._by_name)

    @property
    def first(self) -> Tier:
        return self.tiers[0]

    @cached_property
    def disk(self) -> Tier | None:
        """The first tier if it is a disk that can be asked without ceremony, which answers most reads."""
        first = self.first
        if not first.shared:  # what lies there may be another host's file of older content
            return None
        return first if first.timeout is None and disk.reads_as_stock(first.backend) else None

    @cached_property
    def own(self) -> Tier | None:
        """The first tier, if it is each host's own; None if all tiers are SHARED."""
        return None if self.first.shared else self.first

    def is_elsewhere(self, tier: Tier, row: StoredFile) -> bool:
        """Tell whether it is another host that has what the catalog says of this tier and this file."""
        return not tier.shared and row.host not in (None, conf.host())

    def holders(self, row: StoredFile) -> list[Tier]:
        """Return the tiers with copies that this host reaches."""
        tiers = [self[name] for name in row.tiers if name in self]
        return tiers if self.own is None else [tier for tier in tiers if not self.is_elsewhere(tier, row)]

    def has_elsewhere(self, row: StoredFile) -> bool:
        """Tell whether another host has something of this file on its own tier: a copy, or what is to be removed."""
        own = self.own
        return own is not None and self.is_elsewhere(own, row)

    @property
    def lower(self) -> tuple[Tier, ...]:
        return self.tiers[1:]

    @property
    def writable(self) -> tuple[Tier, ...]:
        return tuple(tier for tier in self.tiers if not tier.read_only)

    @property
    def policy_name(self) -> str | None:
        """The name of the chain's own policy: None without one, "" where it is written out in the settings."""
        return "" if isinstance(self.default_policy, PolicySettings) else self.default_policy

    def policy(self, name: str) -> Policy:
        """Return the named policy ("" is the chain's own) as it acts on this chain; raise ConfigurationError."""
        if name not in self._policies:
            try:
                self._policies[name] = self.bind(name)
            except PolicyError as error:
                raise ConfigurationError(f"{TIERS}[{self.alias!r}]: {error}") from error
        return self._policies[name]

    def policy_of(self, file: FileFacts, policy: str) -> Policy:
        """Return the policy that decides for this file, where the named one leaves that to others."""
        return self.policy(policy).for_file(file)

    def assess(self, file: FileFacts, policy: str, now: datetime) -> Assessment:
        """Compare where the file lies with where its policy wants it; raise CustodyError if that is nowhere."""
        placement = self.policy(policy).place(file, self.names, now)
        _require_placement(placement, policy)
        wanted = [self[name] for name in dict.fromkeys(placement.tiers)]
        if not wanted:
            raise CustodyError(f"policy {policy!r} places {file.name!r} on no tier at all")
        missing = [tier for tier in wanted if tier.name not in file.tiers]
        if locked := [tier.name for tier in missing if tier.read_only]:
            raise CustodyError(f"policy {policy!r} places {file.name!r} on {locked}, which is READ_ONLY")
        surplus = (name for name in file.tiers if name in self and self[name] not in wanted)
        return Assessment(
            tuple(tier.name for tier in missing),
            tuple(name for name in surplus if not self[name].read_only),
            placement.review_at,
        )

    def bind(self, name: str) -> Policy:
        """Return the policy of the name, made anew for this chain; raise PolicyError."""
        reference = self.default_policy if name == "" and self.default_policy is not None else name
        lower = [tier.name for tier in self.lower if not tier.read_only]
        return bind_policy(reference, self.names, lower)


@dataclass(frozen=True)
class Assessment:
    """What a file is owed, as its policy sees it: copies to make, copies to release, when to look again."""

    missing: tuple[str, ...]
    surplus: tuple[str, ...]
    review_at: datetime | None

    @property
    def is_settled(self) -> bool:
        return not self.missing and not self.surplus


def _require_placement(placement: object, policy: str) -> None:
    if not isinstance(placement, Placement):
        raise CustodyError(f"policy {policy!r} returned {type(placement).__name__}, not a Placement")
    review_at = placement.review_at
    if review_at is not None and not isinstance(review_at, datetime):
        raise CustodyError(f"policy {policy!r} returned a review_at that is no datetime")
    if review_at is not None and timezone.is_naive(review_at) is settings.USE_TZ:
        raise CustodyError(
            f"policy {policy!r} returned a review_at that is not {'aware' if settings.USE_TZ else 'naive'}"
        )


class ChainHandler:
    """Chains by alias; raises ConfigurationError with every mistake of the settings at first use."""

    def __init__(self) -> None:
        #: Aliases of chains some of whose files are in the catalog since code names a policy for them.
        self.catalogued: set[str] = set()
        self._chains: dict[str, Chain] | None = None
        self._declared: dict[str, Chain] = {}
        self._lock = threading.Lock()
        #: Whether the storages of STORAGES that declare chains have done so, or are at it.
        self._has_built = self._is_building = False
        self._build_lock = threading.RLock()

    def __getitem__(self, alias: str) -> Chain:
        chain = self._declared.get(alias) or (self._chains or {}).get(alias)
        return chain or self._find(alias)

    def _find(self, alias: str) -> Chain:
        chains = self._all()
        if alias not in chains and alias.startswith(DECLARED):
            chains = self._with_those_of_storages()
        try:
            return chains[alias]
        except KeyError:
            raise UnknownChain(_unknown_chain(alias, chains)) from None

    def __contains__(self, alias: object) -> bool:
        return alias in self._all() or alias in self._with_those_of_storages()

    def __iter__(self) -> Iterator[str]:
        return iter(self._with_those_of_storages())

    def declare(self, alias: str, config: ChainSettings, *, instead: bool = False) -> None:
        """Add a chain that code, not the settings, defines; declaring it again changes nothing, but ``instead``."""
        if instead or alias not in self._declared:
            self._declared = self._declared | {alias: Chain(alias, config)}

    def declared(self) -> dict[str, ChainSettings]:
        """Return the chains that code defines, or a class that STORAGES names."""
        self._with_those_of_storages()
        return {alias: chain.config for alias, chain in self._declared.items()}

    def with_own_tiers(self) -> list[Chain]:
        """Return the chains whose first tier is each host's own."""
        return [chain for chain in map(self.__getitem__, self) if chain.own is not None]

    def reset(self) -> None:
        self._chains = None
        self._has_built = False
        self._declared = {alias: Chain(alias, chain.config) for alias, chain in self._declared.items()}

    def _with_those_of_storages(self) -> dict[str, Chain]:
        """Return all chains, also those of storages of STORAGES that nobody has asked for in this process."""
        if not self._has_built:
            with self._build_lock:
                if not (self._has_built or self._is_building):  # they may look at chains themselves
                    self._is_building = True
                    try:
                        for alias, definition in settings.STORAGES.items():
                            _build_declaring(alias, str(definition.get("BACKEND", "")))
                    finally:
                        self._is_building, self._has_built = False, True
        return self._all()

    def _all(self) -> dict[str, Chain]:
        if self._chains is None:
            with self._lock:
                if self._chains is None:
                    self._chains = self._read()
        return self._chains | self._declared if self._declared else self._chains

    def _read(self) -> dict[str, Chain]:
        problems = find_problems()
        if problems:
            raise ConfigurationError("\n".join(map(str, problems)))
        configs, _ = read_chains()
        return {alias: Chain(alias, config) for alias, config in configs.items()}


def _build_declaring(alias: str, backend: str) -> None:
    """Build the storage of STORAGES, if its class is one of those that declare a chain."""
    try:
        if getattr(import_string(backend), "declares_chain", False):
            with warnings.catch_warnings():  # the checks tell of former names
                warnings.simplefilter("ignore", DeprecationWarning)
                _ = storages[alias]
    except (ImportError, ImproperlyConfigured, InvalidStorageError, TypeError):  # told where it is used
        return


def _unknown_chain(alias: str, known: Iterable[str]) -> str:
    if alias.startswith(DECLARED):
        return (
            f"No code that is loaded here declares the storage {alias!r}. Import the module that builds it, which an "
            f"app of INSTALLED_APPS does in its models; or its class paths and options have changed since."
        )
    return f"{TIERS} has no chain {alias!r}. {did_you_mean(alias, known)}"


def find_problems() -> list[Problem]:
    """Return every mistake of the two settings that can be told without importing a storage."""
    configs, problems = read_chains()
    policies, policy_problems = read_policies()
    problems += policy_problems
    for name in policies:
        problems += _policy_problems(lambda name=name: get_policy(name))  # type: ignore[misc]
    problems += _case_problems(configs)
    for alias, config in configs.items():
        problems += _alias_problems(alias, config, configs)
        problems += _twin_problems(alias, config)
        problems += _default_policy_problems(alias, config, {problem.path for problem in problems})
    return problems


def _case_problems(aliases: Iterable[str]) -> Iterator[Problem]:
    """Two chains that a database which does not tell cases apart, as MariaDB, would take for one."""
    for alias, other in combinations(aliases, 2):
        if alias.casefold() == other.casefold():
            yield Problem(
                f"{TIERS}[{other!r}]",
                f"differs from chain {alias!r} in case alone.",
                "Give it another name: some databases take the two for one.",
                "queued_storage.E001",
            )


def find_shared_places() -> Iterator[Problem]:
    """Yield the tiers that lie inside others, or that two chains write to: neither knows which names are the other's.

    This may be meant (their names never meet, say), so it is a warning; but not of one storage that code declares as
    both tiers of a chain, which is refused when it is used.
    """
    declared = chains.declared()
    configs = read_chains()[0] | declared
    for alias, config in configs.items():
        if alias in declared:
            yield from _twin_problems(alias, config)
        for first, second in combinations(config.TIERS.items(), 2):
            yield from _nesting_problems((alias, *second), (alias, *first))
    for (alias, config), (other, shared) in combinations(configs.items(), 2):
        yield from _sharing_problems(alias, config, other, shared)


def _path(alias: str, tier: str) -> str:
    """Return where the tier stands: in the settings, or in the storage that code declares."""
    if alias.startswith(DECLARED):
        return f"Storage {alias!r}, which code declares, its {tier!r}"
    return f"{TIERS}[{alias!r}]['TIERS'][{tier!r}]"


def _nesting_problems(
    tier: tuple[str, str, TierSettings], twin: tuple[str, str, TierSettings]
) -> Iterator[Problem]:
    """One tier inside another: the files of the one are files of the other, by longer names."""
    (alias, name, config), (other, twin_name, twin_config) = tier, twin
    if places.are_nested(config, twin_config):
        yield Problem(
            _path(alias, name),
            f"lies inside tier {twin_name!r} of chain {other!r}, or that one in it; a name in both would be one file.",
            "Give it a folder, bucket or prefix of its own, beside the other.",
            "queued_storage.W002",
        )


def _alias_problems(
    alias: str, config: ChainSettings, configs: Mapping[str, ChainSettings]
) -> Iterator[Problem]:
    for name, tier in config.TIERS.items():
        path = f"{TIERS}[{alias!r}]['TIERS'][{name!r}]"
        if tier.STORAGE is not None and tier.STORAGE not in settings.STORAGES:
            yield unknown_alias(path, tier.STORAGE)
        elif alias in _chains_behind(tier, configs):
            yield Problem(
                f"{path}[{'BACKEND' if tier.STORAGE is None else 'STORAGE'!r}]",
                f"leads back to this chain, {alias!r}.",
                "Name a storage that does not.",
                "queued_storage.E002",
            )


def _chains_behind(tier: TierSettings, configs: Mapping[str, ChainSettings]) -> set[str]:
    """Return the aliases of all chains that a call to the tier would reach."""
    found: set[str] = set()
    tiers = [tier]
    while tiers:
        chain = _chain_of(tiers.pop())
        if chain in configs and chain not in found:
            found.add(chain)
            tiers += configs[chain].TIERS.values()
    return found


def _chain_of(tier: TierSettings) -> str:
    """Return the alias of the chain that the tier itself is; "" for any other storage."""
    backend, options = places.definition(tier)
    return str(options.get("alias", "")) if backend == "queued_storage.storage.TieredStorage" else ""


def _twin_problems(alias: str, config: ChainSettings) -> Iterator[Problem]:
    """Two tiers on one storage: releasing the file from one would take it from both."""
    tiers = list(config.TIERS.items())
    for i, (name, tier) in enumerate(tiers):
        for other, twin in tiers[:i]:
            if places.are_one(tier, twin):
                yield Problem(
                    _path(alias, name),
                    f"is the same storage as tier {other!r}.",
                    "Give it a folder, bucket or prefix of its own, or remove one of the two.",
                    "queued_storage.E003",
                )


def _sharing_problems(
    first: str, config: ChainSettings, second: str, other: ChainSettings
) -> Iterator[Problem]:
    """Two chains that write to one place: neither knows which names there are the other's."""
    if config.POLICY is None and other.POLICY is None:
        return
    for name, tier in other.TIERS.items():
        for twin_name, twin in config.TIERS.items():
            if tier.READ_ONLY or twin.READ_ONLY:
                continue
            yield from _nesting_problems((second, name, tier), (first, twin_name, twin))
            if places.are_one(tier, twin):
                yield Problem(
                    _path(second, name),
                    f"is the same storage as tier {twin_name!r} of chain {first!r}; a name in both would be one file.",
                    "Give it a folder, bucket or prefix of its own, or make it READ_ONLY in one of the two.",
                    "queued_storage.W002",
                )


def _policy_problems(get: Callable[[], object]) -> list[Problem]:
    try:
        get()
    except PolicyError as error:
        return [replace(problem, id="queued_storage.E004") for problem in error.problems]
    return []


def _default_policy_problems(alias: str, config: ChainSettings, told: Container[str]) -> Iterator[Problem]:
    if config.POLICY is None:
        return
    chain = Chain(alias, config)
    for problem in _policy_problems(lambda: chain.bind(chain.policy_name or "")):
        if not problem.path.startswith(POLICIES):
            yield problem.inside(f"{TIERS}[{alias!r}]['POLICY']")
        elif problem.path not in told:  # it is one for this chain alone
            yield replace(problem, message=f"on chain {alias!r}, {problem.message}")


chains = ChainHandler()


@receiver(setting_changed, dispatch_uid="queued_storage.chains")
def forget_chains(*, setting: str, **_: Any) -> None:
    if setting in (TIERS, POLICIES, "STORAGES"):
        chains.reset()
