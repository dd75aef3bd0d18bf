"""The storages of django-queued-storage 0.8 and of django-fallback-storage, as chains declared in code."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from django.core.files.base import File
from django.db import transaction

from . import catalog, conf, copiers, former, places
from .declaring import declare, dotted
from .exceptions import ConfigurationError
from .fallback import FallbackStorage
from .old_times import OldTimes
from .results import TransferResult, last_result, note_result
from .saving import Saver
from .schema import ChainSettings, TierSettings
from .storage import TieredStorage

__all__ = [
    "FallbackStorage", "QueuedCloudFilesStorage", "QueuedCouchDBStorage", "QueuedDatabaseStorage", "QueuedFTPStorage",
    "QueuedFileSystemStorage", "QueuedGridFSStorage", "QueuedMogileFSStorage", "QueuedS3BotoStorage",
    "QueuedSFTPStorage", "QueuedStorage",
]  # fmt: skip

FILE_SYSTEM = "django.core.files.storage.FileSystemStorage"
IN_MEMORY = "django.core.files.storage.InMemoryStorage"

_POLICIES = {
    "queued_storage.tasks.Transfer": "transfer",
    "queued_storage.tasks.TransferAndDelete": "transfer-and-delete",
}
#: What a migration may hold of the arguments that a storage was built with.
_HARMLESS = frozenset({"local", "remote", "cache_prefix", "delayed", "task"})


#: Storages with a ``transfer()`` of their own, by alias: it says also what becomes of files that were there before.
_deciding: dict[str, QueuedStorage] = {}


def asked_to_transfer(alias: str, policy: str | None) -> TieredStorage:
    """Return the storage whose ``transfer()`` is to be called for files of the chain."""
    return TieredStorage(alias, policy) if policy is not None or alias not in _deciding else _deciding[alias]


class _Declared:
    """What a class declares of a tier, and what an instance may say instead before its ``__init__`` is called."""

    def __init__(self, tier: str, value: Any, attribute: str) -> None:
        self.tier = tier
        self.value = value
        self.attribute = attribute

    def __get__(self, instance: TieredStorage | None, owner: type) -> Any:
        if instance is None:
            return self.value
        return (
            self.built(instance)
            if "alias" in vars(instance)
            else vars(instance).get(self.attribute, self.value)
        )

    def __set__(self, instance: TieredStorage, value: Any) -> None:
        if "alias" in vars(instance):
            raise ConfigurationError(
                f"{type(instance).__name__}: its {self.attribute} cannot be changed any more. "
                "Set it before super().__init__() is called."
            )
        vars(instance)[self.attribute] = value

    def built(self, instance: TieredStorage) -> Any:
        raise NotImplementedError


class _TierStorage(_Declared):
    """On a class the path that it declares; on an instance the storage of that tier, this thread's own."""

    def built(self, instance: TieredStorage) -> Any:
        return instance.chain[self.tier].storage


class _TierOptions(_Declared):
    """On a class the options that it declares; on an instance those that its chain has for the tier."""

    def built(self, instance: TieredStorage) -> Any:
        return dict(instance.chain.config.TIERS[self.tier].OPTIONS)


class QueuedStorage(OldTimes):
    """A chain of two tiers, "local" and "remote", that its arguments or its class attributes declare.

    ``task`` says how files get to the remote: ``queued_storage.tasks.Transfer``, ``TransferAndDelete``, a subclass of
    those, or a callable (name, local, remote); by dotted path or itself. With ``delayed`` they get there when
    ``transfer(name)`` asks for it. A subclass with a ``transfer()`` of its own is asked by every save, in its
    transaction, and a file stays on the local where that does not call this one's.
    """

    #: Tells ``chain`` that building one adds a chain.
    declares_chain = True

    local: Any = None
    local_options: Any = None
    remote: Any = None
    remote_options: Any = None
    task: Any = "queued_storage.tasks.Transfer"
    delayed: bool = False
    cache_prefix: str | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for tier in ("local", "remote"):
            if isinstance(path := cls.__dict__.get(tier), str | type):
                setattr(cls, tier, _TierStorage(tier, path, tier))
            if isinstance(options := cls.__dict__.get(f"{tier}_options"), dict):
                setattr(cls, f"{tier}_options", _TierOptions(tier, options, f"{tier}_options"))

    def __init__(  # noqa: PLR0917 - 0.8's signature
        self,
        local: Any = None,
        remote: Any = None,
        local_options: dict[str, Any] | None = None,
        remote_options: dict[str, Any] | None = None,
        cache_prefix: str | None = None,
        delayed: bool | None = None,
        task: Any = None,
    ) -> None:
        own = {tier: (getattr(self, tier), getattr(self, f"{tier}_options")) for tier in ("local", "remote")}
        for name in ("local", "remote", "local_options", "remote_options"):
            vars(self).pop(name, None)  # a pickle would take the options from there
        #: The class paths as they were given: one may have a successor of today.
        self.declared_paths: tuple[str, ...] = ()
        self.local_path = self._path("local", local or own["local"][0])
        self.remote_path = self._path("remote", remote or own["remote"][0])
        self.cache_prefix = cache_prefix or self.cache_prefix or conf.get("CACHE_PREFIX")
        self.delayed = self.delayed if delayed is None else delayed
        self.task = self.task if task is None else task
        tiers = {
            "local": self._tier(self.local_path, local_options or own["local"][1]),
            "remote": self._tier(self.remote_path, remote_options or own["remote"][1]),
        }
        same = tiers["local"] == tiers["remote"] and self.local_path != IN_MEMORY
        self._is_one_place = same or places.are_one(tiers["local"], tiers["remote"])
        local_place, remote_place = places.of(tiers["local"]), places.of(tiers["remote"])
        inner = (places.below(local_place, remote_place), places.below(remote_place, local_place))
        #: The folder of the one storage in which the other lies.
        self._inner = tuple(f"{folder}/" for folder in inner if folder)
        #: Whether the class has a ``transfer()`` of its own, which says what becomes of each file.
        self._decides = type(self).transfer is not QueuedStorage.transfer
        policy = self._policy_name()
        super().__init__(declare("queued-", ChainSettings(TIERS=tiers, POLICY=policy)), policy)
        self._forget_options()
        if self._decides:
            _deciding[self.alias] = self

    def _path(self, argument: str, given: Any) -> str:
        if not isinstance(given, str | type):
            raise ConfigurationError(
                f"{type(self).__name__} needs {argument}=, the dotted path of a storage class or the class itself."
            )
        path = dotted(given)
        self.declared_paths = (*self.declared_paths, path)
        return former.of_today(path)

    def _tier(self, path: str, options: Any) -> TierSettings:
        if not isinstance(options, dict | None):
            raise ConfigurationError(
                f"{type(self).__name__}: the options of a storage are a dict of arguments."
            )
        return TierSettings(BACKEND=path, OPTIONS=dict(options or {}))

    def _policy_name(self) -> str:
        copiers.require_remade(self.task)
        path = dotted(self.task)
        policy = _POLICIES.get(path, f"task:{path}")
        return f"delayed:{policy}" if self.delayed or self._decides else policy

    def _forget_options(self) -> None:
        """Keep no option where a pickle or a migration would take it from: the chain alone knows them."""
        args, kwargs = self._constructor_args  # type: ignore[has-type] # of Django's deconstructible
        signature = inspect.signature(self.__init__)  # type: ignore[misc]
        values = signature.bind(*args, **kwargs).arguments
        for parameter in signature.parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                values |= values.pop(parameter.name, {})
        plain = all(isinstance(value, str | bool | None) for value in values.values())
        self._is_written_by_class = plain and values.keys() <= _HARMLESS
        if not self._is_written_by_class:
            self._constructor_args = ((self.alias,), {"policy": self._policy})

    def deconstruct(self) -> Any:
        """Return what a migration holds: the class, or where options were given in code, the chain's alias."""
        if self._is_written_by_class:
            return super().deconstruct()  # type: ignore[misc]
        return "queued_storage.storage.TieredStorage", *self._constructor_args

    @property
    def policy(self) -> str | None:
        if self._is_one_place:
            raise ConfigurationError(
                f"local and remote of this {type(self).__name__} are one storage: {self.local_path!r} and "
                f"{self.remote_path!r} in one place. Give one of them a folder, bucket or prefix of its own."
            )
        return self._policy

    def save(self, name: str | None, content: Any, max_length: int | None = None) -> str:
        saved = super().save(name, content, max_length)
        if self.delayed or not self._decides:
            note_result(self, None if self.delayed else saved)
        return saved

    @property
    def _saver(self) -> Any:
        saver = super()._saver
        return _AskingSaver(saver, self._ask) if self._decides and not self.delayed else saver

    def _ask(self, name: str) -> None:
        note_result(self, None if self.transfer(name) is None else name)

    def transfer(self, name: str, cache_key: str | None = None) -> Any:
        """Ask for the file to be moved; return what 0.8 got from Celery. ``cache_key`` is taken and not needed."""
        if name.startswith(self._inner) and self.state(name) is None:
            raise ConfigurationError(
                f"{name!r} lies where the other storage of this {type(self).__name__} keeps its files: one of the two "
                "is inside the other. Give each a folder, bucket or prefix of its own."
            )
        super().transfer(name)
        return TransferResult(self, name)

    @property
    def result(self) -> TransferResult | None:
        """What became of the last save of this thread; None where nothing was asked for."""
        return last_result(self)

    def get_cache_key(self, name: str) -> str:
        """Return 0.8's key of the file; nothing is kept under it any more."""
        return f"{self.cache_prefix}_{quote(name)}"


QueuedStorage.local = _TierStorage("local", None, "local")
QueuedStorage.local_options = _TierOptions("local", None, "local_options")
QueuedStorage.remote = _TierStorage("remote", None, "remote")
QueuedStorage.remote_options = _TierOptions("remote", None, "remote_options")


class _AskingSaver:
    """Saves, and asks what is to become of the file: both are committed, or neither."""

    def __init__(self, saver: Saver, ask: Callable[[str], None]) -> None:
        self._saver = saver
        self._ask = ask

    def save(self, name: str, content: File[Any], limit: int) -> str:
        with transaction.atomic(using=catalog.database()):
            saved = self._saver.save(name, content, limit)
            self._ask(saved)
        return saved

    def replace(self, name: str, content: File[Any]) -> None:
        with transaction.atomic(using=catalog.database()):
            self._saver.replace(name, content)
            self._ask(name)


class QueuedFileSystemStorage(QueuedStorage):
    """From this machine's disk to the remote that is named."""

    local = FILE_SYSTEM


class _QueuedRemote(QueuedFileSystemStorage):
    """From this machine's disk to a remote of one kind, which may be given as the first argument."""

    def __init__(self, remote: Any = None, local: Any = None, **kwargs: Any) -> None:
        super().__init__(local, remote, **kwargs)


class QueuedS3BotoStorage(_QueuedRemote):
    """To S3, which is reached by boto3 today."""

    remote = "storages.backends.s3.S3Storage"


class QueuedCouchDBStorage(_QueuedRemote):
    """To CouchDB."""

    remote = "queued_storage.contrib.storages.couchdb.CouchDBStorage"


class QueuedDatabaseStorage(_QueuedRemote):
    """To a database, by Django's ORM."""

    remote = "queued_storage.contrib.storages.database.DatabaseStorage"


class QueuedFTPStorage(_QueuedRemote):
    """To an FTP server."""

    remote = "storages.backends.ftp.FTPStorage"


class QueuedMogileFSStorage(_QueuedRemote):
    """To MogileFS."""

    remote = "queued_storage.contrib.storages.mogilefs.MogileFSStorage"


class QueuedGridFSStorage(_QueuedRemote):
    """To GridFS of MongoDB."""

    remote = "queued_storage.contrib.storages.gridfs.GridFSStorage"


class QueuedCloudFilesStorage(_QueuedRemote):
    """To OpenStack Swift, which Rackspace's Cloud Files became."""

    remote = "swift.storage.SwiftStorage"


class QueuedSFTPStorage(_QueuedRemote):
    """To an SFTP server."""

    remote = "storages.backends.sftpstorage.SFTPStorage"
