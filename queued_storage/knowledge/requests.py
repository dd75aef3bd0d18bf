"""The client library under several backends: its errors, whichever of them raised them."""

from __future__ import annotations

from .base import Backend, always, register

register(
    Backend(
        path="requests",  # no storage has it: the errors alone are known by it
        outage={
            "requests.exceptions.ChunkedEncodingError": always,
            "requests.exceptions.ConnectionError": always,
            "requests.exceptions.Timeout": always,
            # What its responses raise where they are read past it.
            "urllib3.exceptions.ProtocolError": always,
            "urllib3.exceptions.TimeoutError": always,
        },
    )
)
