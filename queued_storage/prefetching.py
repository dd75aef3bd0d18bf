"""Where the files of many model instances lie, looked up at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

from django.core.exceptions import FieldError
from django.db.models import FileField, Model, QuerySet, prefetch_related_objects
from django.db.models.constants import LOOKUP_SEP
from django.db.models.fields.files import FieldFile

from . import catalog, places
from .names import clean
from .storage import TieredStorage

if TYPE_CHECKING:
    from .models import StoredFile

AnyModel = TypeVar("AnyModel", bound=Model)
Rows = TypeVar("Rows", bound="QuerySet[Any, Any] | Sequence[Any]")


@overload
def prefetch_tiers(instances: Rows, *lookups: str) -> Rows: ...
@overload
def prefetch_tiers(instances: Iterable[AnyModel], *lookups: str) -> list[AnyModel]: ...
def prefetch_tiers(instances: Any, *lookups: str) -> Any:
    """Look up in the catalog, with one query for each chain, where the files of all these instances lie.

    ``instances`` is a queryset, which is evaluated, a page, a list or any other iterable; it is returned, as a list
    where its items cannot be had twice. A lookup is the name of a file field, or leads to one through relations
    ("author__photo"), which are prefetched too. Fields whose storage is no chain are left alone.
    """
    kept: Any = instances if isinstance(instances, QuerySet | Sequence) else list(instances)
    files = [file for lookup in lookups for file in _files(list(kept), lookup)]
    in_chains = [(file, storage) for file in files if (storage := _chain(file)) is not None]
    rows = _rows(in_chains)
    for file, storage in in_chains:
        file.storage = storage.knowing(rows[storage.alias])
    return kept


def _rows(files: Iterable[tuple[FieldFile, TieredStorage]]) -> dict[str, dict[str, StoredFile | None]]:
    names: dict[str, set[str]] = {}
    for file, storage in files:
        names.setdefault(storage.alias, set()).add(clean(file.name))
    return {alias: catalog.find_many(alias, of_chain) for alias, of_chain in names.items()}


def _chain(file: FieldFile) -> TieredStorage | None:
    """Return the file's storage, if that is a chain with a catalog."""
    storage = places.unwrapped(file.storage)
    return storage if isinstance(storage, TieredStorage) and storage.is_catalogued else None


def _files(instances: list[Model], lookup: str) -> Iterator[FieldFile]:
    """Yield the saved files of a field of the instances, or of others to which the lookup leads."""
    relations, _, name = lookup.rpartition(LOOKUP_SEP)
    for instance in _related(instances, relations) if relations else instances:
        field = instance._meta.get_field(name)
        if not isinstance(field, FileField):
            raise FieldError(
                f"{lookup!r} leads to a {type(field).__name__}; prefetch_tiers() needs a file field."
            )
        if field.attname in instance.get_deferred_fields():
            continue  # to load it costs more than what this saves
        file = getattr(instance, field.attname)
        if file and file._committed:
            yield file


def _related(instances: list[Model], relations: str) -> list[Any]:
    prefetch_related_objects(instances, relations)
    found: list[Any] = instances
    for relation in relations.split(LOOKUP_SEP):
        found = [each for instance in found for each in _ends(getattr(instance, relation, None))]
    return found


def _ends(value: Any) -> Iterable[Any]:
    """Return the instances that a relation leads to: those of a manager, one, or none."""
    if value is None:
        return ()
    return value.all() if hasattr(value, "all") else (value,)
