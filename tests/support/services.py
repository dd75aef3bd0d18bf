"""Which services of this machine the tests can use, and what to do where one is missing.

On a developer's machine a missing service means skipped tests, with the reason. Where QUEUED_STORAGE_TEST_REQUIRE
(a comma-separated list; CI sets it) names a service, its tests fail instead. "storages" in it stands for every
program that ``make test-storages`` installs. One that QUEUED_STORAGE_TEST_WITHOUT names is missing, whatever answers.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import NoReturn

import pytest

HOST = "127.0.0.1"
PORTS = {"postgresql": 5432, "mysql": 3306, "redis": 6379, "rabbitmq": 5672}
#: Seconds after which a service that does not answer counts as missing.
PATIENCE = 2
#: What QUEUED_STORAGE_TEST_REQUIRE may name besides: the servers of all storages.
STORAGES = "storages"


def need(service: str) -> None:
    """Return if the service can be used; else skip the test, or fail it where the service is required."""
    reason = why_unusable(service)
    if not reason:
        return
    if service in required():
        pytest.fail(f"{service} is required here (QUEUED_STORAGE_TEST_REQUIRE), but: {reason}")
    pytest.skip(f"{service} cannot be used here: {reason}")


def not_installed(program: str, remedy: str) -> NoReturn:
    """Skip the test, saying what to install; or fail it where all storages are required."""
    if STORAGES in required():
        pytest.fail(f"{program} is not installed, and QUEUED_STORAGE_TEST_REQUIRE asks for it: {remedy}")
    pytest.skip(f"{program} is not installed: {remedy}")


def required() -> set[str]:
    """The services that must be used; an unknown name is a mistake in the list, told at once."""
    names = {name.strip() for name in os.environ.get("QUEUED_STORAGE_TEST_REQUIRE", "").split(",")} - {""}
    known = (*PORTS, STORAGES)
    if unknown := names.difference(known):
        raise pytest.UsageError(
            f"QUEUED_STORAGE_TEST_REQUIRE names {', '.join(sorted(unknown))}; known are {', '.join(known)}."
        )
    return names


def usable(service: str) -> bool:
    return not why_unusable(service)


@functools.cache
def why_unusable(service: str) -> str:
    """Log in for real: an empty string if that works, else the reason why not."""
    if service in os.environ.get("QUEUED_STORAGE_TEST_WITHOUT", "").split(","):
        return "QUEUED_STORAGE_TEST_WITHOUT names it"
    try:
        return PROBES[service]()
    except ModuleNotFoundError as error:  # in an environment without the whole of the extra "test"
        return one_line(error)


def probe_postgresql() -> str:
    import psycopg

    try:
        psycopg.connect(
            host=HOST, port=PORTS["postgresql"], user="postgres", dbname="postgres", connect_timeout=PATIENCE
        ).close()
    except psycopg.Error as error:
        return one_line(error)
    return ""


def probe_mysql() -> str:
    import pymysql

    try:
        pymysql.connect(
            host=HOST, port=PORTS["mysql"], user="root", password="", connect_timeout=PATIENCE
        ).close()
    except pymysql.Error as error:
        return one_line(error)
    return ""


def probe_redis() -> str:
    import redis

    client = redis.Redis(HOST, PORTS["redis"], socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE)
    try:
        client.ping()
    except redis.RedisError as error:
        return one_line(error)
    finally:
        client.close()
    return ""


def probe_rabbitmq() -> str:
    from kombu import Connection

    with Connection(
        f"amqp://guest:guest@{HOST}:{PORTS['rabbitmq']}//", connect_timeout=PATIENCE
    ) as connection:
        try:
            connection.connect()
        except (*connection.connection_errors, *connection.channel_errors) as error:
            return one_line(error)
    return ""


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


PROBES: dict[str, Callable[[], str]] = {
    "postgresql": probe_postgresql,
    "mysql": probe_mysql,
    "redis": probe_redis,
    "rabbitmq": probe_rabbitmq,
}
