"""Blocks of code of the documentation's pages."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
_BLOCK = re.compile(
    r"^(?P<indent> *)\.\. code-block:: (?P<language>\S+)\n(?:(?P=indent)   :caption: (?P<caption>.+)\n)?\n"
    r"(?P<code>(?:(?P=indent)   .*\n|\n)+)",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    language: str
    caption: str
    code: str


def blocks(page: Path) -> list[Block]:
    return [
        Block(found["language"], found["caption"] or "", textwrap.dedent(found["code"]))
        for found in _BLOCK.finditer(page.read_text(encoding="utf-8"))
    ]


def captioned(page: str, caption: str) -> str:
    """Return the code of the page's one block of that caption."""
    (code,) = (block.code for block in blocks(DOCS / page) if block.caption == caption)
    return code


def shown_by_mistake(page: Path) -> list[str]:
    """Return the comments of a page that follow a paragraph with no empty line between, and so are a part of it."""
    text = page.read_text(encoding="utf-8")
    return re.findall(r"^(?!\.\. )\S.*\n(\.\. \S.*)", text, re.MULTILINE)
