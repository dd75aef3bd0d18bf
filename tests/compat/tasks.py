"""Tasks as 0.8's users write them: subclasses of Transfer, and plain functions."""

from __future__ import annotations

from typing import Any, ClassVar

from django.core.files.base import ContentFile

from queued_storage.tasks import Transfer, TransferAndDelete


def copy(name: str, local: Any, remote: Any) -> None:
    """Upstream's plain function, with the storages in place of their paths and options."""
    remote.save(name, local.open(name))


def refuse(name: str, local: Any, remote: Any) -> bool:
    return False


class NoneReturning(Transfer):
    def transfer(self, name: str, local: Any, remote: Any, **kwargs: Any) -> Any:
        return None


class Retrying(Transfer):
    """Says False at its first call, and copies at the second."""

    calls: ClassVar[list[str]] = []

    def transfer(self, name: str, local: Any, remote: Any, **kwargs: Any) -> bool:
        self.calls.append(name)
        return len(self.calls) > 1 and super().transfer(name, local, remote, **kwargs)


class Noting(TransferAndDelete):
    """Calls the one it extends, and does something more, as in 0.8's documentation."""

    notes: ClassVar[list[tuple[str, bool]]] = []

    def transfer(self, *args: Any, **kwargs: Any) -> bool:
        done = super().transfer(*args, **kwargs)
        self.notes.append((args[0], done))
        return done


class DeletesFirst(Transfer):
    """Deletes the local copy, whatever became of the other."""

    def transfer(self, name: str, local: Any, remote: Any, **kwargs: Any) -> bool:
        local.delete(name)
        return True


class Shortening(Transfer):
    """Saves less than it was given."""

    def transfer(self, name: str, local: Any, remote: Any, **kwargs: Any) -> bool:
        remote.save(name, ContentFile(local.open(name).read()[:-1]))
        return True


class ByPath(Transfer):
    """Reads the local file by its path, past ``open()``."""

    def transfer(self, name: str, local: Any, remote: Any, **kwargs: Any) -> bool:
        with open(local.path(name), "rb") as file:
            remote.save(name, file)
        return True


class Nobody:
    """A dispatcher whose every message is lost."""

    def dispatch(self, ids: Any) -> None:
        """Send nothing."""


class OncePerName(Transfer):
    """Leaves alone what has the name already, and deletes the local file all the same."""

    def transfer(self, name: str, local: Any, remote: Any, **kwargs: Any) -> bool:
        if not remote.exists(name):
            with local.open(name) as content:
                remote.save(name, content)
        local.delete(name)
        return True


class Shouting(Transfer):
    """Changes the content and not its length."""

    def transfer(self, name: str, local: Any, remote: Any, **kwargs: Any) -> bool:
        with local.open(name) as content:
            remote.save(name, ContentFile(content.read().upper()))
        local.delete(name)
        return True
