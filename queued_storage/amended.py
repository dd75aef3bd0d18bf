"""Storage classes as a chain uses them: stock ones that say what is not so, without their lies.

A tier must tell a missing file from a server that cannot be asked, and a file that was deleted from one that was not.
What is amended of which class is told in ``knowledge``. Only methods that a class has from the stock class itself are
exchanged: what a project's subclass does is respected.

A ``save`` that is marked ``outside_chains`` is left out as well: it chooses a name, say, which a chain does itself.
"""

from __future__ import annotations

from typing import Any

from django.core.files.storage import Storage
from django.utils.module_loading import import_string

from . import knowledge


def amended(backend: type[Storage]) -> type[Storage]:
    """Return the class to make instances of: the backend itself, or a subclass of it without its lies."""
    ours = _amendments(backend) | _save_for_chains(backend)
    return type(backend.__name__, (backend,), ours | {"__module__": backend.__module__}) if ours else backend


def _amendments(backend: type[Storage]) -> dict[str, Any]:
    known = knowledge.known(backend)
    if not known.amendments:
        return {}
    stock = import_string(known.path)
    return {name: new for name, new in known.amendments.items() if _is_stock(backend, stock, name)}


def _save_for_chains(backend: type[Storage]) -> dict[str, Any]:
    saves = [vars(base)["save"] for base in backend.__mro__ if "save" in vars(base)]
    ours = next(save for save in saves if not getattr(save, "outside_chains", False))
    return {} if ours is saves[0] else {"save": ours}


def _is_stock(backend: type[Storage], stock: type[Storage], name: str) -> bool:
    return getattr(backend, name, None) is getattr(stock, name, None)
