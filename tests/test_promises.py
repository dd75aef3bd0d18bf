"""What is promised beside the code: the public interface, oldest versions, released schemas, and links."""

from __future__ import annotations

import configparser
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from tests import public_api

ROOT = Path(__file__).resolve().parents[1]
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")


def test_public_interface_is_the_one_that_is_listed() -> None:
    """Changed it on purpose? Run ``python -m tests.public_api``, and tell of it in the changelog."""
    assert public_api.told().splitlines() == public_api.LISTED.read_text(encoding="utf-8").splitlines()


#: Extras of the workshop, whose versions are as new as can be.
OF_THE_WORKSHOP = {
    "bench", "conformance", "demo", "docs", "lint", "screenshots", "test", "third-party",
}  # fmt: skip


def test_oldest_versions_are_those_that_are_tested() -> None:
    """``tox -e oldest`` takes what tests/packaging/oldest.txt says."""
    extras = SETUP["options.extras_require"]
    allowed = [SETUP["options"]["install_requires"]]
    allowed += [extras[extra] for extra in extras if extra not in OF_THE_WORKSHOP]
    oldest = dict(re.findall(r"^([\w-]+)(?:\[.*?\])?>=([\d.]+)", "\n".join(allowed), re.MULTILINE))
    tested = (ROOT / "tests/packaging/oldest.txt").read_text(encoding="utf-8")
    assert dict(re.findall(r"^([\w-]+)==([\d.]+)$", tested, re.MULTILINE)) == {
        name.lower(): version for name, version in oldest.items()
    }


def test_every_extra_is_tried_alone() -> None:
    """``tox -e extras`` takes those that tests/packaging/extra_names.py names."""
    names = runpy.run_path(str(ROOT / "tests/packaging/extra_names.py"))
    assert set(SETUP["options.extras_require"]) == {*names["BACKENDS"], *names["MODULES"]}


#: By app, the last migration of each release: what its users have. A release adds to it (see CONTRIBUTING.rst), and
#: what a released migration does is never changed again.
RELEASED: dict[str, list[str]] = {"queued_storage": [], "queued_storage_storages": []}


def released_versions() -> list[str]:
    """The versions of the changelog that have a date."""
    changelog = (ROOT / "docs/changelog.rst").read_text(encoding="utf-8")
    return re.findall(r"^(\d+\.\d+\.\d+) \(\d{4}-\d{2}-\d{2}\)$", changelog, re.MULTILINE)


def test_every_release_says_what_schema_it_has() -> None:
    for app, last in RELEASED.items():
        assert len(last) == len(released_versions()), f"{app}: name the last migration of each release"


@pytest.mark.parametrize(
    ("app", "migration"), [(app, last) for app, released in RELEASED.items() for last in released]
)
@pytest.mark.django_db(transaction=True)
def test_released_schema_is_brought_up_to_date(app: str, migration: str) -> None:
    executor = MigrationExecutor(connection)
    try:
        executor.migrate([(app, migration)])
        executor = MigrationExecutor(connection)
        executor.migrate(executor.loader.graph.leaf_nodes(app))
    finally:
        call_command("migrate", app, verbosity=0)
    call_command("makemigrations", app, check=True, dry_run=True, verbosity=0)


PAGES = sorted(
    [*ROOT.glob("*.rst"), *ROOT.glob("*.md"), *ROOT.glob("docs/**/*.rst"), *ROOT.glob("*/README.rst")]
)
#: Files that the pages name, in the folders of the checkout.
NAMED = re.compile(r"``((?:docs|tests|example|benchmarks|queued_storage|\.ci)/[\w./-]*\w\.\w+)``")
LINKED = re.compile(r"`[^`<]*<((?!https?:|mailto:)[^>`]+)>`_|\]\(((?!https?:|mailto:)[^)]+)\)")


def local_links(page: Path) -> Iterator[str]:
    text = page.read_text(encoding="utf-8")
    yield from NAMED.findall(text)
    for match in LINKED.finditer(text):
        yield next(filter(None, match.groups())).partition("#")[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_are_there(page: Path) -> None:
    nowhere = [
        link
        for link in local_links(page)
        if link and not (ROOT / link).exists() and not (page.parent / link).exists()
    ]
    assert nowhere == []
