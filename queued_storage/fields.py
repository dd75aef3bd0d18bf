"""Model fields whose storage is a chain by alias, and whose files know where they lie."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from typing import TYPE_CHECKING, Any, Self, overload

from django.core.files.base import File
from django.core.files.storage import Storage
from django.db.models import FileField, ImageField
from django.db.models.fields.files import FieldFile, ImageFieldFile

from . import former
from .exceptions import ConfigurationError
from .prefetching import prefetch_tiers
from .saving import saving_for
from .storage import TieredStorage

if TYPE_CHECKING:
    from django.db.models import Model
    from django.db.models.fields.files import FileDescriptor, ImageFileDescriptor

__all__ = [
    "QueuedFieldFile",
    "QueuedFileField",
    "QueuedImageField",
    "QueuedImageFieldFile",
    "prefetch_tiers",
]


class QueuedFieldFile(FieldFile):
    """A field's file that tells where it lies, and can ask to be moved."""

    storage: Any

    @property
    def tier(self) -> str | None:
        """Name of the tier that would answer a read; None for a missing file."""
        return self.storage.tier(self.name) if self else None

    @property
    def tiers(self) -> list[str]:
        """Names of all tiers that hold a verified copy."""
        return self.storage.tiers(self.name) if self else []

    @property
    def state(self) -> str | None:
        """ "settled", "pending" or "failed"; None for a file that the catalog does not know."""
        return self.storage.state(self.name) if self else None

    def transfer(self) -> Any:
        """Ask for the file to be brought where its policy wants it; return what the storage does."""
        self._require_file()  # type: ignore[attr-defined]
        return self.storage.transfer(self.name)

    def save(self, name: str, content: File[Any], save: bool = True) -> None:
        field = self.field
        with saving_for(field.model._meta.label, field.name):
            super().save(name, content, save)


class QueuedImageFieldFile(QueuedFieldFile, ImageFieldFile):
    """A field's image that tells where it lies."""


class QueuedFileField(FileField):
    """A FileField that takes its storage by the alias of a chain, and may name a policy of its own.

    ``storage`` may also be what Django's field takes. Migrations hold alias and policy, nothing else.
    """

    attr_class = QueuedFieldFile

    if TYPE_CHECKING:  # what an instance has in its attribute is what FileDescriptor makes, of attr_class

        @overload  # type: ignore[override]
        def __get__(self, instance: None, owner: Any) -> FileDescriptor: ...
        @overload
        def __get__(self, instance: Model, owner: Any) -> QueuedFieldFile: ...
        @overload
        def __get__(self, instance: Any, owner: Any) -> Self: ...
        def __get__(self, instance: Any, owner: Any) -> Any: ...

    def __init__(
        self,
        verbose_name: str | None = None,
        name: str | None = None,
        upload_to: str | PathLike[str] | Callable[[Any, str], str | PathLike[str]] = "",
        storage: str | Storage | Callable[[], Storage] | None = None,
        policy: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.chain_alias = storage if isinstance(storage, str) else None
        self.policy = policy
        if isinstance(storage, str):
            storage = TieredStorage(storage, policy)
        super().__init__(verbose_name, name, upload_to=upload_to, storage=storage, **kwargs)
        if self.chain_alias is None and policy is not None:
            self.storage = self._with_policy(self.storage, policy)

    def _with_policy(self, storage: Storage, policy: str) -> TieredStorage:
        if not isinstance(storage, TieredStorage):
            raise ConfigurationError(
                f"policy={policy!r} needs a chain. Write storage='alias of a chain of QUEUED_STORAGE_TIERS'."
            )
        return storage.with_policy(policy)

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        if self.chain_alias is not None:
            kwargs["storage"] = self.chain_alias
        if self.policy is not None:
            kwargs["policy"] = self.policy
        return name, path, args, kwargs


class QueuedImageField(QueuedFileField, ImageField):
    """An ImageField on a chain, as QueuedFileField is a FileField on one."""

    attr_class = QueuedImageFieldFile
    descriptor_class = ImageField.descriptor_class

    if TYPE_CHECKING:

        @overload  # type: ignore[override]
        def __get__(self, instance: None, owner: Any) -> ImageFileDescriptor: ...
        @overload
        def __get__(self, instance: Model, owner: Any) -> QueuedImageFieldFile: ...
        @overload
        def __get__(self, instance: Any, owner: Any) -> Self: ...
        def __get__(self, instance: Any, owner: Any) -> Any: ...

    def __init__(
        self,
        verbose_name: str | None = None,
        name: str | None = None,
        width_field: str | None = None,
        height_field: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(verbose_name, name, width_field=width_field, height_field=height_field, **kwargs)


__getattr__ = former.names(
    __name__, {f"Remote{kind}": f"{__name__}.Queued{kind}" for kind in ("FileField", "FieldFile")}
)
