"""Views that no transaction spans, whatever ATOMIC_REQUESTS says."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from django.db import connections, transaction
from django.http.response import HttpResponseBase

_View = TypeVar("_View", bound=Callable[..., HttpResponseBase])


def autocommitting(view: _View) -> _View:
    """Exempt the view from ATOMIC_REQUESTS of every database: Django's own decorator does so of one alone."""
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view
