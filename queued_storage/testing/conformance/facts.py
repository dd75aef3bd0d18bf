"""What a storage tells of its files: size, times, URL, content type, listing."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.core.files.base import ContentFile
from django.utils import timezone

from .behaviour import Behaviours, NotAsked
from .contents import LARGE, SMALL
from .subject import Subject

FACTS = Behaviours()
#: Some servers tell whole minutes, and their clocks may be a little off.
NEAR = timedelta(minutes=5)


@FACTS.add()
def size(subject: Subject) -> None:
    """size() returns the number of bytes that were saved."""
    for base, content in (("empty", b""), ("small", SMALL), ("large", LARGE)):
        name = subject.put(base, content)
        told = subject.call("size", name, should=f"return {len(content)}")
        if told != len(content):
            raise subject.misbehaves(
                f"{subject.spelled('size', name)} returned {told!r}", f"return {len(content)}"
            )


@FACTS.add()
def exists(subject: Subject) -> None:
    """exists() of a file that is there is True, at once."""
    subject.is_there(subject.put("there.txt"))


@FACTS.add()
def exists_folder(subject: Subject) -> None:
    """exists() of a folder is True or False, and no error."""
    name = subject.put("folder/file.txt")
    folder = name.rpartition("/")[0]
    told = subject.call("exists", folder, should="return True or False for a folder")
    if not isinstance(told, bool):
        raise subject.misbehaves(
            f"{subject.spelled('exists', folder)} returned {told!r}", "return True or False"
        )


@FACTS.add()
def modified_time(subject: Subject) -> None:
    """get_modified_time() tells when the file was saved; aware if USE_TZ is on, else naive and local."""
    name = subject.put("time.txt")
    should = f"return a datetime that is {'aware' if settings.USE_TZ else 'naive'}, as USE_TZ says"
    told = subject.call("get_modified_time", name, should=should)
    call = subject.spelled("get_modified_time", name)
    if not isinstance(told, datetime) or timezone.is_aware(told) is not settings.USE_TZ:
        raise subject.misbehaves(f"{call} returned {told!r}", should)
    now = timezone.now() if settings.USE_TZ else datetime.now()  # noqa: DTZ005 - naive is what is asked for
    if abs(now - told) > NEAR:
        raise subject.misbehaves(f"{call} returned {told}, at {now}", "tell the time of the save")


@FACTS.add()
def url(subject: Subject) -> None:
    """url() returns a text."""
    name = subject.put("url ☃.txt")
    told = subject.call("url", name, should="return the file's URL")
    if not (isinstance(told, str) and told):
        raise subject.misbehaves(
            f"{subject.spelled('url', name)} returned {told!r}", "return the file's URL, a str"
        )


@FACTS.add()
def content_type(subject: Subject) -> None:
    """The content type of an upload is kept, whatever the name looks like."""
    ask = subject.candidate.content_type
    if ask is None:
        raise NotAsked("nobody says how to ask the backend for a content type")
    content = ContentFile(b"<svg/>", name="type.dat")
    content.content_type = "image/svg+xml"  # type: ignore[attr-defined] # as uploads have it
    name = subject.put("type.dat", content)
    if (kept := ask(name)) != "image/svg+xml":
        raise subject.misbehaves(
            f"save() of content whose content_type is 'image/svg+xml' stored it as {kept!r}",
            "store the content_type of the content that it is given",
        )


@FACTS.add()
def listdir(subject: Subject) -> None:
    """listdir() returns the names of a folder's own folders and files: no paths, nothing from deeper down."""
    for base in (
        "list/one.txt",
        "list/two.txt",
        "list/below/three.txt",
        "list/below/deeper/four.txt",
        "list2/no.txt",
    ):
        subject.put(base)
    path = f"{subject.folder}/list"
    for spelling in (path, f"{path}/"):
        told = _listing(subject, spelling)
        if told != (["below"], ["one.txt", "two.txt"]):
            raise subject.misbehaves(
                f"{subject.spelled('listdir', spelling)} returned {told!r}",
                "return (['below'], ['one.txt', 'two.txt'])",
            )


@FACTS.add()
def listdir_root(subject: Subject) -> None:
    """listdir("") lists the top of the storage."""
    subject.put("file.txt")
    folders, _ = _listing(subject, "")
    if subject.folder not in folders:
        raise subject.misbehaves(
            f"listdir('') returned folders without {subject.folder!r}, in which a file is",
            "return it among them",
        )


def _listing(subject: Subject, path: str) -> tuple[list[str], list[str]]:
    should = "return two lists of names: folders, and files"
    told = subject.call("listdir", path, should=should)
    try:
        folders, files = told
        return sorted(folders), sorted(files)
    except (TypeError, ValueError) as error:
        raise subject.misbehaves(f"{subject.spelled('listdir', path)} returned {told!r}", should) from error
