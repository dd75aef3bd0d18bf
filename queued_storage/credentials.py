"""What no message may hold: the texts in options and settings by which one logs in somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from django.conf import settings
from django.views.debug import SafeExceptionReporterFilter

_hidden: re.Pattern[str] = SafeExceptionReporterFilter.hidden_settings
#: Names of settings, options and keys that hold a credential: those that Django hides, and a few more.
NAMES = re.compile(f"{_hidden.pattern}|CREDENTIAL|CONNECTION|PWD", flags=re.IGNORECASE)
#: Names that only look like those.
_NO_CREDENTIALS = re.compile("KEY_PREFIX$|KEY_FUNCTION$", flags=re.IGNORECASE)
#: What marks a dict as the definition of a storage, cache, … whose alias is no name of a credential.
_DEFINING = frozenset({"BACKEND", "ENGINE", "STORAGE", "TIERS"})
#: Options that say where files are, and with which headers: users need them to understand an error.
_TELLABLE = frozenset(
    {
        "account_name", "addressing_style", "alias", "api_auth_url", "azure_container", "base_path", "base_url",
        "bucket", "bucket_name", "container", "container_name", "custom_domain", "default_acl", "domain",
        "endpoint_url", "host", "location", "name_prefix", "object_parameters", "policy", "project_id", "provider_name",
        "region_name", "root_path", "signature_version", "storage_class", "trackers", "write_mode",
    }
)  # fmt: skip
_LOGIN = re.compile(r"://([^/?#\s]*)@")
#: Shorter texts would be found in every other word.
_SHORTEST = 4


def in_options(options: Any) -> set[str]:
    """Return every text in a tier's options: none of them is this package's to print."""
    found: set[str] = set()
    for text in _texts(options):
        found |= {text, repr(text)[1:-1], *text.splitlines(), *_logins(text, users=True)}
    return _long_enough(found)


def untellable(options: Mapping[str, Any]) -> set[str]:
    """Return the texts in a tier's options that not even its own errors may tell: all but where its files are."""
    tellable = [value for name, value in options.items() if name in _TELLABLE]
    others = {name: value for name, value in options.items() if name not in _TELLABLE}
    return in_options(others) | _hidden_in(tellable)


def in_settings() -> set[str]:
    """Return the texts of the settings that Django hides on its own error pages, and the logins of all URLs."""
    found: set[str] = set()
    for name in dir(settings):
        # Django's defaults are no secrets, and reading one that is deprecated warns.
        if name.isupper() and settings.is_overridden(name):  # type: ignore[misc]
            found |= _hidden_in(getattr(settings, name), name)
    return found


def _hidden_in(value: Any, name: str = "") -> set[str]:
    if NAMES.search(name) and not _NO_CREDENTIALS.search(name) and not _is_definition(value):
        return in_options(value)
    if isinstance(value, Mapping):
        return set().union(*(_hidden_in(item, str(key)) for key, item in value.items()))
    if isinstance(value, list | tuple | set | frozenset):
        return set().union(*map(_hidden_in, value))
    return _long_enough(login for text in _texts(value) for login in _logins(text))


def _is_definition(value: Any) -> bool:
    return isinstance(value, Mapping) and not _DEFINING.isdisjoint(value)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, bytes):
        yield value.decode(errors="replace")
    elif isinstance(value, str):
        yield value


def _logins(text: str, *, users: bool = False) -> Iterator[str]:
    """Yield the passwords (and users) of the URLs in the text, as they stand there and as they are meant."""
    for part in _userinfos(text):
        user, _, password = part.partition(":")
        for found in (password or user, user if users else ""):
            yield found
            yield unquote(found)


def _userinfos(text: str) -> Iterator[str]:
    yield from _LOGIN.findall(text)
    # A password with "/" or "@" in it, unquoted: clients with patterns of their own take it.
    after, _, _ = text.partition("://")[2].rpartition("@")
    if ":" in after:
        yield after


def _long_enough(texts: Iterable[str]) -> set[str]:
    return {text for text in texts if len(text) >= _SHORTEST}
