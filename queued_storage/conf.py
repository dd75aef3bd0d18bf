"""Defaults of the ``QUEUED_STORAGE_…`` settings; each is read at its use, so that override_settings holds."""

from __future__ import annotations

import socket
from typing import Any, ClassVar

from appconf import AppConf
from django.conf import settings


class QueuedStorageConf(AppConf):  # type: ignore[misc] # appconf has no types
    #: How often a failed attempt is tried again before the file counts as failed.
    RETRIES = 5
    #: Seconds before the first retry; doubles with every attempt, with jitter.
    RETRY_DELAY = 60
    #: Seconds that the back-off never exceeds.
    RETRY_MAX_DELAY = 3600
    #: Prefix of this package's cache keys.
    CACHE_PREFIX = "queued_storage"
    #: Alias of the cache in which processes tell each other which tier is down, and how full a first tier is.
    CACHE = "default"
    #: Dotted path of the class that starts work.
    DISPATCHER = "queued_storage.dispatch.CeleryDispatcher"
    #: Celery queue (or Django task queue) for this package's messages; None is the project's default queue.
    QUEUE = None
    #: Seconds after its last sign of life in which an attempt still owns its file.
    LEASE = 300
    #: Seconds after which an attempt ends in any case, though bytes may still trickle.
    ATTEMPT_LIMIT = 86400
    #: Seconds that a save or delete waits at most for a broker, a cache or a lower tier.
    DEADLINE = 1.0
    #: Seconds for which a tier that missed its TIMEOUT is skipped.
    DOWN_FOR = 30
    #: Seconds between two sweeps of Celery beat; None keeps the sweep out of the beat schedule.
    SWEEP_INTERVAL = 60
    #: How many files one message may stand for.
    BATCH = 100
    #: Whether files go the quickest way that is known between two tiers; False: only the storages' own ways.
    FAST_PATHS = True
    #: How many files one process copies at a time, between disks and S3. Each thread keeps what storages cannot share
    #: (3 MB for S3, if boto3 has to send something there), and none of them a connection to the database.
    THREADS = 16
    #: Days after which the rows of deleted files are removed, if every tier is clear of them.
    HISTORY = 30
    #: Days for which the sweep keeps the samples, one a minute of each chain, that the admin plots; 0: it takes none.
    SAMPLES = 7
    #: What this host is called where a tier is not SHARED; None: the machine's own host name. It has to stay the same
    #: for as long as the disk does.
    HOST = None
    #: Where other hosts' stable URLs are reached, by what they are called: a reader is sent there for a file that has
    #: not left its host yet.
    HOSTS: ClassVar[dict[str, str]] = {}
    #: Seconds without a sign of life after which a host counts as silent.
    HOST_SILENT = 300

    class Meta:
        prefix = "queued_storage"


def patience() -> float:
    """Return the seconds of the DEADLINE that may be spent on waiting; the rest is for a save's own work."""
    return 0.85 * float(get("DEADLINE"))


def host() -> str:
    """Return what this host is called."""
    return str(get("HOST") or socket.gethostname()[:64])


#: What 0.3 called settings, by what they are called now.
FORMER_NAMES = {"CACHE_PREFIX": "QUEUED_STORAGE_CACHE_KEY"}


def get(name: str) -> Any:
    """Return the setting ``QUEUED_STORAGE_<name>`` as it stands now."""
    value = getattr(settings, f"QUEUED_STORAGE_{name}")
    if name in FORMER_NAMES and value == getattr(QueuedStorageConf, name):
        return getattr(settings, FORMER_NAMES[name], value)
    return value
