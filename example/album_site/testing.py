"""What the tests of the apps share: the project's own chains, on tiers in memory."""

import copy
from typing import Any

from django.conf import settings
from django.test import TestCase, override_settings

from queued_storage.testing import faulty

IN_MEMORY = {
    "disk": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    # Fails as it is told: faulty.bucket("films").
    "s3": {"BACKEND": "queued_storage.testing.FaultyStorage"},
}


def chains() -> dict[str, Any]:
    """Return QUEUED_STORAGE_TIERS as it is, policies, URLs and all, but for where the bytes go."""
    ours = copy.deepcopy(settings.QUEUED_STORAGE_TIERS)
    for alias, chain in ours.items():
        for name, tier in chain["TIERS"].items():
            tier |= IN_MEMORY[name] | {"OPTIONS": {"bucket": alias} if name == "s3" else {}}
    return ours


class OnMemory(TestCase):
    """A TestCase on those, empty ones for each test."""

    def setUp(self) -> None:
        changed = override_settings(
            QUEUED_STORAGE_TIERS=chains(),
            CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
        )
        changed.enable()
        self.addCleanup(changed.disable)
        self.addCleanup(faulty.forget_all)
