"""Facts about files, in the past tense, sent with ``send_robust`` after commit. Log lines are receivers.

Every signal carries ``file`` (the StoredFile row), ``name``, ``chain`` (alias), and ``model``, ``field`` and
``instance`` (a callable that looks the model instance up), which are None where no field saved the file.
``file_transferred`` adds ``source`` and ``destination`` (tier names), ``local`` and ``remote`` (the storages
behind them) and ``seconds`` (how long the copy took); ``file_released`` adds ``tier``; ``transfer_failed`` adds
``error`` (the reason) and ``final``.
"""

from __future__ import annotations

from typing import Any

from django.dispatch import Signal, receiver

from . import causes, logs

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


@receiver(file_saved, dispatch_uid="queued_storage.log_saved")
def log_saved(chain: str, name: str, file: Any, **_: Any) -> None:
    logs.debug("saved", chain=chain, name=name, file=file.pk, generation=file.generation, bytes=file.size)


@receiver(file_transferred, dispatch_uid="queued_storage.log_transferred")
def log_transferred(chain: str, name: str, file: Any, **facts: Any) -> None:
    way = {key: facts[key] for key in ("source", "destination")}
    logs.info(
        "transferred", chain=chain, name=name, file=file.pk, **way, bytes=file.size, seconds=facts["seconds"]
    )


@receiver(transfer_failed, dispatch_uid="queued_storage.log_failed")
def log_failed(chain: str, name: str, error: str, final: bool, file: Any, **_: Any) -> None:
    reason = causes.read(error)
    (logs.error if final else logs.warning)(
        "failed",
        chain=chain,
        name=name,
        file=file.pk,
        tier=reason.tier,
        cause=reason.cause,
        attempts=file.attempts,
        final=final,
        error=error,
    )


@receiver(file_released, dispatch_uid="queued_storage.log_released")
def log_released(chain: str, name: str, file: Any, tier: str, **_: Any) -> None:
    logs.info("released", chain=chain, name=name, file=file.pk, tier=tier)


@receiver(file_deleted, dispatch_uid="queued_storage.log_deleted")
def log_deleted(chain: str, name: str, file: Any, **_: Any) -> None:
    logs.info("deleted", chain=chain, name=name, file=file.pk)
