"""Files that are on this machine already are linked to, where that is allowed; others are copied."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.core.files.base import File
from django.core.files.storage import FileSystemStorage
from django.core.files.utils import validate_file_name
from django.utils.deconstruct import deconstructible


@deconstructible(path="queued_storage.contrib.storages.symlink.SymlinkOrCopyStorage")
class SymlinkOrCopyStorage(FileSystemStorage):
    """Saves an open file from inside one of the folders ``symlink_within`` as a symbolic link to it.

    A chain copies what it saves here: what lies elsewhere, where others may delete it, is no copy of its own.
    """

    def __init__(
        self,
        location: Any = None,
        base_url: str | None = None,
        *,
        symlink_within: Sequence[str | os.PathLike[str]] = (),
        **options: Any,
    ) -> None:
        super().__init__(location, base_url, **options)
        self._roots = tuple(Path(os.path.realpath(root)) for root in symlink_within)

    def save(self, name: str | None, content: Any, max_length: int | None = None) -> str:
        name = str(content.name if name is None else name)
        source = self._linkable(content)
        if source is None:
            self._let_go(name)
            return super().save(name, content, max_length)
        validate_file_name(name, allow_relative_path=True)
        name = self.get_available_name(name, max_length)
        while not self._link(source, name):
            name = self.get_available_name(name, max_length)
        return os.path.relpath(self.path(name), self.location).replace("\\", "/")

    save.outside_chains = True  # type: ignore[attr-defined]

    def _open(self, name: str, mode: str = "rb") -> File[Any]:
        path = Path(self.path(name))
        if not set(mode).isdisjoint("wa+") and path.is_symlink():
            _replace_by_copy(path)  # or what is written would go into the file that the link leads to
        return super()._open(name, mode)  # type: ignore[misc,no-any-return]

    def _linkable(self, content: Any) -> Path | None:
        """Return the path of the file that the content is, if it may be linked to."""
        if hasattr(content, "temporary_file_path"):  # it is gone soon
            return None
        path = _path_of(content)
        if path is None or not any(path.is_relative_to(root) for root in self._roots):
            return None
        return path

    def _link(self, source: Path, name: str) -> bool:
        """Make the link; return False if the name was taken in this moment."""
        path = Path(self.path(name))
        self._make_folder(path.parent)
        if self._allow_overwrite:  # type: ignore[attr-defined]
            beside = path.with_name(f".{uuid.uuid4().hex}")
            beside.symlink_to(source)
            beside.replace(path)
            return True
        try:
            path.symlink_to(source)
        except FileExistsError:
            return False
        return True

    def _make_folder(self, folder: Path) -> None:
        if folder.is_dir():
            return
        self._make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        if (mode := self.directory_permissions_mode) is not None:
            folder.chmod(mode)

    def _let_go(self, name: str) -> None:
        """Remove a link that a save is to replace: Django would write into the file that it leads to."""
        if self._allow_overwrite and os.path.islink(path := self.path(name)):  # type: ignore[attr-defined]
            os.unlink(path)


def _path_of(content: Any) -> Path | None:
    """Return the real path of the regular file that the content reads from; None where there is none."""
    try:
        opened = os.fstat(content.fileno())
        while hasattr(content, "file"):
            content = content.file
        path = Path(os.path.realpath(content.name, strict=True))
        # A name is what somebody wrote; the file that is open is what it is.
        return path if path.is_file() and os.path.samestat(opened, path.stat()) else None
    except (AttributeError, OSError, TypeError, ValueError):
        return None


def _replace_by_copy(path: Path) -> None:
    beside = path.with_name(f".{uuid.uuid4().hex}")
    try:
        shutil.copyfile(path, beside)
        beside.replace(path)
    except FileNotFoundError:  # the link leads nowhere
        path.unlink()
