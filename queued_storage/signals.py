"""Facts about files, in the past tense, sent with ``send_robust`` after commit. Log lines are receivers.

Every signal carries ``file`` (the StoredFile row), ``name``, ``chain`` (alias), and ``model``, ``field`` and
``instance`` (a callable that looks the model instance up), which are None where no field saved the file.
``file_transferred`` adds ``source`` and ``destination`` (tier names), ``local`` and ``remote`` (the storages
behind them); ``file_released`` adds ``tier``; ``transfer_failed`` adds ``error`` (the reason) and ``final``.
"""

from __future__ import annotations

import logging
from typing import Any

from django.dispatch import Signal, receiver

#: A save was committed: the file is on the first tier, and work may be owed.
file_saved = Signal()
#: A copy was made on one more tier, and verified; one signal for each.
file_transferred = Signal()
#: An attempt failed. ``final`` tells that none follows by itself.
transfer_failed = Signal()
#: A policy had the copy on one tier deleted.
file_released = Signal()
#: A deleted file is gone from every writable tier.
file_deleted = Signal()

logger = logging.getLogger("queued_storage")


@receiver(file_saved, dispatch_uid="queued_storage.log_saved")
def log_saved(chain: str, name: str, file: Any, **_: Any) -> None:
    logger.debug("saved chain=%s name=%r generation=%s size=%s", chain, name, file.generation, file.size)


@receiver(file_transferred, dispatch_uid="queued_storage.log_transferred")
def log_transferred(chain: str, name: str, source: str, destination: str, **_: Any) -> None:
    logger.info("transferred chain=%s name=%r source=%s destination=%s", chain, name, source, destination)


@receiver(transfer_failed, dispatch_uid="queued_storage.log_failed")
def log_failed(chain: str, name: str, error: str, final: bool, file: Any, **_: Any) -> None:
    level = logging.ERROR if final else logging.WARNING
    logger.log(
        level,
        "failed chain=%s name=%r attempts=%s final=%s error=%s",
        chain,
        name,
        file.attempts,
        final,
        error,
    )


@receiver(file_released, dispatch_uid="queued_storage.log_released")
def log_released(chain: str, name: str, tier: str, **_: Any) -> None:
    logger.info("released chain=%s name=%r tier=%s", chain, name, tier)


@receiver(file_deleted, dispatch_uid="queued_storage.log_deleted")
def log_deleted(chain: str, name: str, **_: Any) -> None:
    logger.info("deleted chain=%s name=%r", chain, name)
