"""System checks: every mistake of the settings with an id, the setting's path and what to write."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, register
from django.core.files.storage import InvalidStorageError
from django.db.models import FileField
from django.utils.module_loading import import_string
from pydantic import ValidationError

from . import catalog, conf, copiers, copying, disk, dispatch, former, links, traits
from .chain import Chain, chains, find_problems, find_shared_places
from .exceptions import ConfigurationError
from .schema import POLICIES, PREFIX, TIERS, GeneralSettings, Problem, did_you_mean, option_problems
from .storage import TieredStorage
from .tier import Tier


@register("queued_storage")
def check_chains(app_configs: Any = None, **_: Any) -> list[CheckMessage]:
    """E001 to E005: the two settings, the storages they name and the policies' options.

    W002: shared places. W004: an FSYNC that does nothing. W007: saves in another database than the catalog's.
    W008: hosts that will not find their own files, or get no work.
    """
    problems = find_problems()
    if problems:
        return [_error(problem.path, problem.message, problem.hint, problem.id) for problem in problems]
    return [
        *(_shared(problem) for problem in find_shared_places()),
        *(message for alias in chains for tier in chains[alias] for message in _check_tier(tier)),
        *(message for alias in chains for message in _check_databases(chains[alias])),
        *(message for alias in chains for message in _check_ack(chains[alias])),
        *(message for alias in chains for message in _check_promote(chains[alias])),
        *(message for alias in chains for message in _check_ack_behind(chains[alias])),
        *(message for chain in chains.with_own_tiers() for message in _check_own_tier(chain)),
    ]


def _shared(problem: Problem) -> CheckMessage:
    kind = Error if problem.id.endswith("E003") else checks.Warning
    return kind(f"{problem.path}: {problem.message}", problem.hint, id=problem.id)


def _check_tier(tier: Tier) -> Iterator[CheckMessage]:
    try:
        storage = tier.storage
    except ConfigurationError as error:
        path, _, message = str(error).partition(": ")
        if former.advice(tier.backend_path) and former.is_gone(tier.backend_path):
            return  # check_former_names tells it
        yield _error(path, message, "Correct BACKEND or OPTIONS, or install what the backend needs.", "E005")
    else:
        if (tier.fsync or not tier.syncs_copies) and not disk.can_stage(storage):
            yield checks.Warning(
                f"{tier.path}['FSYNC']: has no effect: this package does not write the files of that storage itself.",
                "Remove it; it is for FileSystemStorage, and subclasses that save as that does.",
                id=_id("W004"),
            )


def _check_ack(chain: Chain) -> Iterator[CheckMessage]:
    if chain.acks == 1:
        return
    with suppress(ConfigurationError):  # told of the tier
        if traits.overwrites(chain.first.storage):
            yield _error(
                f"{TIERS}[{chain.alias!r}]['ACK']",
                "does not go with a first tier that overwrites, where no save would be taken.",
                "Let it give each save a name of its own (of S3Storage: file_overwrite False), or leave ACK out.",
                "E001",
            )


def _check_promote(chain: Chain) -> Iterator[CheckMessage]:
    if chain.policy_name is None or not chain.policy(chain.policy_name).promotes:
        return
    with suppress(ConfigurationError):  # told of the tier
        if not copying.appears_at_once(chain.first):
            yield _error(
                f"{TIERS}[{chain.alias!r}]['POLICY']",
                "'promote' does not go with a first tier on which a copy grows in its place, or keeps its file's "
                "savers waiting: nothing comes back there.",
                "Leave 'promote' out, or let the first tier be a FileSystemStorage, SFTPStorage, FTPStorage or "
                "S3Storage that saves in that class's own way.",
                "E001",
            )


def _check_ack_behind(chain: Chain) -> Iterator[CheckMessage]:
    """Look whether copies go to a chain that refuses them: a copy replaces what may lie by its name."""
    if not _moves_files(chain):
        return
    for tier in chain.lower:
        with suppress(ConfigurationError):  # told of the tier
            if tier.read_only or not traits.is_chain(tier.storage):
                continue
            behind: Chain = tier.storage.chain  # type: ignore[attr-defined]
            if behind.acks > 1:
                yield _error(
                    tier.path,
                    f"chain {behind.alias!r} takes no copies: it has ACK, and so replaces no content.",
                    f"Leave ACK out of {TIERS}[{behind.alias!r}], or write its tiers, and ACK, into this chain.",
                    "E001",
                )


def _moves_files(chain: Chain) -> bool:
    """Tell whether the chain has a policy, or a field has one on it."""
    return chain.policy_name is not None or chain.alias in chains.catalogued


def _check_own_tier(chain: Chain) -> Iterator[CheckMessage]:
    """Look whether files that lie on one host alone will be found, and moved, there."""
    path = f"{chain.first.path}['SHARED']"
    with suppress(ConfigurationError):  # told of the tier
        if not traits.is_disk(chain.first.storage):
            yield _own_warning(
                f"{path}: False is for a disk of the host's own, and that storage is none.",
                "Remove SHARED: every host reaches the storage.",
            )
    if conf.get("HOST") is None and _MADE_UP.fullmatch(conf.host()):
        yield _own_warning(
            f"{path}: this host calls itself {conf.host()!r}, which looks as if it were made up at each start, "
            "or others had it too. By its name a host knows which files are its own.",
            f"Write a name into {PREFIX}HOST that is this host's alone, and lasts as long as the disk.",
        )
    with suppress(ImportError, TypeError, AttributeError):  # told by check_settings
        if not dispatch.can_reach_hosts(import_string(conf.get("DISPATCHER"))):
            yield _own_warning(
                f"{PREFIX}DISPATCHER: has no dispatch_to() and tend(), so that work for one host is started on any.",
                "Add them, as queued_storage.dispatch.HostDispatcher has them.",
            )


#: Host names of containers, and of the pods of a Kubernetes Deployment; and one that every machine has.
_MADE_UP = re.compile(r"[0-9a-f]{12}|.*-[0-9a-f]{8,10}-[a-z0-9]{5}|localhost(\..*)?")


def _own_warning(message: str, hint: str) -> CheckMessage:
    return checks.Warning(message, hint, id=_id("W008"))


def _check_databases(chain: Chain) -> Iterator[CheckMessage]:
    """Look where saves go: below, a file is worked on outside of anybody's transaction."""
    if not _moves_files(chain):
        return
    for tier in chain.writable if chain.spills else [chain.first]:
        try:
            if not traits.joins_transactions(tier.backend):
                continue
            alias, of_rows = traits.joined_database(tier.storage), catalog.database()
        except ConfigurationError:  # told of the tier, or at the first use of a catalog that is not installed
            continue
        if alias not in (None, of_rows):
            yield checks.Warning(
                f"{tier.path}: files are saved in database {alias!r}, their rows in {of_rows!r}; "
                "a rollback of one leaves the other.",
                "Keep both in one database, by the storage's option or your DATABASE_ROUTERS, or save on another "
                "tier: below it, either database will do.",
                id=_id("W007"),
            )


@register("queued_storage")
def check_urls(app_configs: Any = None, **_: Any) -> list[CheckMessage]:
    """E010: chains with stable URLs, which the project's urls do not serve."""
    if find_problems() or not hasattr(settings, "ROOT_URLCONF"):  # without any, as workers may be
        return []
    for alias in chains:
        if chains[alias].config.URLS == "stable":
            try:
                links.url(alias, "name")
            except ConfigurationError:
                path = f"{TIERS}[{alias!r}]['URLS']"
                return [
                    _error(
                        path,
                        "the project's urls do not serve them.",
                        f"Add {links.INCLUDE} to urlpatterns.",
                        "E010",
                    )
                ]
    return []


@register("queued_storage")
def check_settings(app_configs: Any = None, **_: Any) -> list[CheckMessage]:
    """E006: the other settings. W001: names that look like settings of this package but are none."""
    return [*_check_values(), *_check_dispatcher(), *_check_cache(), *_check_unknown_names()]


def _check_values() -> Iterator[CheckMessage]:
    try:
        GeneralSettings.model_validate({name: conf.get(name) for name in GeneralSettings.model_fields})
    except ValidationError as error:
        for problem in option_problems(PREFIX, GeneralSettings, error):
            yield _error(problem.path, problem.message, problem.hint, "E006")


def _check_dispatcher() -> Iterator[CheckMessage]:
    path = conf.get("DISPATCHER")
    if not isinstance(path, str):
        return
    hint = "Write 'queued_storage.dispatch.CeleryDispatcher', 'ImmediateDispatcher' or 'TasksDispatcher' from there."
    try:
        if not hasattr(import_string(path), "dispatch"):
            yield _error(f"{PREFIX}DISPATCHER", f"{path!r} has no dispatch() method.", hint, "E006")
    except ImportError as error:
        yield _error(f"{PREFIX}DISPATCHER", f"{path!r} cannot be imported: {error}.", hint, "E006")


def _check_cache() -> Iterator[CheckMessage]:
    alias = conf.get("CACHE")
    if isinstance(alias, str) and alias not in settings.CACHES:
        yield _error(
            f"{PREFIX}CACHE", f"CACHES has no {alias!r}.", did_you_mean(alias, settings.CACHES), "E006"
        )


def _check_unknown_names() -> Iterator[CheckMessage]:
    known = {TIERS, POLICIES, *(f"{PREFIX}{name}" for name in GeneralSettings.model_fields)}
    known.update(conf.FORMER_NAMES.values())  # told by check_former_names
    for name in dir(settings):
        if name.startswith(PREFIX) and name not in known:
            yield checks.Warning(
                f"{name}: not a setting of this package.", did_you_mean(name, known), id=_id("W001")
            )


@register("queued_storage")
def check_former_names(app_configs: Any = None, **_: Any) -> list[CheckMessage]:
    """E008: class paths that are gone. W005: such as still work. W006: settings of former versions."""
    paths = [found for name in _SETTINGS_OF_STORAGES for found in _texts(name, getattr(settings, name, None))]
    return [*_check_former_settings(), *(_former_path(*each) for each in paths if former.advice(each[1]))]


#: Settings in which a class path of a storage may stand, however deep.
_SETTINGS_OF_STORAGES = (
    TIERS,
    "STORAGES",
    "FALLBACK_STORAGES",
    "DEFAULT_FILE_STORAGE",
    "STATICFILES_STORAGE",
)


def _texts(where: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield every text in a setting, with where it stands."""
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(f"{where}[{key!r}]", item)
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _texts(f"{where}[{i}]", item)


def _former_path(where: str, path: str) -> CheckMessage:
    if former.is_gone(path):
        return Error(f"{where}: {path!r} is gone.", former.advice(path), id=_id("E008"))
    return checks.Warning(f"{where}: {path!r} has another name now.", former.advice(path), id=_id("W005"))


def _check_former_settings() -> Iterator[CheckMessage]:
    for now, name in conf.FORMER_NAMES.items():
        if hasattr(settings, name):
            yield checks.Warning(f"{name} is 0.3's name.", f"Write {PREFIX}{now}.", id=_id("W006"))
    for name, alias in (("DEFAULT_FILE_STORAGE", "default"), ("STATICFILES_STORAGE", "staticfiles")):
        if hasattr(settings, name):
            yield checks.Warning(
                f"{name} is not read since Django 5.1.",
                f"Write the class path into STORAGES[{alias!r}]['BACKEND'].",
                id=_id("W006"),
            )


@register("queued_storage")
def check_fields(app_configs: Iterable[Any] | None = None, **_: Any) -> list[CheckMessage]:
    """E007: fields whose chain or policy is not in the settings. E009: methods that 0.8 called, and nothing calls now.

    W003: policies on a chain without one. W005: storages that a field has by a former name.
    """
    if find_problems():
        return []
    models = (
        apps.get_models()
        if app_configs is None
        else (m for config in app_configs for m in config.get_models())
    )
    fields = (field for model in models for field in model._meta.local_fields)
    return [message for field in fields if isinstance(field, FileField) for message in _check_field(field)]


def _check_field(field: FileField) -> Iterator[CheckMessage]:
    try:
        if not isinstance(field.storage, TieredStorage):
            return
    except InvalidStorageError:  # the alias "default" names what cannot be imported
        return
    yield from _check_overrides(field, field.storage)
    for path in _former_paths_of(field.storage):
        yield checks.Warning(f"{path!r} has a successor.", former.advice(path), obj=field, id=_id("W005"))
    try:
        policy = field.storage.policy
        if policy is not None and (task := field.storage.chain.policy(policy).copier) is not None:
            copiers.find(task)
        if policy is not None:
            yield from _warn_of_plain_use(field, field.storage)
    except copiers.NeverCalled as error:
        yield Error(
            str(error), "See from-queued-storage-0.8 in the documentation.", obj=field, id=_id("E009")
        )
    except ConfigurationError as error:
        hint = "Correct the field's storage or policy, or add it to the settings."
        yield Error(str(error), hint, obj=field, id=_id("E007"))


def _check_overrides(field: FileField, storage: TieredStorage) -> Iterator[CheckMessage]:
    """Find methods of a project's class by which 0.8 chose the storage of every call."""
    kind = type(storage)
    if getattr(kind, "declares_chain", False) and kind.get_storage is not TieredStorage.get_storage:
        yield Error(
            f"{kind.__qualname__} has a get_storage() of its own, which no read calls: they ask the tiers in order.",
            "Remove it; storage.local and storage.remote are the two storages themselves.",
            obj=field,
            id=_id("E009"),
        )


def _former_paths_of(storage: TieredStorage) -> Iterator[str]:
    """Yield the class paths by which code built the storage, and that have a successor."""
    kinds = (f"{kind.__module__}.{kind.__qualname__}" for kind in type(storage).__mro__)
    yield from islice(filter(former.advice, kinds), 1)
    yield from filter(former.advice, getattr(storage, "declared_paths", ()))


def _warn_of_plain_use(field: FileField, storage: TieredStorage) -> Iterator[CheckMessage]:
    if storage.chain.policy_name is None:
        yield checks.Warning(
            f"{TIERS}[{storage.alias!r}] has POLICY None, but this field moves files on it. Whoever uses the chain "
            f"without a policy does not look where they moved to.",
            'Write a POLICY into the chain: with "delayed", files stay until transfer() is asked for.',
            obj=field,
            id=_id("W003"),
        )


def _error(path: str, message: str, hint: str, identifier: str) -> Error:
    return Error(f"{path}: {message}", hint or "See the settings reference.", id=_id(identifier))


def _id(identifier: str) -> str:
    return identifier if "." in identifier else f"queued_storage.{identifier}"
