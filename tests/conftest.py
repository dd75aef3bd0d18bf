"""Fixtures of the whole suite; README.rst beside this file shows how tests use them."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import base_settings, routers
from tests.support import brokers, databases, servers, services

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper

    from queued_storage.storage import TieredStorage

    from tests.support.brokers import Broker
    from tests.support.projects import Project
    from tests.support.servers import S3Server
    from tests.support.workers import Worker

pytest_plugins = ["pytester", "queued_storage.testing.plugin"]

#: The projects of a test, whose processes' logs belong to its report.
PROJECTS = pytest.StashKey[list["Project"]]()
#: The database aliases that a test with ``catalog_db`` runs on.
CATALOG_ALIASES = ("default", "postgresql", "mysql")
#: Folders of ``base_settings`` in which tests without a chain of their own may write.
SHARED_FOLDERS = tuple(base_settings.RUN_DIR / name for name in ("disk", "vault", "media"))
#: Nothing of the user's own account may reach a test.
AWS_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "dummy-access-key",
    "AWS_SECRET_ACCESS_KEY": "dummy-secret-key",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}


def pytest_configure(config: pytest.Config) -> None:
    os.environ.update(AWS_ENVIRONMENT)
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        os.environ.pop(name, None)
    base_settings.RUN_DIR.mkdir(exist_ok=True)


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(base_settings.RUN_DIR, ignore_errors=True)


def pytest_report_header(config: pytest.Config) -> str:
    states = (f"{name}: {services.why_unusable(name) or 'in use'}" for name in services.PORTS)
    return "services: " + "; ".join(states)


#: Kinds of servers, as tests name them in their parameters, beside S3, SFTP, FTP and WebDAV.
MORE_STORAGES = frozenset(("azure", "dropbox", "google", "libcloud-s3", "mogilefs", "swift"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Grant each test with ``catalog_db`` the database it runs on, before pytest-django plans its set-up."""
    for item in items:
        if " at 0x" in item.nodeid:
            raise pytest.UsageError(
                f"{item.nodeid}: an address in the id differs between the processes of -n"
            )
        callspec = getattr(item, "callspec", None)
        params = callspec.params if callspec is not None else {}
        if "catalog_db" in params:
            item.add_marker(catalog_marker(item, params["catalog_db"]), append=False)
        if is_of_more_storages(item, params):
            item.add_marker(pytest.mark.storages)


def is_of_more_storages(item: pytest.Item, params: Mapping[str, Any]) -> bool:
    """Tell whether the test is one of a server that others show as well, or of the second and third database."""
    if not {"documents", "wire"}.isdisjoint(item.path.parts):
        return True
    if (
        item.path.name in ("test_database.py", "test_database_tier.py")
        and params.get("catalog_db", "default") != "default"
    ):
        return True
    return not MORE_STORAGES.isdisjoint(value for value in params.values() if isinstance(value, str))


def catalog_marker(item: pytest.Item, alias: str) -> pytest.MarkDecorator:
    """The test's own django_db marker, on this alias; with real transactions unless it says otherwise."""
    own = item.get_closest_marker("django_db")
    arguments = {"transaction": True} | (own.kwargs if own else {})
    reachable = alias in configured_databases()
    return pytest.mark.django_db(**arguments | {"databases": [alias] if reachable else []})


def configured_databases() -> Mapping[str, Any]:
    from django.conf import settings

    aliases: Mapping[str, Any] = settings.DATABASES
    return aliases


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show with a failed test what its worker processes wrote."""
    report = yield
    if report.failed:
        for project in item.stash.get(PROJECTS, ()):
            report.sections += [(f"log of {each.name}", each.log) for each in project.processes]
    return report


@pytest.fixture(autouse=True)
def _nothing_left_over() -> Iterator[None]:
    """Empty what tests share: caches, memory storages, remembered outages, the folders of the default chain."""
    yield
    from django.core.cache import caches

    from queued_storage import outage, tasks

    from tests.support.storages import SharedMemoryStorage

    for cache in caches.all():  # also those that other threads alone have used
        cache.clear()
    outage.forget()
    tasks._Broker.rests_until = 0.0
    SharedMemoryStorage.forget_all()
    for folder in SHARED_FOLDERS:
        if folder.exists():
            shutil.rmtree(folder)


# Databases


@pytest.fixture(scope="session")
def databases_available() -> tuple[str, ...]:
    """The kinds of database that can be used here, of sqlite, postgresql and mysql."""
    return ("sqlite", *(name for name in ("postgresql", "mysql") if services.usable(name)))


@pytest.fixture(params=CATALOG_ALIASES)
def catalog_db(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test on every database in turn: all models live on the returned alias, with real transactions."""
    alias: str = request.param
    if alias not in configured_databases():
        if os.environ.get("TEST_DB") == alias:
            pytest.skip(f'{alias} is "default" in this run')
        services.need(alias)
    monkeypatch.setattr(routers.CatalogRouter, "alias", alias)
    return alias


# S3 servers


@pytest.fixture(scope="session")
def seaweedfs_server() -> Iterator[S3Server]:
    with servers.seaweedfs() as server:
        yield server


@pytest.fixture(scope="session")
def moto_server() -> Iterator[S3Server]:
    with servers.moto() as server:
        yield server


@pytest.fixture
def seaweedfs(seaweedfs_server: S3Server) -> Iterator[S3Server]:
    """A real object store, started once; the buckets that the test makes go with it."""
    yield seaweedfs_server
    seaweedfs_server.drop_buckets()


@pytest.fixture
def moto_s3(moto_server: S3Server) -> Iterator[S3Server]:
    """An emulator of S3, started once; the buckets that the test makes go with it."""
    yield moto_server
    moto_server.drop_buckets()


@pytest.fixture(params=["seaweedfs", "moto_s3"])
def s3(request: pytest.FixtureRequest) -> S3Server:
    """Run the test on both S3 servers."""
    server: S3Server = request.getfixturevalue(request.param)
    return server


# Chains


@pytest.fixture
def make_chain(
    settings: SettingsWrapper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., TieredStorage]:
    """Configure a chain of new tiers and return its storage.

    ``tiers`` are names (each a folder of its own), or a mapping of names to "disk", "memory" or a tier's settings.
    """

    def make(
        tiers: Sequence[str] | Mapping[str, str | Mapping[str, Any]] = ("disk", "vault"),
        policy: str | None = "transfer",
        alias: str = "media",
    ) -> TieredStorage:
        from queued_storage.chain import chains
        from queued_storage.storage import tiered_storages

        if policy is None:  # and none that a model of the test app names for it
            monkeypatch.setattr(chains, "catalogued", set())
        named = tiers if isinstance(tiers, Mapping) else dict.fromkeys(tiers, "disk")
        chain = {"TIERS": {name: tier_settings(name, kind, tmp_path) for name, kind in named.items()}}
        settings.QUEUED_STORAGE_TIERS = settings.QUEUED_STORAGE_TIERS | {alias: chain | {"POLICY": policy}}
        storage: TieredStorage = tiered_storages[alias]
        return storage

    return make


def tier_settings(name: str, kind: str | Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    if not isinstance(kind, str):
        return kind
    if kind == "disk":
        return {
            "BACKEND": base_settings.DISK,
            "OPTIONS": {"location": str(folder / name), "base_url": f"/{name}/"},
        }
    if kind == "memory":
        return {"BACKEND": "tests.support.storages.SharedMemoryStorage", "OPTIONS": {"bucket": name}}
    raise ValueError(f"tier {name!r} is {kind!r}; say 'disk', 'memory' or give its settings")


@pytest.fixture
def default_deadline(settings: Any) -> None:
    """Wait for others no longer than users do: the suite is patient otherwise."""
    settings.QUEUED_STORAGE_DEADLINE = 1


# Brokers, projects and workers


@pytest.fixture(params=brokers.NAMES)
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    """Run the test on every broker in turn; this process publishes to a queue of the test's own."""
    with brokers.temporary(request.param, tmp_path / "broker") as broker, brokers.current_app(broker):
        yield broker


@pytest.fixture
def _new_project(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Project]]:
    """Make projects in folders of their own; their processes are ended with the test."""
    from tests.support.projects import Project

    projects = request.node.stash.setdefault(PROJECTS, [])
    with ExitStack() as stack:

        def make(database: str | None = None, **settings: Any) -> Project:
            folder = tmp_path / f"project{len(projects)}"
            folder.mkdir()
            if database is not None:
                made = stack.enter_context(databases.temporary(database, folder))
                settings["DATABASES"] = {"default": made}
            project = Project(folder, settings)
            projects.append(project)
            stack.callback(project.close)
            return project

        yield make


@pytest.fixture(scope="session")
def migrate(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Project], None]:
    """Make the tables of a project; in SQLite by a copy of those that were made for the same apps in this run."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # which all workers share

    def migrate(project: Project) -> None:
        database = project.settings["DATABASES"]["default"]
        if not database["ENGINE"].endswith("sqlite3"):
            project.manage("migrate", "--run-syncdb", "--verbosity=0")
            return
        apps = "\n".join(project.settings.get("INSTALLED_APPS", base_settings.INSTALLED_APPS))
        made = folder / f"migrated-{hashlib.sha256(apps.encode()).hexdigest()}.sqlite3"
        if not made.exists():
            project.manage("migrate", "--run-syncdb", "--verbosity=0")
            half = made.with_suffix(f".{os.getpid()}")
            shutil.copyfile(database["NAME"], half)
            half.replace(made)  # whole or not at all
        else:
            shutil.copyfile(made, database["NAME"])

    return migrate


@pytest.fixture
def make_project(
    _new_project: Callable[..., Project], migrate: Callable[[Project], None]
) -> Callable[..., Project]:
    """Make a throw-away project with a migrated database of its own, on a broker if one is given.

    Unless told otherwise its chain "media" has two folders of the project, and the policy "transfer".
    """

    def make(database: str = "sqlite", broker: Broker | None = None, **settings: Any) -> Project:
        project = _new_project(database, **(broker.settings if broker else {}) | settings)
        if "QUEUED_STORAGE_TIERS" not in settings:
            disks = {name: tier_settings(name, "disk", project.folder) for name in ("disk", "vault")}
            project.configure(QUEUED_STORAGE_TIERS={"media": {"TIERS": disks, "POLICY": "transfer"}})
        migrate(project)
        return project

    return make


@pytest.fixture
def start_worker(broker: Broker, _new_project: Callable[..., Project]) -> Callable[..., Worker]:
    """Start a real worker that shares this test's broker, database and settings as they stand at the call."""

    def start(pool: str = "solo", concurrency: int = 1, **changed: Any) -> Worker:
        project = _new_project(**shared_settings() | broker.settings | changed)
        worker: Worker = project.start_worker(pool=pool, concurrency=concurrency)
        return worker

    return start


def shared_settings() -> dict[str, Any]:
    """What another process needs to work on the same files and rows as this test."""
    from django.conf import settings

    names = [name for name in dir(settings) if name.startswith("QUEUED_STORAGE_")]
    names += ["STORAGES", "CACHES", "MEDIA_ROOT", "MEDIA_URL"]
    return {name: getattr(settings, name) for name in names} | {"DATABASES": {"default": shared_database()}}


def shared_database() -> dict[str, Any]:
    from django.db import connections

    connection = connections[routers.CatalogRouter.alias]
    if connection.in_atomic_block:
        pytest.fail(
            "a worker cannot see this test's rows: mark it django_db(transaction=True) or take catalog_db"
        )
    return {key: value for key, value in connection.settings_dict.items() if key != "TEST"}
