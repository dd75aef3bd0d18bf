"""A span around each copy, where OpenTelemetry's API is installed (extra ``otel``); nothing at all where it is not.

Attributes tell the chain, the tiers, the bytes and the outcome, and the row's id: no name of a file, and of an error
its class, since what it says may be a backend's.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, partial
from importlib.util import find_spec
from typing import Any, TypeVar

from .exceptions import LeaseLost

T = TypeVar("T")

SPAN = "queued_storage.copy"

#: Takes the size of the copy, once it is made.
Tell = Callable[[int], None]
_NOTHING: AbstractContextManager[Tell] = nullcontext(lambda size: None)


def copy(*, chain: str, file: int, source: str, destination: str) -> AbstractContextManager[Tell]:
    """Return what a copy is made in; what it gives is to be called with the size of the copy."""
    if not _is_on():
        return _NOTHING
    return _span({"chain": chain, "file": file, "source": source, "destination": destination})


def carried(function: Callable[[], T]) -> Callable[[], T]:
    """Return the function as it is to be called in another thread: its spans belong to this one's."""
    return partial(contextvars.copy_context().run, function) if _is_on() else function


@cache
def is_installed() -> bool:
    return find_spec("opentelemetry") is not None and find_spec("opentelemetry.trace") is not None


def _is_on() -> bool:
    """Tell whether somebody wants spans: making those of nobody takes a twentieth of what a small file costs."""
    if not is_installed():
        return False
    trace = _api()
    return not isinstance(trace.get_tracer_provider(), (trace.ProxyTracerProvider, trace.NoOpTracerProvider))


@cache
def _api() -> Any:
    # Not before the first copy: a process that makes none need not load it.
    from opentelemetry import trace

    return trace


@cache
def _tracer() -> Any:
    return _api().get_tracer("queued_storage")


@contextmanager
def _span(facts: dict[str, Any]) -> Iterator[Tell]:
    from opentelemetry.trace import Status, StatusCode

    attributes = {f"queued_storage.{name}": value for name, value in facts.items()}
    with _tracer().start_as_current_span(
        SPAN, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as span:

        def tell(size: int) -> None:
            span.set_attributes({"queued_storage.bytes": size, "queued_storage.outcome": "copied"})

        try:
            yield tell
        except LeaseLost:  # replaced or deleted meanwhile, which is no error
            span.set_attribute("queued_storage.outcome", "lost")
            raise
        except BaseException as error:
            kind = type(error).__name__
            span.set_attributes({"queued_storage.outcome": "failed", "error.type": kind})
            span.set_status(Status(StatusCode.ERROR, kind))
            raise
