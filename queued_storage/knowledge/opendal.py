"""OpenDAL, which reaches many services in one way."""

from __future__ import annotations

from .base import Backend, always, register

register(
    Backend(
        path="opendal",  # no storage has it: the errors alone are known by it
        missing={"opendal.exceptions.NotFound": always},
    )
)
