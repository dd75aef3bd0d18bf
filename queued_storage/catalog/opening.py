"""The first statement of a transaction, sent with the BEGIN that psycopg would send, and wait for, by itself.

A save outside of any transaction is three questions to PostgreSQL, BEGIN, INSERT and COMMIT; a row of the ORM is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper


def execute(connection: BaseDatabaseWrapper, cursor: Any, statement: str, values: Sequence[Any]) -> Any:
    """Execute the statement in the transaction under way; return the first row that it returns."""
    if _is_to_begin(connection):
        # Not Django's: that goes on to know of its transaction, and commits it or rolls it back.
        connection.connection.autocommit = True
        cursor.execute(f"BEGIN; {statement}", values)
        cursor.nextset()
    else:
        cursor.execute(statement, values)
    return cursor.fetchone()


def _is_to_begin(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether the transaction has not begun on the server, and will begin as by default."""
    # What sends parameters apart from the statement sends no two statements at once.
    if connection.vendor != "postgresql" or connection.settings_dict["OPTIONS"].get("server_side_binding"):
        return False
    # Where Django does not commit the transaction itself, psycopg's own autocommit is not Django's to set back.
    if not (connection.in_atomic_block and connection.commit_on_exit):
        return False
    own: Any = connection.connection
    return (
        hasattr(own, "pgconn")  # psycopg, not psycopg2
        and not own.autocommit
        and own.pgconn.transaction_status == _IDLE
        and (own.isolation_level, own.read_only, own.deferrable) == (None, None, None)
    )


#: libpq's PQTRANS_IDLE.
_IDLE = 0
