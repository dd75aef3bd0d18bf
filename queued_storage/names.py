"""Names of files: one spelling for each, and those of files that are not whole yet.

"a//b" and "./a/b" are one file to a disk, so they must be to the catalog.
"""

from __future__ import annotations

import os
import posixpath
import re
import uuid
from typing import Any

#: Base name of the file, in a tier's root, by which the tier is known again.
IDENTITY = ".queued-storage-identity"
#: What the (base) name of a deleted file's content has behind the staging part, so that nobody sees it either.
_TRASH = ".trash"
#: Characters of a folder's name above which content is kept in the tier's own folder: a longer name might be refused.
_LONGEST_FOLDER = 700
_STAGING = re.compile(r"\.[0-9a-f]{32}\.queued-storage(\..*)?", re.DOTALL)


def clean(name: Any) -> str:
    """Return the name (a text or a path) as Django's FileSystemStorage would return it from a save."""
    text = name if isinstance(name, str) else _text(name)
    text = text.replace("\\", "/")
    return posixpath.normpath(text) if text else text


def _text(name: Any) -> str:
    return os.fspath(name) if isinstance(name, os.PathLike) else str(name)


def visible(name: str) -> str:
    """Return the name, or one like it where nobody would see a file of this name."""
    folder, base = posixpath.split(name)
    return posixpath.join(folder, base.lstrip(".")) if is_own(base) else name


def staging_name(token: str = "", extension: str = "") -> str:
    """Return the (base) name of an unfinished file, a new one without a token; some storages look at extensions."""
    return f".{token or uuid.uuid4().hex}.queued-storage{extension}"


def is_staging(name: str) -> bool:
    """Tell whether a file of this (base) name is unfinished, and this package's."""
    return _STAGING.fullmatch(name) is not None


def is_own(name: str) -> bool:
    """Tell whether a file of this (base) name is this package's, and no user's: unfinished, or a tier's identity."""
    return name == IDENTITY or is_staging(name)


def trash_name(name: str, token: str) -> str:
    """Return the name by which the content of a deleted file is kept: beside its place, where nobody sees it."""
    folder, base = posixpath.split(name)
    extension = posixpath.splitext(base)[1][:32]
    kept = staging_name(token, _TRASH + extension)
    return kept if len(folder) > _LONGEST_FOLDER else posixpath.join(folder, kept)


def token_of(base: str) -> str:
    """Return the token in the (base) name of an unfinished file, or of a deleted one's content; "" in any other."""
    return base[1:33] if is_staging(base) else ""


def is_of_trash(name: str) -> bool:
    """Tell whether a file of this name is the content of a deleted one, or was meant to be."""
    base = posixpath.basename(name)
    return is_staging(base) and base[1:].partition(".queued-storage")[2].startswith(_TRASH)
