"""The public faulty storage, with a password in its options: no message may print it."""

from __future__ import annotations

from typing import Any

from queued_storage.testing.faulty import *  # noqa: F403
from queued_storage.testing.faulty import PATH


def tier(name: str, **settings: Any) -> dict[str, Any]:
    """Settings of a tier on the bucket of this name."""
    return {"BACKEND": PATH, "OPTIONS": {"bucket": name, "password": "hunter2-secret"}, **settings}
