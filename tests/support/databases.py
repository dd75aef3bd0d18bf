"""Databases of the tests: their settings, and new ones for throw-away projects."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests.support import services

ENGINES = ("sqlite", "postgresql", "mysql")

DatabaseSettings = dict[str, Any]


def for_tests(default: str, folder: Path) -> dict[str, DatabaseSettings]:
    """DATABASES for one pytest process: "default", and an alias for each other server that answers."""
    aliases = {"default": default}
    aliases |= {
        server: server for server in ("postgresql", "mysql") if server != default and services.usable(server)
    }
    return {alias: with_test_name(engine, alias, folder) for alias, engine in aliases.items()}


def with_test_name(engine: str, alias: str, folder: Path) -> DatabaseSettings:
    """The process id keeps runs apart that share a server; pytest-django adds the xdist worker."""
    if engine == "sqlite":
        return sqlite(":memory:") | {"TEST": {"NAME": str(folder / f"{alias}.sqlite3")}}
    name = {"postgresql": "postgres", "mysql": "test"}[engine]
    # Without DEPENDENCIES every alias would need "default", which a run of one test may not make.
    return server(engine, name) | {
        "TEST": {"NAME": f"test_queued_storage_{os.getpid()}_{alias}", "DEPENDENCIES": []}
    }


def sqlite(name: str | Path) -> DatabaseSettings:
    """A file, so that threads and worker processes share it; unsynced, as no test cuts the power."""
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(name),
        "OPTIONS": {"timeout": 20, "init_command": "PRAGMA synchronous=OFF"},
    }


def server(engine: str, name: str) -> DatabaseSettings:
    settings = {"ENGINE": f"django.db.backends.{engine}", "NAME": name, "HOST": services.HOST}
    settings["PORT"] = str(services.PORTS[engine])
    if engine == "postgresql":
        return settings | {"USER": "postgres", "OPTIONS": {"connect_timeout": 5}}
    import_mysql_driver()
    return settings | {
        "USER": "root",
        "PASSWORD": "",
        "OPTIONS": {"charset": "utf8mb4", "connect_timeout": 5},
    }


def import_mysql_driver() -> None:
    """Django asks for the module MySQLdb; PyMySQL answers to that name and needs no compiler."""
    import pymysql

    pymysql.install_as_MySQLdb()


@contextmanager
def temporary(engine: str, folder: Path) -> Iterator[DatabaseSettings]:
    """A new, empty database, gone afterwards."""
    if engine == "sqlite":
        yield sqlite(folder / "db.sqlite3")
        return
    services.need(engine)
    name = f"test_queued_storage_{uuid.uuid4().hex}"
    try:  # from here on: a signal may end this process as soon as the database is there
        execute(engine, f"CREATE DATABASE {name}" + (" CHARACTER SET utf8mb4" if engine == "mysql" else ""))
        yield server(engine, name)
    finally:
        forced = " WITH (FORCE)" if engine == "postgresql" else ""
        execute(engine, f"DROP DATABASE IF EXISTS {name}{forced}")


def execute(engine: str, statement: str) -> None:
    """Run one statement on the server itself, outside any transaction."""
    with closing(connect(engine)) as connection, closing(connection.cursor()) as cursor:
        cursor.execute(statement)


def connect(engine: str) -> Any:
    if engine == "postgresql":
        import psycopg

        return psycopg.connect(
            host=services.HOST,
            port=services.PORTS[engine],
            user="postgres",
            dbname="postgres",
            autocommit=True,
        )
    import pymysql

    return pymysql.connect(host=services.HOST, port=services.PORTS[engine], user="root", autocommit=True)
