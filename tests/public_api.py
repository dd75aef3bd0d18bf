"""What projects may import, with its signature: ``python -m tests.public_api`` writes it to public_api.txt.

A test compares both, so that a change of the interface is seen, and told in the changelog.
"""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LISTED = Path(__file__).with_name("public_api.txt")
#: The modules whose public names are the interface (docs/reference/api.rst), beside the settings and the commands.
MODULES = [
    "queued_storage.backend",
    "queued_storage.backends",
    "queued_storage.dispatch",
    "queued_storage.exceptions",
    "queued_storage.fields",
    "queued_storage.models",
    "queued_storage.policies",
    "queued_storage.signals",
    "queued_storage.storage",
    "queued_storage.tasks",
    "queued_storage.testing",
    "queued_storage.urls",
    "queued_storage.views",
]


def told() -> str:
    return "".join(f"{line}\n" for module in MODULES for line in lines(importlib.import_module(module)))


def lines(module: Any) -> Iterator[str]:
    for name in sorted(public_names(module)):
        thing = getattr(module, name)
        yield f"{module.__name__}.{name}{shape(thing)}"
        if inspect.isclass(thing):
            yield from (f"{module.__name__}.{name}.{member}" for member in own_members(thing))


def public_names(module: Any) -> Iterator[str]:
    """Those of ``__all__``, or what the module itself defines, and nothing that it imports."""
    if hasattr(module, "__all__"):
        yield from module.__all__
        return
    for name, thing in vars(module).items():
        of_package = str(getattr(thing, "__module__", module.__name__)).startswith(module.__name__)
        is_import = inspect.ismodule(thing) or not of_package
        if not name.startswith("_") and not is_import and (callable(thing) or is_signal(thing)):
            yield name


def is_signal(thing: object) -> bool:
    from django.dispatch import Signal

    return isinstance(thing, Signal)


def own_members(cls: type) -> Iterator[str]:
    for name, member in sorted(vars(cls).items()):
        if name.startswith("_") and name != "__init__":
            continue
        if inspect.isfunction(member) and member.__module__.startswith("queued_storage"):
            yield f"{name}{parameters(member)}"
        elif isinstance(member, property | classmethod | staticmethod):
            yield name


def shape(thing: Any) -> str:
    if inspect.isclass(thing):
        bases = ", ".join(base.__name__ for base in thing.__bases__ if base is not object)
        return f": class({bases})"
    return parameters(thing) if inspect.isroutine(thing) else f": {type(thing).__name__}"


def parameters(function: Any) -> str:
    """Names, kinds and whether there is a default; not the types, which mypy looks after in tests/typing."""
    signature = inspect.signature(function)
    plain = [
        each.replace(
            annotation=inspect.Parameter.empty, default=each.default if each.default is each.empty else ...
        )
        for each in signature.parameters.values()
    ]
    text = str(signature.replace(parameters=plain, return_annotation=inspect.Signature.empty))
    return text.replace("=Ellipsis", "=…").replace(" = Ellipsis", "=…")


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.base_settings")
    import django

    django.setup()
    LISTED.write_text(told(), encoding="utf-8")
