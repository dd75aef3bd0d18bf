"""Log lines: what they look like, and that the page of the docs lists each event with its keys."""

from __future__ import annotations

import ast
import logging
import re
import shlex
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile

import queued_storage
from queued_storage import logs, outage
from queued_storage.chain import chains
from queued_storage.testing import faulty, run_owed_work

PACKAGE = Path(queued_storage.__file__).parent
PAGE = PACKAGE.parent / "docs" / "reference" / "logs.rst"
LEVELS = {"debug", "info", "warning", "error"}


def pairs(line: str) -> dict[str, str]:
    """Take a line apart, as a collector of logs would."""
    return dict(pair.partition("=")[::2] for pair in shlex.split(line)[1:])


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level(logging.DEBUG, logger="queued_storage")

    def told(event: str) -> list[logging.LogRecord]:
        return [record for record in caplog.records if record.getMessage().split()[0] == event]

    return told


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a.txt", "a.txt"),
        ("a b.txt", '"a b.txt"'),
        ('a"b', '"a\\"b"'),
        ("a=b", '"a=b"'),
        ("a\nfailed chain=x", '"a\\nfailed chain=x"'),
        ("", '""'),
        (None, '""'),
        (True, "true"),
        (7, "7"),
        (0.123456789, "0.123457"),
    ],
)
def test_value_can_be_taken_out_of_its_line_again(value: Any, text: str) -> None:
    assert str(logs.Pairs(key=value)) == f"key={text}"


def test_facts_are_the_records_own_too(lines: Any) -> None:
    logs.info("something", name="a b.txt", chain="media")
    (record,) = lines("something")
    assert record.queued_storage == {"event": "something", "name": "a b.txt", "chain": "media"}
    assert record.msg == "something %s"  # by which lines that are alike are put together
    assert record.funcName == "test_facts_are_the_records_own_too"


@pytest.mark.django_db(transaction=True)
class TestEvents:
    def test_life_of_a_file(self, make_chain: Any, lines: Any) -> None:
        storage = make_chain(policy="transfer-and-delete")
        name = storage.save("a b.txt", ContentFile(b"content"))
        run_owed_work()
        storage.delete(name)
        run_owed_work()
        (transferred,) = lines("transferred")
        told = pairs(transferred.getMessage())
        assert float(told.pop("seconds")) > 0
        assert told.pop("file").isdigit()
        assert told == {
            "chain": "media",
            "name": "a b.txt",
            "source": "disk",
            "destination": "vault",
            "bytes": "7",
        }
        assert [len(lines(event)) for event in ("saved", "released", "deleted")] == [1, 1, 1]

    def test_failure_tells_tier_and_cause(self, make_chain: Any, lines: Any) -> None:
        storage = make_chain({"disk": "disk", "far": faulty.tier("logs")})
        faulty.bucket("logs").on("save", faulty.full)
        try:
            storage.save("a.txt", ContentFile(b"content"))
            run_owed_work()
        finally:
            faulty.forget_all()
        (failed,) = lines("failed")
        told = pairs(failed.getMessage())
        assert (told["tier"], told["cause"], told["final"], told["attempts"]) == ("far", "full", "false", "1")
        assert failed.levelname == "WARNING"

    def test_outage_is_told_once(self, make_chain: Any, lines: Any) -> None:
        make_chain({"disk": "disk", "far": faulty.tier("logs", TIMEOUT=5)})
        for _ in range(3):
            outage.mark_down(chains["media"]["far"])
        (down,) = lines("tier_down")
        assert pairs(down.getMessage()) == {"chain": "media", "tier": "far", "seconds": "30"}


@cache
def in_the_code() -> dict[str, set[str]]:
    """The events that the package's code names, each with its keys as far as they are written out."""
    found = defaultdict[str, set[str]](set)
    for path in PACKAGE.rglob("*.py"):
        if "logs." not in (source := path.read_text()):
            continue
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, ast.Call):
                continue
            for function in ast.walk(node.func):
                if (
                    isinstance(function, ast.Attribute)
                    and isinstance(function.value, ast.Name)
                    and function.value.id == "logs"
                    and function.attr in LEVELS
                ):
                    event = ast.literal_eval(node.args[0])
                    found[event] |= {keyword.arg for keyword in node.keywords if keyword.arg}
    return found


def on_the_page() -> dict[str, set[str]]:
    rows = re.findall(r"\* - ``(\w+)``\n\s+- .*\n\s+- ((?:.+\n)+?)\s+- ", PAGE.read_text())
    return {event: set(re.findall(r"``(\w+)``", keys)) for event, keys in rows}


def test_page_lists_each_event() -> None:
    assert set(on_the_page()) == set(in_the_code())


def test_page_lists_the_keys_of_each_event() -> None:
    page = on_the_page()
    assert {event: keys - page[event] for event, keys in in_the_code().items()} == {
        event: set() for event in page
    }


def test_nobody_else_writes_to_the_log() -> None:
    own = {"logs.py"}
    others = [
        path.relative_to(PACKAGE)
        for path in PACKAGE.rglob("*.py")
        if path.name not in own and "testing" not in path.parts and "getLogger(" in path.read_text()
    ]
    assert others == []
