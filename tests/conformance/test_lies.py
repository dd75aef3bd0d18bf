"""Every behaviour notices the storage that lies about it, and says in words which method does what, and should do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from queued_storage import outage, traits
from queued_storage.testing.conformance import Candidate, ChainConformance, Misbehaviour, TierConformance
from queued_storage.testing.conformance.suite import CHAIN_SUITE, TIER_SUITE, Suite

from tests.conformance import liars

SUITES = (TIER_SUITE, CHAIN_SUITE)
PATH = "tests.conformance.liars."
OPTIONS = {"bucket": "liar", "secret_key": "the right one"}

#: Behaviour, role, the storage that lies, and what is said of it.
LIES: list[tuple[str, str, str, str]] = [
    ("save-name", "lower", "Renames", r"save\('name.txt'\) returned another name, though that one was free; it shou"),
    ("save-name", "first", "RenamesAndForgets", r"open\('name.txt'\).read\(\) raised FileNotFoundError"),
    ("content-empty", "lower", "RefusesEmptyFiles", r"save\('empty.txt'\), in a copy .* raised ValueError: no conte"),
    ("content-empty", "first", "RefusesEmptyFiles", r"save\('empty.txt'\) raised ValueError: no content; it should"),
    ("content-small", "first", "SavesText", r"open\('small.bin'\).read\(\) returned \d+ bytes; .* the 10240 bytes"),
    ("content-large", "lower", "SavesOneChunk", r"seemed to succeed, but tier 'candidate' holds 65536 of 3000000 by"),
    ("content-large", "first", "SavesOneChunk", r"open\('large.bin'\).read\(\) returned 65536 bytes"),
    ("content-forward", "first", "SavesOneChunk", r"after a save of content that cannot seek, .* 65536 bytes"),
    ("content-from-start", "first", "SavesTheRest", r"after a save of content that was at position 1000, .* 9240 by"),
    ("name-unicode", "lower", "KnowsASCII", r"save\('naïve .* raised UnicodeEncodeError"),
    ("name-blanks", "first", "CutsAtBlanks", r"listdir\(.*\) returned the files \['one.txt'\]; .*\['two  blanks and"),
    ("name-special", "first", "Unquotes", r"exists\(.*\) returned False; it should return True"),
    ("name-deep", "lower", "Shallow", r"save\('a/b.c/d/e/f/deep.txt'\), .* raised FileNotFoundError"),
    ("save-taken", "lower", "OverwritesInSilence", r"save\('taken.txt'\) of a taken name returned it; .*file_overwr"),
    ("overwrite", "lower", "Appends", r"seemed to succeed, but tier 'candidate' holds 10240 of 7 bytes"),
    ("overwrite", "first", "Appends", r"after a replacement, open\('replaced.bin'\).read\(\) returned 10240 bytes"),
    ("save-whole", "lower", "WritesInPlace", r"while save\('new.bin'\) .* another reader found \d+ bytes; .* stage "),
    ("overwrite-whole", "lower", "WritesInPlace", r"while 'old.bin' was being replaced, another reader found"),
    ("source-fails", "first", "ReportsSuccess", r"breaks off half-way returned; it should raise what the content"),
    ("source-fails", "first", "KeepsParts", r"breaks off half-way left \d+ bytes; it should leave nothing"),
    ("open-whole", "lower", "OpensText", r"read\(500000\) at 0 of what open\('whole.bin'\) returned gave str, not b"),
    ("open-ranges", "lower", "DoesNotSeek", r"after seek\(2000000, 0\), tell\(\) of an opened file returned 0; .*20"),
    ("open-ranges-in-chain", "lower", "DoesNotSeek", r"seek\(2500000\) and read\(500\) of what open\('ranges.bin'\)"),
    ("open-twice", "first", "SharesFiles", r"read\(1000\) of a file that is opened twice .* gave other bytes"),
    ("open-again", "first", "ReturnsClosed", r"open\('again.txt'\).read\(\) raised ValueError: .*closed file"),
    ("size", "first", "SizeInKilobytes", r"size\('small'\) returned 10; it should return 10240"),
    ("size", "lower", "ForgetsSize", r"but tier 'candidate' holds 0 of 10240 bytes; .*size\(\) and exists\(\) shoul"),
    ("exists", "first", "SeesNothing", r"exists\('there.txt'\) returned False; it should return True"),
    ("exists-folder", "lower", "RefusesFolders", r"exists\('folder'\) raised Unknown: a folder is no object; .*True"),
    ("modified-time", "lower", "NaiveTimes", r"get_modified_time\('time.txt'\) returned datetime.* that is aware"),
    ("modified-time", "lower", "WrongTimes", r"get_modified_time\('time.txt'\) returned .*; it should tell the time"),
    ("url", "lower", "NoURL", r"url\('url ☃.txt'\) returned None; it should return the file's URL, a str"),
    ("content-type", "lower", "DropsType", r"'image/svg\+xml' stored it as None; it should store the content_type"),
    ("listdir", "lower", "ListsPaths", r"listdir\('list'\) returned .*; it should return \(\['below'\], \['one.txt'"),
    ("listdir-root", "lower", "NoRoot", r"listdir\(''\) returned folders without 'conformance-.*', in which a file "),
    ("missing-open", "lower", "OpensAnything", r"open\('missing.txt'\), and read\(\), returned b''; it should raise"),
    ("missing-size", "lower", "SizeZero", r"^size\('missing.txt'\) returned 0; it should raise FileNotFoundError \("),
    ("missing-modified-time", "first", "UnknownTimes", r"get_modified_time\('missing.txt'\) raised Unknown: 404; it"),
    ("missing-exists", "lower", "SeesEverything", r"exists\('nobody-saved-this'\) returned True; it should return F"),
    ("missing-exists", "first", "SeesPrefixes", r"exists\('there'\) returned True; it should return False"),
    ("missing-url", "lower", "AsksForURL", r"url\('missing.txt'\) raised Unknown: 404; it should return what the fi"),
    ("missing-delete", "lower", "DeletesOnce", r"delete\('missing.txt'\) raised Unknown: 404; .* nothing where ther"),
    ("missing-listdir", "lower", "ListsOnlyFolders", r"listdir\('no-such-folder'\) raised Unknown: 404; it should r"),
    ("delete", "lower", "Keeps", r"exists\('deleted.txt'\) returned True; it should return False"),
    ("delete", "lower", "DeletesByPrefix", r"listdir\(.*\) returned the files \['deleted', 'deleted.tx'\]; it shoul"),
    ("delete-twice", "first", "DeletesOnce", r"delete\('twice.txt'\) raised Unknown: 404; it should delete the file"),
    ("delete-and-save", "first", "KeepsNames", r"save\('free.txt'\), after delete\(\), returned 'free_.*'; .*it is "),
    ("threads", "first", "SharesBuffer", r"after a save in one of six threads, open\(.*\) returned other bytes"),
    ("threads", "first", "Hangs", r"\d of 6 threads, .* were not done after 1 s; .*self.answer.wait"),
    ("deconstruct", "lower", "NoDeconstruct", r"the storage has no deconstruct\(\); it should .* decorate it with"),
    ("deconstruct", "lower", "ForgetsItsBucket", r"exists\('twin.txt'\) of the storage that deconstruct\(\) describ"),
]  # fmt: skip
CHAIN_LIES: list[tuple[str, str, str, str]] = [
    ("transfer", "lower", "SwapsBytes", r"on tier 'candidate', 'transfer.bin' has other bytes from position 0 on"),
    ("transfer", "first", "Renames", r"save\('transfer.bin'\), in a chain, raised Configur.* save\(\) kept none"),
    ("transfer-and-delete", "first", "Keeps", r"tier 'candidate' still has a file 'moved.bin'; it .* lie on \['disk"),
    ("read-ranges", "lower", "DoesNotSeek", r"seek\(2000000\) and read\(1000\) gave other bytes from position 0 on"),
    ("facts-stay", "lower", "NoURL", r"url\('facts.bin'\), through a chain, returned None; it should return a str"),
    ("listed-once", "first", "ListsPaths", r"listdir\(\), .* returned \(\[\], \['conf.*/listed.txt'\]\); .* \['list"),
    ("taken-names", "lower", "CutsNames", r"after two saves of its name, .* open\('taken.txt'\).read\(\) returned 6"),
    ("replaced-everywhere", "lower", "Keeps", r"the work for 'replaced.bin' failed: .* saves under another name tha"),
    ("deleted-everywhere", "lower", "Keeps", r"after delete\('deleted.bin'\) .*, tier 'candidate' has it still"),
    ("deleted-before-move", "first", "Keeps", r"after delete\('short-lived.bin'\) .*, tier 'candidate' has it still"),
    ("missing-everywhere", "lower", "OpensAnything", r"open\('missing.bin'\) returned .*; it should raise File"),
    ("found", "lower", "SeesNothing", r"transfer\('found.txt'\) raised FileNotFoundError: .*; it should take the fi"),
    ("content-type-stays", "lower", "DropsType", r"of the content type 'image/svg\+xml' is stored as None; it shoul"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    with liars.forgotten():
        yield


def said(suite: Suite, behaviour: str, role: Any, liar: str) -> str:
    """What the behaviour says of the storage; nothing where it has no complaint."""
    storage = getattr(liars, liar)
    options = OPTIONS if issubclass(storage, liars.Honest) else {}

    def content_type(name: str) -> str | None:
        return liars.Honest.buckets["liar"][name].content_type

    candidate = Candidate(
        {"BACKEND": f"{PATH}{liar}", "OPTIONS": options}, content_type=content_type, patience=1
    )
    (found,) = (each for each in suite.behaviours if each.id == behaviour)
    try:
        suite.run(found, role, candidate)
    except Misbehaviour as misbehaviour:
        return str(misbehaviour)
    return ""


def short(value: str) -> str:
    """Return ids without the sentences."""
    return value if value.replace("-", "").isalpha() else "said"


@pytest.mark.parametrize(("behaviour", "role", "liar", "sentence"), LIES, ids=short)
def test_lie_is_caught(behaviour: str, role: str, liar: str, sentence: str) -> None:
    told = said(TIER_SUITE, behaviour, role, liar)
    assert re.search(sentence, told, re.DOTALL), told


@pytest.mark.django_db
@pytest.mark.parametrize(("behaviour", "role", "liar", "sentence"), CHAIN_LIES, ids=short)
def test_lie_is_caught_in_a_chain(behaviour: str, role: str, liar: str, sentence: str) -> None:
    told = said(CHAIN_SUITE, behaviour, role, liar)
    assert re.search(sentence, told, re.DOTALL), told


def test_key_that_is_printed_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    # The package keeps every error from printing what options hold: to see one, it must not.
    monkeypatch.setattr(outage, "told", lambda tier, error: error)
    told = said(TIER_SUITE, "secrets", "lower", "PrintsItsKey")
    assert told.startswith(
        "open() with a wrong password or key raised PermissionError, whose text prints that;"
    )


@pytest.mark.django_db
def test_key_in_a_reason_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traits, "redact", lambda text, secrets: text)
    told = said(CHAIN_SUITE, "secrets-in-chain", "lower", "PrintsItsKey")
    assert told.startswith(
        "a move to the storage with a wrong password or key told that in the log, or as the file's"
    )


@pytest.mark.django_db
def test_key_that_is_printed_is_kept_from_readers() -> None:
    assert not said(TIER_SUITE, "secrets", "lower", "PrintsItsKey")
    assert not said(TIER_SUITE, "secrets", "first", "PrintsItsKey")
    assert not said(CHAIN_SUITE, "secrets-in-chain", "lower", "PrintsItsKey")


def test_every_behaviour_catches_a_lie() -> None:
    caught = {behaviour for behaviour, *_ in (*LIES, *CHAIN_LIES)} | {"secrets", "secrets-in-chain"}
    assert caught == {each.id for suite in SUITES for each in suite.behaviours}


class TestHonest(TierConformance):
    """The storage that the liars are made of does all that it should."""

    cannot = {"overwrite-whole[first]": "it has no step that replaces a file"}

    @pytest.fixture
    def storage(self) -> Candidate:
        def content_type(name: str) -> str | None:
            return liars.Honest.buckets["honest"][name].content_type

        return Candidate(liars.Honest(secret_key="the right one"), content_type=content_type)


class TestHonestInChain(ChainConformance):
    @pytest.fixture
    def storage(self) -> Candidate:
        def content_type(name: str) -> str | None:
            return liars.Honest.buckets["honest"][name].content_type

        return Candidate(liars.Honest(), content_type=content_type)
