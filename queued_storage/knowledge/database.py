"""The project's database: contrib's DatabaseStorage, and the errors of all that ask the ORM."""

from __future__ import annotations

from typing import Any

from .base import Backend, always, class_paths, register

#: What SQLite, PostgreSQL and MariaDB say, in this order, that have no room left.
_FULL = ("database or disk is full", "no space left on device", "is full", "disk full")


def _is_full(error: Any) -> bool:
    return any(words in str(error).lower() for words in _FULL)


def _is_refused(error: Any) -> bool:
    # A transaction that has failed refuses whatever comes, and the next one will not.
    return "django.db.transaction.TransactionManagementError" not in class_paths(type(error))


register(
    Backend(
        path="queued_storage.contrib.storages.database.DatabaseStorage",
        missing={"django.core.exceptions.ObjectDoesNotExist": always},
        outage={
            "django.db.utils.InterfaceError": always,  # on a connection that was lost
            "django.db.utils.OperationalError": lambda error: not _is_full(error),
        },
        permanent={
            "django.db.utils.DataError": always,
            "django.db.utils.ProgrammingError": _is_refused,  # no such table, say: migrate was not run
        },
        capacity={"django.db.utils.OperationalError": _is_full},
        opens_eagerly=True,
        overwriting=("_allow_overwrite", True),
        publishes_at_once=True,
        keeps_content_type=True,
        joins_transactions=True,
        transactions_of=lambda storage: storage.rows.using,
        place=("database", (("using", ""), ("location", ""))),
    )
)
