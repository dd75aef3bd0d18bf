"""The reference leaves nothing out that the code has, and has nothing that the code lacks."""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.dispatch import Signal

import queued_storage
from queued_storage import checks, conf, policies, schema, signals

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def extension(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a module of the docs' extension by its name; those named here need no Sphinx."""
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_ext"))
    for name in ("rst", "tables"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return import_module


def test_every_setting_is_described(extension: Any) -> None:
    described = extension("rst").notes(conf, "QueuedStorageConf")
    known = set(schema.GeneralSettings.model_fields)
    assert known == set(described), "write a '#:' comment above each setting in conf.py"
    assert known <= set(schema._EXAMPLES), "say in schema._EXAMPLES what to write"


def test_examples_of_settings_are_valid(extension: Any) -> None:
    examples = {
        name: eval(example, {})  # noqa: S307 - the docs' own table
        for name, example in extension("tables").EXAMPLES.items()
    }
    defaults = {name: conf.get(name) for name in schema.GeneralSettings.model_fields}
    schema.GeneralSettings.model_validate(defaults | examples)


@pytest.mark.parametrize("shape", ["ChainSettings", "TierSettings", "PolicySettings"])
def test_every_key_of_the_schema_is_described(extension: Any, shape: str) -> None:
    described = extension("rst").notes(schema, shape)
    assert set(getattr(schema, shape).model_fields) == set(described), "write a '#:' comment above the key"


def test_every_signal_is_described(extension: Any) -> None:
    named = {name for name, value in vars(signals).items() if isinstance(value, Signal)}
    assert set(extension("rst").notes(signals)) == named == set(extension("tables").ARGUMENTS)


def test_every_check_is_described(extension: Any) -> None:
    rst = extension("rst")
    ids = rst.check_ids(Path(queued_storage.__file__).parent)
    described = extension("tables").CHECKS
    assert set(described) <= ids, "these are none any more"
    assert ids <= {*described, *rst.checks_in_docstrings(checks)}, (
        "say in docs/_ext/tables.py what it means, or in the docstring of the check: 'W009: what is wrong.'"
    )
    assert {"E001", "E009", "W001", "W007"} <= ids  # the search finds those that are there


def test_every_option_of_a_policy_is_described(extension: Any) -> None:
    rst = extension("rst")
    for policy in vars(policies).values():
        if (
            not (inspect.isclass(policy) and issubclass(policy, policies.Policy))
            or policy is policies.Delayed
        ):
            continue  # of Delayed one comment stands above several
        described: set[str] = set()
        for ancestor in policy.__mro__:
            if issubclass(ancestor, policies.Policy):
                described |= set(rst.notes(import_module(ancestor.__module__), ancestor.__name__))
        assert set(policy.model_fields) <= described, f"write a '#:' comment above each option of {policy}"
