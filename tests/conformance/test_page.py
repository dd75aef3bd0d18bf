"""The page of the docs on the kit: its code runs, and it lists every behaviour."""

from __future__ import annotations

import textwrap

import pytest

from tests.conformance import listing

VAULT = """
from django.core.files.storage import FileSystemStorage
from django.utils.deconstruct import deconstructible

@deconstructible
class VaultStorage(FileSystemStorage):
    def __init__(self, location=None, lists_top=True):
        super().__init__(location=location, base_url="/vault/")
        self.lists_top = lists_top

    def listdir(self, path):
        return super().listdir(path) if path or self.lists_top else ([], [])
"""
#: Enough to see that each of the page's forms works.
SOME = "listdir_root or listdir-root or save_name or save-name or (transfer and not delete)"


def blocks() -> str:
    """The page's blocks of Python, one after the other."""
    lines: list[str] = []
    inside = False
    for line in listing.PAGE.read_text(encoding="utf-8").splitlines():
        if line == ".. code-block:: python":
            inside = True
        elif line and not line.startswith(" "):
            inside = False
        elif inside:
            lines.append(line)
    return textwrap.dedent("\n".join(lines))


def test_page_lists_every_behaviour() -> None:
    assert listing.written() == listing.listing(), "write it anew: python -m tests.conformance.listing"


def test_examples_run(project: pytest.Pytester) -> None:
    project.mkpydir("shop").joinpath("storages.py").write_text(VAULT)
    project.makepyfile(test_shop=blocks().replace('"/tmp/', f'"{project.path}/'))
    outcomes = project.runpytest_subprocess("-k", SOME).parseoutcomes()
    # Of the three behaviours, what is declared, and roles that are not asked for, are skipped.
    assert (outcomes.pop("passed"), outcomes.pop("skipped"), set(outcomes)) == (22, 6, {"deselected"})
