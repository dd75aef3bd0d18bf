"""How projects use the kit, as a subclass or with a marker, and what it reports: each test runs pytest on a project."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(300)
#: A run of pytest within a run of pytest takes seconds, and others show that the kit works.
LONG = pytest.mark.storages

#: Four behaviours of a tier, each in two roles, and one of a chain.
SOME = "missing_size or save_name or url or transfer_and or missing-size or save-name or transfer-and"
STORAGE = """
from django.core.files.storage import FileSystemStorage
from django.utils.deconstruct import deconstructible

@deconstructible
class Careless(FileSystemStorage):
    def size(self, name):
        return super().size(name) if self.exists(name) else 0
"""


@pytest.fixture(autouse=True)
def _storage(project: pytest.Pytester) -> None:
    project.makepyfile(careless=STORAGE)


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_subprocess("-k", SOME, *arguments)


def reported(project: pytest.Pytester) -> list[tuple[Any, ...]]:
    lines = (project.path / "report.jsonl").read_text(encoding="utf-8").splitlines()
    facts = [json.loads(line) for line in lines]
    return [
        (each["storage"], each["role"], each["behaviour"], each["outcome"], each["why"]) for each in facts
    ]


SUBCLASS = """
from careless import Careless
from queued_storage.testing.conformance import TierConformance

class TestCareless(TierConformance):
    {said}
    def make_storage(self):
        return Careless(location="files", base_url="/files/")
"""
MARKED = """
import pytest
from careless import Careless

@pytest.mark.tier_conformance({said})
def test_careless(tmp_path):
    return Careless(location=tmp_path, base_url="/files/")
"""


def test_subclass_makes_storage(project: pytest.Pytester) -> None:
    project.makepyfile(SUBCLASS.format(said=""))
    result = run(project)
    result.assert_outcomes(passed=6, failed=2)
    result.stdout.fnmatch_lines(
        ["size('missing.txt') returned 0; it should raise FileNotFoundError (or an error*"]
    )


@LONG
def test_subclass_takes_fixture_of_its_module(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest
        from careless import Careless
        from queued_storage.testing.conformance import TierConformance

        @pytest.fixture
        def storage(tmp_path):
            return {"BACKEND": "careless.Careless", "OPTIONS": {"location": str(tmp_path), "base_url": "/f/"}}

        class TestCareless(TierConformance):
            roles = ["lower"]
        """
    )
    run(project).assert_outcomes(passed=3, failed=1, skipped=4)


def test_marked_function_returns_storage(project: pytest.Pytester) -> None:
    project.makepyfile(MARKED.format(said=""))
    result = run(project)
    result.assert_outcomes(passed=6, failed=2)
    result.stdout.fnmatch_lines(
        ["size('missing.txt') returned 0; it should raise*", "*test_careless?missing-size-lower?*"]
    )


@LONG
def test_marked_function_tests_chains(project: pytest.Pytester) -> None:
    project.makepyfile(MARKED.format(said="").replace("tier_", "chain_"))
    run(project).assert_outcomes(passed=2)


def test_marked_function_that_returns_nothing_fails(project: pytest.Pytester) -> None:
    project.makepyfile("import pytest\n\n@pytest.mark.tier_conformance\ndef test_nothing():\n    pass\n")
    result = run(project)
    result.assert_outcomes(failed=8)
    result.stdout.fnmatch_lines(
        ["test_nothing is marked as tier_conformance, so it has to return a storage."]
    )


@pytest.mark.parametrize("form", [SUBCLASS, MARKED], ids=["subclass", "marked"])
def test_behaviour_that_it_cannot_have_is_skipped(project: pytest.Pytester, form: str) -> None:
    project.makepyfile(form.format(said='cannot={"missing-size": "it is careless"}'))
    result = run(project, "-rs")
    result.assert_outcomes(passed=6, skipped=2)
    result.stdout.fnmatch_lines(["*cannot: it is careless"])


@LONG
def test_behaviour_that_it_has_all_the_same_fails(project: pytest.Pytester) -> None:
    project.makepyfile(
        SUBCLASS.format(said='cannot = {"missing-size": "it is careless", "url[first]": "no"}')
    )
    result = run(project)
    result.assert_outcomes(passed=5, skipped=2, failed=1)
    result.stdout.fnmatch_lines(
        ["This works: url() returns a text. Take 'url' out of `cannot`, which says: no"]
    )


@LONG
def test_unknown_behaviour_is_an_error(project: pytest.Pytester) -> None:
    project.makepyfile(SUBCLASS.format(said='cannot = {"missing-sise": "it is careless"}'))
    result = run(project)
    result.assert_outcomes(failed=8)
    result.stdout.fnmatch_lines(
        ["cannot: no behaviour is called 'missing-sise'. Did you mean 'missing-size'?"]
    )


@pytest.mark.parametrize(
    "processes", [(), pytest.param(("-n", "2"), marks=LONG)], ids=["one process", "xdist"]
)
def test_report(project: pytest.Pytester, processes: tuple[str, ...]) -> None:
    project.makepyfile(
        test_one=SUBCLASS.format(said='kind = "careless"; cannot = {"url": "none"}; roles = ["lower"]'),
        test_two=MARKED.format(said='kind="marked"'),
    )
    run(project, "--conformance-report=report.jsonl", *processes)
    found = reported(project)
    size = "size('missing.txt') returned 0; it should raise FileNotFoundError (or an error registered as missing)."
    works = "This works: url() returns a text. Take 'url' out of `cannot`, which says: none"
    assert ("careless", "lower", "missing-size", "fails", size) in found
    assert ("careless", "lower", "url", "fails", works) in found
    assert ("careless", "lower", "save-name", "passes", "") in found
    assert ("careless", "first", "save-name", "not asked", "it is not used as a first tier") in found
    assert ("marked", "first", "save-name", "passes", "") in found
    assert len(found) == 16
    assert found == sorted(found)


@LONG
def test_report_tells_what_went_wrong_in_the_test(project: pytest.Pytester) -> None:
    project.makepyfile(MARKED.format(said="content_type=lambda name: 1 / 0"))
    run(project, "--conformance-report=report.jsonl", "-k", "content-type")
    why = "ZeroDivisionError: division by zero"
    assert {each[2:] for each in reported(project)} == {("content-type", "fails", why)}


def test_the_rest_of_the_package_works_without_pytest(project: pytest.Pytester) -> None:
    """No module but those of the kit may import it."""
    script = project.makepyfile(without_pytest=WITHOUT_PYTEST)
    result = project.runpython(script)
    assert result.ret == 0
    assert result.outlines == ["queued_storage.testing.conformance", "queued_storage.testing.plugin"]


WITHOUT_PYTEST = f"""
import os, pkgutil, sys
from importlib import import_module

sys.path.insert(0, {str(Path(__file__).parents[2])!r})
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.base_settings"
sys.modules["pytest"] = None    # an import of it fails
import django
django.setup()
import queued_storage

for module in pkgutil.walk_packages(queued_storage.__path__, "queued_storage.", onerror=lambda name: None):
    if "conformance." not in module.name:
        try:
            import_module(module.name)
        except ImportError as error:    # others are of clients that are not installed here
            if error.name == "pytest":
                print(module.name)
"""
