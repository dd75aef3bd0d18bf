"""Directives that write the reference from the code: settings, policies, signals, checks, metrics and commands."""

from __future__ import annotations

import argparse
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import rst
import tables
from django.core.management import load_command_class
from docutils import nodes
from pydantic import TypeAdapter
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import queued_storage
from queued_storage import checks, conf, policies, schema, signals
from queued_storage.contrib.prometheus import collector, counters
from queued_storage.policies.registry import SHORT_NAMES

PACKAGE = Path(queued_storage.__file__).parent
REQUIRED = "must be given"


class Written(SphinxDirective):
    """Puts what a function writes into the page."""

    optional_arguments = 1
    has_content = False
    write: ClassVar[Callable[[str], Iterator[str]]]

    def run(self) -> list[nodes.Node]:
        argument = self.arguments[0] if self.arguments else ""
        lines = list(type(self).write(argument))
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def settings(_: str) -> Iterator[str]:
    told = rst.notes(conf, "QueuedStorageConf")
    for name in schema.GeneralSettings.model_fields:
        default = getattr(conf.QueuedStorageConf, name)
        setting = f"{schema.PREFIX}{name}"
        yield f".. confval:: {setting}"
        yield f"   :default: ``{_written(default)}``"
        yield ""
        yield f"   {rst.plain_to_rst(told[name])} Write {_as_code(schema._EXAMPLES[name])}."
        yield ""
        example = rst.block(f"{setting} = {tables.EXAMPLES.get(name, repr(default))}")
        yield from (f"   {line}" for line in example)


def keys(shape: str) -> Iterator[str]:
    """Write the keys of one of the schema's dicts."""
    model = getattr(schema, shape)
    told = rst.notes(schema, shape)
    for name, field in model.model_fields.items():
        default = REQUIRED if field.is_required() else _default(field)
        given = "It must be given." if default == REQUIRED else f"Default: ``{default}``."
        yield f'``"{name}"``'
        yield f"   {rst.plain_to_rst(told[name])}"
        yield ""
        yield f"   Write {_as_code(schema._EXAMPLES[name])}. {given}"
        yield ""


def _as_code(kind: str) -> str:
    """Return an example of the schema with what stands in quotes as code."""
    if kind.startswith('"') and ": " in kind:
        code, comma, rest = kind.partition(", ") if "{" not in kind else (kind, "", "")
        return f"``{code}``{comma}{rest}"
    return rst.plain_to_rst(kind)


def _default(field: Any) -> str:
    return _written(field.get_default(call_default_factory=True))


def _written(value: Any) -> str:
    if isinstance(value, timedelta):
        value = TypeAdapter(timedelta).dump_python(value, mode="json")
    return f'"{value}"' if isinstance(value, str) else repr(value)


def policy_table(_: str) -> Iterator[str]:
    short = {path: name for name, path in SHORT_NAMES.items()}
    for name in policies.__all__:
        policy = getattr(policies, name)
        if not (inspect.isclass(policy) and issubclass(policy, policies.Policy)) or inspect.isabstract(
            policy
        ):
            continue
        path = f"queued_storage.policies.{name}"
        yield from rst.heading(short.get(path, name), "-")
        yield f"``{path}``. {rst.plain_to_rst(inspect.getdoc(policy) or '')}"
        yield ""
        yield from rst.table(["option", "default", "meaning"], _options(policy))


def _options(policy: Any) -> Iterator[list[str]]:
    told: dict[str, str] = {}
    for ancestor in reversed(policy.__mro__):
        if issubclass(ancestor, policies.Policy):
            told |= rst.notes(import_module(ancestor.__module__), ancestor.__name__)
    for name, field in policy.model_fields.items():
        default = REQUIRED if field.is_required() else f"``{_written(field.default)}``"
        yield [f"``{name}``", default, rst.plain_to_rst(told.get(name) or _OPTIONS_OF_ANOTHER)]


#: Of Delayed: one comment stands above several.
_OPTIONS_OF_ANOTHER = "That option of the policy named in ``then``, set otherwise; None leaves it."


def signal_table(_: str) -> Iterator[str]:
    told = rst.notes(signals)
    rows = [
        [f"``{name}``", told[name], tables.ARGUMENTS[name] or "–"]
        for name in told
        if name in tables.ARGUMENTS
    ]
    yield from rst.table(["signal", "sent when", "further arguments"], rows)


def check_table(_: str) -> Iterator[str]:
    own_words = rst.checks_in_docstrings(checks)
    rows = []
    for identifier in sorted(rst.check_ids(PACKAGE)):
        meaning, advice = tables.CHECKS.get(identifier) or (
            own_words[identifier],
            "The hint says what to write.",
        )
        rows.append([f"``queued_storage.{identifier}``", meaning, advice])
    yield from rst.table(["id", "meaning", "what to do"], rows, "22 44 34")


def metrics(_: str) -> Iterator[str]:
    told = [(gauge, gauge._labelnames) for gauge in collector.CatalogCollector().describe()]
    told += [(metric.describe()[0], metric._labelnames) for metric in counters.ALL]
    for family, names in told:
        shown = f"{family.name}_total" if family.type == "counter" else family.name
        labels = ", ".join(f"``{name}``" for name in names) or "no labels"
        yield f"``{shown}``"
        yield f"   *{family.type}*, {labels}. {rst.plain_to_rst(family.documentation)}"
        yield ""


def commands(wanted: str) -> Iterator[str]:
    """Write the actions and options of the package's commands, or of one, as argparse knows them."""
    for module in pkgutil.iter_modules([str(PACKAGE / "management" / "commands")]):
        if wanted in ("", module.name):
            parser = load_command_class("queued_storage", module.name).create_parser("manage.py", module.name)
            yield from rst.heading(f"manage.py {module.name}", "-")
            yield rst.plain_to_rst(parser.description or "")
            yield ""
            yield from _parser(parser, f"manage.py {module.name}")


def _parser(parser: argparse.ArgumentParser, called: str) -> Iterator[str]:
    actions = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not actions:
        yield from rst.table(["argument", "meaning"], _arguments(parser))
    for action in actions:
        for name, sub in action.choices.items():
            yield from rst.heading(f"{called} {name}", "~")
            yield from (rst.plain_to_rst(inspect.cleandoc(sub.description or "")) + "\n").splitlines()
            yield ""
            yield from rst.table(["argument", "meaning"], _arguments(sub))


#: Of every Django command; they are Django's to describe.
_DJANGOS = {
    "help", "version", "verbosity", "settings", "pythonpath", "traceback", "no_color", "force_color", "skip_checks",
}  # fmt: skip


def _arguments(parser: argparse.ArgumentParser) -> Iterator[list[str]]:
    formatter = parser._get_formatter()
    for action in parser._actions:
        if action.dest in _DJANGOS:
            continue
        shown = ", ".join(action.option_strings) or (action.metavar or action.dest).__str__()
        if action.option_strings and action.nargs != 0:
            shown += f" {action.metavar or action.dest.upper()}"
        yield [f"``{shown}``", rst.plain_to_rst(formatter._expand_help(action)) if action.help else "–"]


def setup(app: Sphinx) -> dict[str, Any]:
    for name, write in {
        "queued-settings": settings,
        "queued-keys": keys,
        "queued-policies": policy_table,
        "queued-signals": signal_table,
        "queued-checks": check_table,
        "queued-metrics": metrics,
        "queued-commands": commands,
    }.items():
        app.add_directive(name, type(name, (Written,), {"write": staticmethod(write)}))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
