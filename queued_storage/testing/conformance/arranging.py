"""The chains in which a storage is looked at, as settings: with them a subject lives as long as its test."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.test import override_settings

from queued_storage import outage

from .behaviour import Role
from .subject import NAME, Candidate, Subject

TIERS = "QUEUED_STORAGE_TIERS"
#: Chains without a policy, which need no database, and with one.
PLAIN, CATALOGUED = "conformance", "conformance-catalogued"


@contextmanager
def as_tier(candidate: Candidate, role: Role) -> Iterator[Subject]:
    """Yield the candidate in chains without a catalog: below a tier that has nothing, or alone."""
    above = {"BACKEND": "queued_storage.testing.conformance.contents.Above"}
    tiers = {NAME: candidate.tier()}
    with _subject(
        candidate, role, PLAIN, {"above": above} | tiers if role == "lower" else tiers, None
    ) as subject:
        yield subject


@contextmanager
def in_chain(candidate: Candidate, role: Role) -> Iterator[Subject]:
    """Yield the candidate in a chain with a disk, and the policy "transfer-and-delete"."""
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        options = {"location": folder, "base_url": "/disk/"}
        disk = {"disk": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": options}}
        tiers = {NAME: candidate.tier()}
        tiers = disk | tiers if role == "lower" else tiers | disk
        with _subject(candidate, role, CATALOGUED, tiers, "transfer-and-delete") as subject:
            yield subject


@contextmanager
def _subject(
    candidate: Candidate, role: Role, alias: str, tiers: Mapping[str, Any], policy: str | None
) -> Iterator[Subject]:
    chains = dict(getattr(settings, TIERS, {}))
    changed = {
        TIERS: chains | {alias: {"TIERS": dict(tiers), "POLICY": policy}},
        # On a busy machine a save that gave up on a tier would take a random name.
        "QUEUED_STORAGE_DEADLINE": 60,
        "QUEUED_STORAGE_RETRY_DELAY": 0,
        "QUEUED_STORAGE_DISPATCHER": "queued_storage.testing.conformance.arranging.NoDispatcher",
    }
    with override_settings(**changed):
        subject = Subject(candidate, role, alias)
        try:
            yield subject
        finally:
            subject.clear()
            outage.forget()


class NoDispatcher:
    """Starts nothing: the work is done where a behaviour does it."""

    def dispatch(self, ids: Sequence[int]) -> None:
        """Leave it to ``run_owed_work``."""
