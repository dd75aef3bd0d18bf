"""Chains that code declares instead of the settings: the same declaration gets the same alias in every process.

The alias is a fingerprint of what says *where* the files are: class paths and options, but no credential, so that a
new password does not strand what is owed under the old one.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import partial
from types import ModuleType, NoneType
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.utils.functional import Promise

from . import credentials, places
from .chain import chains
from .exceptions import ConfigurationError
from .schema import TIERS, ChainSettings

#: For each alias, the digest of everything that was declared, credentials included.
_seen: dict[str, str] = {}
#: The aliases among those of chains that a migration alone declares: what a password was when it was written.
_of_migrations: set[str] = set()


def declare(prefix: str, config: ChainSettings) -> str:
    """Declare the chain and return its alias; declaring the same again changes nothing."""
    tiers = [
        [name, tier.BACKEND, tier.STORAGE, tier.READ_ONLY, tier.OPTIONS]
        for name, tier in config.TIERS.items()
    ]
    alias = f"{prefix}{_digest(_plain(tiers))[:32]}"
    digest, in_migration = _digest(_plain(tiers, secrets=True)), _is_in_migration()
    is_known = alias in _seen
    if is_known and _seen[alias] != digest and not in_migration and alias not in _of_migrations:
        names = " and ".join(str(tier.BACKEND) for tier in config.TIERS.values())
        raise ConfigurationError(
            f"Two storages on {names} are declared in code and differ in nothing but credentials, so their files "
            f"cannot be told apart. Write them as two chains into {TIERS}. If it is one storage, and one of the two "
            "has a password of former times (in an old migration, say), correct that."
        )
    if not is_known or (alias in _of_migrations and not in_migration):
        chains.declare(alias, config, instead=is_known)
        _seen[alias] = digest
        (_of_migrations.add if in_migration else _of_migrations.discard)(alias)
    return alias


def _is_in_migration() -> bool:
    """Tell whether a migration of the project builds the storage."""
    frame = sys._getframe(1)
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).rpartition(".")[0]
        if package in settings.MIGRATION_MODULES.values() or (
            package.endswith(".migrations") and package != "django.db.migrations"
        ):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def dotted(thing: Any) -> str:
    """Return the path by which another process imports this function, class or class of an instance."""
    if isinstance(thing, str):
        return thing
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    path = f"{named.__module__}.{named.__qualname__}"
    if "<" in path:
        raise ConfigurationError(f"{path} has no name that a worker could import. Define it in a module.")
    return path


def _digest(plain: Any) -> str:
    return hashlib.sha256(json.dumps(plain, cls=DjangoJSONEncoder, sort_keys=True).encode()).hexdigest()


def _plain(value: Any, key: str = "", *, secrets: bool = False) -> Any:
    """Return the value as JSON can say it, the same in every process; raise ConfigurationError where it cannot.

    Without ``secrets`` it says nothing of credentials; with them, of an object that is one and has no text, the class.
    """
    is_secret = credentials.NAMES.search(key) is not None
    if is_secret and not secrets:
        return None
    value = str(value) if isinstance(value, Promise) else places.unwrapped(value)
    plain = partial(_plain, key=key if is_secret else "", secrets=secrets)
    if isinstance(value, Mapping):
        return {
            str(name): _plain(item, key if is_secret else str(name), secrets=secrets)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(item if isinstance(item, str) else json.dumps(item) for item in map(plain, value))
    if isinstance(value, str):
        return value if secrets or "://" not in value else _without_password(value)
    if is_dataclass(value) and not isinstance(value, type):
        return [
            _path(type(value)),
            plain({field.name: getattr(value, field.name) for field in fields(value)}),
        ]
    if isinstance(value, Enum):
        return [_path(type(value)), value.name]
    return _text(value, is_secret=is_secret)


def _text(value: Any, *, is_secret: bool) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, bytes):
        return value.hex()
    try:
        json.dumps(value, cls=DjangoJSONEncoder)
    except TypeError:
        if _has_path(value):
            return _path(value)
        if is_secret:
            return _path(type(value))
    else:
        return value
    kind = type(value)
    raise ConfigurationError(
        f"The options of a storage that code declares hold an object of {_path(kind)}, and nothing tells two of "
        "those apart in every process. Set it in a subclass of the storage, or by a setting that the storage reads; or "
        f"write the chain into {TIERS}."
    )


def _has_path(value: Any) -> bool:
    """Tell whether the value is a class or function by which every process can import the same."""
    is_bound = not isinstance(getattr(value, "__self__", None), type | ModuleType | NoneType)
    return hasattr(value, "__qualname__") and "<" not in value.__qualname__ and not is_bound


def _path(named: Any) -> str:
    return f"{named.__module__}.{named.__qualname__}"


def _without_password(url: str) -> str:
    try:
        password = urlsplit(url).password
    except ValueError:
        return url
    return url.replace(f":{password}@", "@", 1) if password else url
