"""Storages whose constructors refuse their options, and print them while they do."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import Storage


class Refused(Storage):
    error: type[Exception]

    def __init__(self, url: Any) -> None:
        raise self.error(f"cannot work with {url!r}")


class TypeRefused(Refused):
    error = TypeError


class ValueRefused(Refused):
    error = ValueError


class KeyRefused(Refused):
    error = KeyError


class ImproperRefused(Refused):
    error = ImproperlyConfigured


class ChainedRefused(Storage):
    """Says nothing itself; the error behind its error does."""

    def __init__(self, url: Any) -> None:
        try:
            raise ValueError(f"cannot work with {url!r}")
        except ValueError as error:
            raise RuntimeError("cannot work with this") from error
