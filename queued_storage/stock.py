"""Whether a class does things in the way that is known of it, or in one of its own, which is respected."""

from __future__ import annotations

from functools import lru_cache


def has_stock(storage: object, method: str, path: str) -> bool:
    """Tell whether the method of the storage, or class of storages, is the one of the class at the path."""
    return _is_stock(storage if isinstance(storage, type) else type(storage), method, path)


@lru_cache(maxsize=1024)
def _is_stock(cls: type, method: str, path: str) -> bool:
    function = getattr(cls, method, None)
    return (
        f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}" == f"{path}.{method}"
    )
