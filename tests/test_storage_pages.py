"""The settings that the pages of the storages show can be used, and their index names every page."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

from queued_storage.chain import chains

PAGES = Path(__file__).parent.parent / "docs" / "reference" / "storages"
#: A literal block: what follows "::", as far as it is indented.
BLOCK = re.compile(r"::\n\n((?:(?: {4}.*)?\n)+)")
#: What the pages take their credentials from.
VARIABLE = re.compile(r"""os\.environ\[["'](\w+)""")


def shown(page: Path) -> str:
    """The code on the page that sets the tiers, where it shows any."""
    blocks = BLOCK.findall(page.read_text())
    return "".join(textwrap.dedent(block) for block in blocks if "QUEUED_STORAGE_TIERS" in block)


WITH_TIERS = [page for page in sorted(PAGES.glob("*.rst")) if shown(page)]


@pytest.mark.parametrize("page", WITH_TIERS, ids=lambda page: page.stem)
@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")  # AzureStorage's
def test_settings_of_the_page_make_its_tiers(
    page: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if page.stem == "swift":
        pytest.importorskip("magic", exc_type=ImportError)  # a wrapper around a library of the system
    code = shown(page)
    for name in VARIABLE.findall(code):
        monkeypatch.setenv(name, "c2VjcmV0")
    told: dict[str, Any] = {}
    exec(code, told)  # noqa: S102 - our own pages
    for name in filter(str.isupper, told):
        setattr(settings, name, told[name])
    for alias in told["QUEUED_STORAGE_TIERS"]:
        for tier in chains[alias]:
            _ = tier.storage


def test_index_names_every_page() -> None:
    index = PAGES.with_suffix(".rst").read_text()
    named = set(re.findall(r"^   storages/(\w+)$", index, flags=re.MULTILINE))
    assert {page.stem for page in PAGES.glob("*.rst")} <= named
