"""Settings of the processes of a chaos run: those of its project, and an S3 client that gives up soon."""

from __future__ import annotations

from botocore.config import Config

from tests.support.project_settings import *  # noqa: F403

INSTALLED_APPS = ["django.contrib.contenttypes", "queued_storage"]
MIDDLEWARE: list[str] = []
ROOT_URLCONF = "tests.chaos"  # which has no URLs

for _chain in globals()["QUEUED_STORAGE_TIERS"].values():
    for _tier in _chain["TIERS"].values():
        if _tier["BACKEND"].endswith("S3Storage"):
            _tier["OPTIONS"]["client_config"] = Config(
                # Shorter than a lease: a call that goes on beyond it is ended as a lost one, not as a failed one.
                connect_timeout=1.5,
                read_timeout=1.5,
                retries={"total_max_attempts": 2},
                s3={"addressing_style": "path"},
                signature_version="s3v4",
            )
