"""The behaviours as the docs list them; run it to write them there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from queued_storage.testing.conformance import CHAIN, TIER, Behaviours

PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "conformance.rst"
BEGIN, END = ".. begin of what ``python -m tests.conformance.listing`` writes\n", ".. end\n"


def listing() -> str:
    return "\n" + "\n".join([*_part("Of a tier", TIER), *_part("Of a chain", CHAIN), ""])


def _part(title: str, behaviours: Behaviours) -> Iterator[str]:
    yield from (title, "~" * len(title), "")
    for each in behaviours:
        role = f" ({each.roles[0]})" if len(each.roles) == 1 else ""
        yield from (f"``{each.id}``{role}", f"    {each.says}")
    yield ""


def written() -> str:
    """What the page has."""
    return PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]


def write() -> None:
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}{listing()}{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    write()
