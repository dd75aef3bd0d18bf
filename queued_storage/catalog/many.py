"""Many rows by their keys, in the shortest SQL that the database has for that.

What an ORM does with a list of keys or values, one parameter for each of them, takes longer than the files themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.db import connections
from django.db.models import F, Field, Lookup, QuerySet

from .rows import database, files, stored_file_model

if TYPE_CHECKING:
    from ..models import StoredFile


def keyed(pks: Iterable[int]) -> QuerySet[StoredFile]:
    """Return the rows of these keys."""
    keys = list(pks)
    if keys and connections[database()].vendor == "postgresql":
        return files().filter(_Among(F("pk"), _array(keys)))
    return files().filter(pk__in=keys)


def _array(keys: Iterable[int]) -> str:
    return f"{{{','.join(map(str, keys))}}}"


class _Among(Lookup):
    """A key is one of those in the text of PostgreSQL's array: one parameter, however many they are."""

    lookup_name = "among"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        column, params = self.process_lhs(compiler, connection)
        return f"{column} = ANY(%s::bigint[])", (*params, self.rhs)


def write(rows: Sequence[StoredFile], fields: Iterable[str], same: Mapping[str, Any]) -> None:
    """Write these fields of rows that are locked, and what is the ``same`` for all of them, by one statement.

    Most values are the same for all rows, and are sent once; bulk_update() sends each as often as there are rows.
    """
    connection, meta = connections[database()], stored_file_model()._meta
    wanted = {*fields, *same}
    alike: list[tuple[Field[Any, Any], Any]] = []
    unlike: list[tuple[Field[Any, Any], list[Any]]] = []
    for column in (column for column in meta.concrete_fields if column.name in wanted):
        told = [same.get(column.name, getattr(row, column.attname)) for row in rows]
        if told.count(told[0]) == len(told):
            alike.append((column, column.get_db_prep_save(told[0], connection)))
        else:
            unlike.append((column, [column.get_db_prep_save(value, connection) for value in told]))
    spell = _joined if connection.vendor == "postgresql" else _by_case
    quote = connection.ops.quote_name
    assignments = [f"{quote(str(column.column))} = %s" for column, _ in alike]
    statement, values = spell(quote(meta.db_table), quote, assignments, unlike, [row.pk for row in rows])
    with connection.cursor() as cursor:
        cursor.execute(statement, [*(value for _, value in alike), *values])


def _joined(
    table: str, quote: Any, assignments: list[str], unlike: list[tuple[Any, list[Any]]], keys: list[int]
) -> tuple[str, list[Any]]:
    """Spell the UPDATE with an array for each column, which is joined by the key."""
    connection = connections[database()]
    names = [quote(str(column.column)) for column, _ in unlike]
    # A cast to the column's own type would cut a text that is too long for it.
    types = [
        "text" if kind.startswith("varchar") else kind
        for kind in (column.db_type(connection) or "" for column, _ in unlike)
    ]
    assignments = [*assignments, *(f"{name} = told.{name}" for name in names)]
    key, arrays = quote("id"), ", ".join(f"%s::{kind}[]" for kind in ("bigint", *types))
    told = f"unnest({arrays}) AS told({', '.join([key, *names])})"
    statement = f"UPDATE {table} SET {', '.join(assignments)} FROM {told} WHERE {table}.{key} = told.{key}"  # noqa: S608
    return statement, [_array(keys), *(values for _, values in unlike)]


def _by_case(
    table: str, quote: Any, assignments: list[str], unlike: list[tuple[Any, list[Any]]], keys: list[int]
) -> tuple[str, list[Any]]:
    """Spell the UPDATE with a choice by the key for each column."""
    key = quote("id")
    choice = f"CASE {key} {'WHEN %s THEN %s ' * len(keys)}END"
    assignments = [*assignments, *(f"{quote(str(column.column))} = {choice}" for column, _ in unlike)]
    values = [each for _, told in unlike for pair in zip(keys, told, strict=True) for each in pair]
    where = f"{key} IN ({', '.join(['%s'] * len(keys))})"
    return f"UPDATE {table} SET {', '.join(assignments)} WHERE {where}", [*values, *keys]  # noqa: S608 - names
