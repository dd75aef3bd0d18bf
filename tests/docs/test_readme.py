"""What the README shows works, its links lead somewhere, and package indexes can show it."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks

from queued_storage.chain import chains

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.rst").read_text(encoding="utf-8")
LINKS = sorted(set(re.findall(r"<([^<>:`]+\.(?:rst|md))>`_", README)))
#: Files and targets that the pages beside the code name.
BESIDE = "".join(
    (ROOT / page).read_text(encoding="utf-8") for page in ("CONTRIBUTING.rst", "SECURITY.md", "README.rst")
)
FILES = sorted(set(re.findall(r"`((?:docs|tests|queued_storage)/[\w./-]+)`", BESIDE)))
TARGETS = sorted(set(re.findall(r"(?m)(?:`|^ {4})make ([a-z-]+)", BESIDE)))


def code(first_line: str) -> str:
    blocks = re.findall(r"\.\. code-block:: python\n\n((?: {4}.*\n|\n)+)", README)
    (block,) = (text for block in blocks if (text := textwrap.dedent(block)).startswith(first_line))
    return block


@pytest.mark.parametrize("link", LINKS)
def test_link_leads_to_a_page(link: str) -> None:
    assert (ROOT / link).is_file()


def test_there_are_links() -> None:
    assert len(LINKS) > 10


def test_settings_pass_the_checks(settings: Any) -> None:
    scope: dict[str, Any] = {}
    exec(code("# settings.py"), scope)  # noqa: S102 - the page is ours
    settings.QUEUED_STORAGE_TIERS = scope["QUEUED_STORAGE_TIERS"]
    assert not [message for message in run_checks(tags=["queued_storage"]) if "'media'" in str(message)]
    assert chains["media"].names == ("disk", "s3")


def test_models_can_be_read() -> None:
    compile(code("# models.py"), "README.rst", "exec")


@pytest.mark.parametrize("promise", ["make demo", "make test"])
def test_two_commands_are_there(promise: str) -> None:
    assert f"    {promise}\n" in README


def test_nothing_in_it_is_sphinx_s_own() -> None:
    assert not re.search(r":(doc|ref|caption|class|func):", README)


@pytest.mark.parametrize("file", FILES)
def test_file_that_is_named_is_there(file: str) -> None:
    assert (ROOT / file).exists()


def test_targets_that_are_named_are_in_the_makefile() -> None:
    known = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {"demo", "docs", "test"} <= set(TARGETS) <= set(known)
