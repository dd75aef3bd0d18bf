"""Pieces of reStructuredText, and what a reference lists of the package: without Sphinx, so that tests can ask too."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType


def notes(module: ModuleType, within: str | None = None) -> dict[str, str]:
    """Return what the ``#:`` comments above a module's names, or those of one of its classes, say of them."""
    assert module.__file__ is not None
    source = Path(module.__file__).read_text(encoding="utf-8")
    lines, body = source.splitlines(), ast.parse(source).body
    if within is not None:
        (found,) = (node for node in body if isinstance(node, ast.ClassDef) and node.name == within)
        body = found.body
    told = {}
    for node in body:
        if (name := _assigned(node)) and (comment := _comment_above(lines, node.lineno - 1)):
            told[name] = comment
    return told


def _assigned(node: ast.stmt) -> str | None:
    match node:
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
    return None


def _comment_above(lines: Sequence[str], index: int) -> str:
    comment: list[str] = []
    while index and lines[index - 1].strip().startswith("#:"):
        index -= 1
        comment.insert(0, lines[index].strip().removeprefix("#:").strip())
    return " ".join(comment)


def literal(text: object) -> str:
    return f"``{text}``"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], widths: str = "auto") -> list[str]:
    """Return the lines of a list-table; a cell may have several lines."""
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", ""]
    for row in (header, *rows):
        for i, cell in enumerate(row):
            first, *rest = cell.splitlines() or [""]
            lines.append(f"   {'*' if i == 0 else ' '} - {first}".rstrip())
            lines += [f"       {line}".rstrip() for line in rest]
    return [*lines, ""]


def heading(text: str, underline: str) -> list[str]:
    return [text, underline * len(text), ""]


def block(code: str, language: str = "python") -> list[str]:
    return [f".. code-block:: {language}", "", *(f"   {line}".rstrip() for line in code.splitlines()), ""]


def plain_to_rst(text: str) -> str:
    """Return a plain text, a help or a docstring, as one in which nothing is taken for markup."""
    return re.sub(r"([*|\\]|(?<!`)`(?!`))", r"\\\1", text)


def check_ids(package: Path) -> set[str]:
    """Return the ids of the system checks that the package's code names."""
    sources = (path.read_text(encoding="utf-8") for path in package.rglob("*.py"))
    return {
        found for source in sources for found in re.findall(r'"(?:queued_storage\.)?([EWI]\d{3})"', source)
    }


def checks_in_docstrings(module: ModuleType) -> dict[str, str]:
    """Return what the docstrings of check functions say of an id: ``W009: what is wrong.``"""
    told: dict[str, str] = {}
    for each in vars(module).values():
        if getattr(each, "__module__", None) == module.__name__ and each.__doc__:
            for identifier, said in re.findall(r"\b([EWI]\d{3}): ([^.]+\.)", each.__doc__):
                told[identifier] = said[0].upper() + " ".join(said[1:].split())
    return told
