"""``manage.py check``: the same mistakes as errors with an id, the setting's path and a hint."""

from __future__ import annotations

import configparser
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core import checks
from django.core.checks import CheckMessage
from django.core.files.storage import storages
from django.core.management import CommandError, call_command
from django.db import models
from django.test import override_settings
from django.test.utils import isolate_apps

from queued_storage import knowledge
from queued_storage.fields import QueuedFileField, QueuedImageField
from queued_storage.storage import TieredStorage

from tests.mistakes import DISK, MISTAKES, SHARED, STORAGES, Told, disk
from tests.test_schema import BUILD_MISTAKES, SECRET, SECRET_MISTAKES

WRONG_CHAIN = {"media": {"TIERS": {"x": {"BACKEND": DISK, "TIMEOUT": "5"}}}}
DISPATCHERS = (
    "Write 'queued_storage.dispatch.CeleryDispatcher', 'ImmediateDispatcher' or 'TasksDispatcher' from there."
)
NO_SUCH_CLASS = 'Module "queued_storage.dispatch" does not define a "CelleryDispatcher" attribute/class'
X_TIER = "QUEUED_STORAGE_TIERS['media']['TIERS']['x']"


def messages() -> list[CheckMessage]:
    return checks.run_checks(tags=["queued_storage"])


def told(message: CheckMessage) -> tuple[str, str, str | None]:
    return (str(message.id), message.msg, message.hint)


def test_sound_settings_pass() -> None:
    assert messages() == []


def test_checks_run_without_being_named() -> None:
    with override_settings(QUEUED_STORAGE_TIERS=WRONG_CHAIN):
        assert "queued_storage.E001" in {message.id for message in checks.run_checks(databases=[])}


@pytest.mark.parametrize(("wrong", "told_of"), MISTAKES)
class TestMistakes:
    def test_each_is_an_error_with_its_id_and_hint(self, wrong: Any, told_of: tuple[Told, ...]) -> None:
        with override_settings(STORAGES=STORAGES, **wrong):
            found = [message for message in messages() if message.id != "queued_storage.W005"]
        assert [told(message) for message in found] == [
            (each.id, f"{each.path}: {each.message}", each.hint) for each in told_of
        ]

    def test_each_stops_manage_py(self, wrong: Any, told_of: tuple[Told, ...]) -> None:
        with override_settings(STORAGES=STORAGES, **wrong), pytest.raises(CommandError) as caught:
            call_command("check", tags=["queued_storage"])
        assert all(f"({each.id}) {each.path}: {each.message}" in str(caught.value) for each in told_of)
        assert all(f"HINT: {each.hint}" in str(caught.value) for each in told_of)


#: Extras, the module of their backend, and a library that it cannot be imported without.
EXTRAS = [
    ("azure", "storages.backends.azure_storage", "azure.storage.blob"),
    ("couchdb", "queued_storage.contrib.storages.couchdb", "requests"),
    ("dropbox", "storages.backends.dropbox", "dropbox"),
    ("google", "storages.backends.gcloud", "google.cloud.storage"),
    ("gridfs", "queued_storage.contrib.storages.gridfs", "pymongo"),
    ("libcloud", "storages.backends.apache_libcloud", "libcloud"),
    ("mogilefs", "queued_storage.contrib.storages.mogilefs", "requests"),
    ("s3", "storages.backends.s3", "boto3"),
    ("sftp", "storages.backends.sftpstorage", "paramiko"),
    ("swift", "swift.storage", "swiftclient"),
    ("webdav", "queued_storage.contrib.storages.webdav", "requests"),
]


class TestStorages:
    """E005: what only shows when a storage is imported and built."""

    HINT = "Correct BACKEND or OPTIONS, or install what the backend needs."

    @staticmethod
    def chain(tiers: dict[str, Any]) -> dict[str, Any]:
        return {"media": {"TIERS": tiers, "POLICY": "delayed"}}

    @pytest.mark.parametrize(
        ("backend", "why"),
        [
            ("nowhere.Storage", "cannot be imported: No module named 'nowhere'"),
            ("Storage", "cannot be imported: Storage doesn't look like a module path"),
            (
                "storages.backends.s4.S4Storage",
                "cannot be imported: No module named 'storages.backends.s4'",
            ),
            (
                "django.core.files.storage.Disk",
                'cannot be imported: Module "django.core.files.storage" does not define a "Disk" attribute/class',
            ),
            (
                "django.core.files.storage.storages",
                "is not a storage. Name a subclass of django.core.files.storage.Storage.",
            ),
            ("builtins.dict", "is not a storage. Name a subclass of django.core.files.storage.Storage."),
        ],
    )
    def test_backend_must_lead_to_a_storage(self, backend: str, why: str) -> None:
        wrong = self.chain({"x": {"BACKEND": backend}})
        with override_settings(QUEUED_STORAGE_TIERS=wrong):
            assert [told(message) for message in messages()] == [
                ("queued_storage.E005", f"{X_TIER}['BACKEND']: {backend!r} {why}", self.HINT)
            ]

    @pytest.mark.parametrize(("extra", "module", "library"), EXTRAS)
    def test_missing_library_is_told_by_the_extra_that_brings_it(
        self, monkeypatch: pytest.MonkeyPatch, extra: str, module: str, library: str
    ) -> None:
        for name in [name for name in sys.modules if name == library or name.startswith(f"{library}.")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, library, None)
        for gone in (module, "queued_storage.contrib.storages.remote"):
            monkeypatch.delitem(sys.modules, gone, raising=False)
        (backend,) = (each.path for each in knowledge.registered() if each.path.startswith(f"{module}."))
        with override_settings(QUEUED_STORAGE_TIERS=self.chain({"x": {"BACKEND": backend}})):
            (message,) = messages()
        assert message.id == "queued_storage.E005"
        assert message.msg.endswith(f"not installed. Type: pip install 'django-queued-storage[{extra}]'")

    def test_every_extra_of_a_backend_is_one(self) -> None:
        setup = configparser.ConfigParser()
        setup.read(Path(__file__).parents[1] / "setup.cfg")
        extras = {each.extra for each in knowledge.registered()} - {""}
        assert extras == {extra for extra, *_ in EXTRAS}
        assert extras <= set(setup["options.extras_require"])

    def test_option_must_be_one_of_the_backend(self) -> None:
        wrong = self.chain({"x": {"BACKEND": DISK, "OPTIONS": {"lokation": "/srv"}}})
        with override_settings(QUEUED_STORAGE_TIERS=wrong):
            (message,) = messages()
        assert message.id == "queued_storage.E005"
        assert message.msg.startswith(f"{X_TIER}: the storage refuses its OPTIONS: TypeError:")
        assert "'lokation'" in message.msg
        assert message.hint == self.HINT

    def test_every_tier_of_every_chain_is_tried(self) -> None:
        wrong = {"BACKEND": "nowhere.Storage"}
        aliases = ("media", "papers")
        chains = {alias: self.chain({"disk": disk(alias), "x": wrong})["media"] for alias in aliases}
        with override_settings(QUEUED_STORAGE_TIERS=chains):
            assert [message.msg.split(":")[0] for message in messages()] == [
                f"QUEUED_STORAGE_TIERS['{alias}']['TIERS']['x']['BACKEND']" for alias in aliases
            ]

    def test_mistake_behind_an_alias_is_found(self) -> None:
        aliases = dict(STORAGES) | {"glacier": {"BACKEND": "nowhere.Storage"}}
        wrong = self.chain({"x": {"STORAGE": "glacier"}})
        with override_settings(STORAGES=aliases, QUEUED_STORAGE_TIERS=wrong):
            assert [message.id for message in messages()] == ["queued_storage.E005"]


class TestG10OptionsAreNeverShown:
    @pytest.mark.parametrize("tier", [*SECRET_MISTAKES, *BUILD_MISTAKES])
    def test_g10_by_a_check(self, tier: Any) -> None:
        with override_settings(QUEUED_STORAGE_TIERS={"media": {"TIERS": {"x": tier}}}):
            found = messages()
        assert found
        assert SECRET not in "".join(
            f"{message}{message!r}{message.hint}{message.obj!r}" for message in found
        )


GENERAL = [
    ("RETRIES", -1, "should be greater than or equal to 0.", "a whole number of retries, 0 or more"),
    ("RETRIES", "5", "is not a whole number.", "a whole number of retries, 0 or more"),
    ("RETRIES", 2.5, "is not a whole number.", "a whole number of retries, 0 or more"),
    ("RETRIES", True, "is not a whole number.", "a whole number of retries, 0 or more"),
    ("RETRY_DELAY", -1, "should be greater than or equal to 0.", "a number of seconds, 0 or more"),
    ("RETRY_DELAY", "60", "is not a number.", "a number of seconds, 0 or more"),
    ("RETRY_MAX_DELAY", None, "is not a number.", "a number of seconds, 0 or more"),
    ("CACHE_PREFIX", 3, "is not a text.", "a text"),
    ("CACHE", None, "is not a text.", "an alias of CACHES"),
    ("DISPATCHER", None, "is not a text.", "the dotted path of a dispatcher class"),
    ("QUEUE", 3, "is not a text.", "the name of a queue, or None"),
    ("LEASE", 0, "should be greater than 0.", "a number of seconds above 0"),
    ("LEASE", float("inf"), "should be a finite number.", "a number of seconds above 0"),
    ("DEADLINE", 0, "should be greater than 0.", "a number of seconds above 0"),
    ("DEADLINE", None, "is not a number.", "a number of seconds above 0"),
    ("DOWN_FOR", -1, "should be greater than or equal to 0.", "a number of seconds, 0 or more"),
    ("SWEEP_INTERVAL", 0, "should be greater than 0.", "a number of seconds above 0, or None"),
    ("SWEEP_INTERVAL", "60", "is not a number.", "a number of seconds above 0, or None"),
    ("BATCH", 0, "should be greater than or equal to 1.", "a whole number of files, 1 or more"),
    ("BATCH", "100", "is not a whole number.", "a whole number of files, 1 or more"),
    ("THREADS", 0, "should be greater than or equal to 1.", "a whole number of threads, 1 or more"),
    ("FAST_PATHS", "no", "is neither True nor False.", "True or False"),
    ("HISTORY", -1, "should be greater than or equal to 0.", "a number of days, 0 or more"),
    ("HISTORY", "a week", "is not a number.", "a number of days, 0 or more"),
]


class TestOtherSettings:
    @pytest.mark.parametrize(("name", "value", "why", "write"), GENERAL)
    def test_wrong_value_is_told(self, name: str, value: Any, why: str, write: str) -> None:
        with override_settings(**{f"QUEUED_STORAGE_{name}": value}):
            assert [told(message) for message in messages()] == [
                ("queued_storage.E006", f"QUEUED_STORAGE_{name}: {why}", f"Write {write}.")
            ]

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("RETRIES", 0), ("RETRY_DELAY", 0), ("RETRY_DELAY", 0.5), ("QUEUE", "files"), ("QUEUE", None),
            ("LEASE", 60), ("DEADLINE", 0.2), ("DOWN_FOR", 0), ("SWEEP_INTERVAL", None), ("SWEEP_INTERVAL", 5),
            ("BATCH", 1), ("FAST_PATHS", False), ("HISTORY", 0), ("CACHE_PREFIX", ""),
            ("DISPATCHER", "queued_storage.dispatch.ImmediateDispatcher"),
            ("DISPATCHER", "queued_storage.dispatch.TasksDispatcher"),
        ],
    )  # fmt: skip
    def test_sound_value_passes(self, name: str, value: Any) -> None:
        with override_settings(**{f"QUEUED_STORAGE_{name}": value}):
            assert messages() == []

    @pytest.mark.parametrize(
        ("path", "why"),
        [
            (
                "queued_storage.dispatch.CelleryDispatcher",
                f"cannot be imported: {NO_SUCH_CLASS}.",
            ),
            ("CeleryDispatcher", "cannot be imported: CeleryDispatcher doesn't look like a module path."),
            ("queued_storage.storage.TieredStorage", "has no dispatch() method."),
        ],
    )
    def test_dispatcher_must_be_one(self, path: str, why: str) -> None:
        with override_settings(QUEUED_STORAGE_DISPATCHER=path):
            assert [told(message) for message in messages()] == [
                ("queued_storage.E006", f"QUEUED_STORAGE_DISPATCHER: {path!r} {why}", DISPATCHERS)
            ]

    def test_cache_must_be_an_alias(self) -> None:
        with override_settings(QUEUED_STORAGE_CACHE="defualt"):
            assert [told(message) for message in messages()] == [
                (
                    "queued_storage.E006",
                    "QUEUED_STORAGE_CACHE: CACHES has no 'defualt'.",
                    "Did you mean 'default'?",
                )
            ]

    @pytest.mark.parametrize(
        ("name", "hint"),
        [
            ("QUEUED_STORAGE_RETRYS", "Did you mean 'QUEUED_STORAGE_RETRIES'?"),
            ("QUEUED_STORAGE_TIER", "Did you mean 'QUEUED_STORAGE_TIERS'?"),
            ("QUEUED_STORAGE_POLICY", "Did you mean 'QUEUED_STORAGE_POLICIES'?"),
        ],
    )
    def test_unknown_name_is_a_warning(self, name: str, hint: str) -> None:
        with override_settings(**{name: 1}):
            assert [told(message) for message in messages()] == [
                ("queued_storage.W001", f"{name}: not a setting of this package.", hint)
            ]

    def test_all_are_told_at_once(self) -> None:
        wrong = {"QUEUED_STORAGE_RETRIES": -1, "QUEUED_STORAGE_CACHE": "x", "QUEUED_STORAGE_BACTH": 3}
        with override_settings(QUEUED_STORAGE_TIERS=WRONG_CHAIN, **wrong):
            found = {message.id for message in messages()}
        assert found == {"queued_storage.E001", "queued_storage.E006", "queued_storage.W001"}


class TestFields:
    """E007: fields that name a chain or a policy which the settings do not have."""

    @staticmethod
    def check(field: models.Field[Any, Any]) -> list[tuple[str, str, str | None]]:
        from queued_storage.checks import check_fields

        with isolate_apps("tests.testapp") as apps:
            type("Thing", (models.Model,), {"__module__": __name__, "file": field, "Meta": _meta()})
            return [told(message) for message in check_fields(apps.get_app_configs())]

    HINT = "Correct the field's storage or policy, or add it to the settings."

    @pytest.mark.parametrize("kind", [QueuedFileField, QueuedImageField])
    def test_sound_field_passes(self, kind: Any) -> None:
        assert self.check(kind(storage="media", policy="delayed")) == []

    def test_w003_policy_on_a_chain_without_one(self) -> None:
        media = {"TIERS": {"disk": disk(), "vault": disk("b")}, "POLICY": None}
        with override_settings(QUEUED_STORAGE_TIERS={"media": media}):
            ((identifier, message, hint),) = self.check(QueuedFileField(storage="media", policy="transfer"))
        assert identifier == "queued_storage.W003"
        assert message.startswith("QUEUED_STORAGE_TIERS['media'] has POLICY None, but this field moves files")
        assert hint is not None
        assert '"delayed"' in hint

    def test_field_of_another_storage_passes(self) -> None:
        assert self.check(models.FileField(storage=storages["default"])) == []

    @pytest.mark.parametrize("kind", [QueuedFileField, QueuedImageField])
    def test_unknown_chain(self, kind: Any) -> None:
        message = "QUEUED_STORAGE_TIERS has no chain 'meida'. Did you mean 'media'?"
        assert self.check(kind(storage="meida")) == [("queued_storage.E007", message, self.HINT)]

    @pytest.mark.parametrize("kind", [QueuedFileField, QueuedImageField])
    def test_unknown_policy(self, kind: Any) -> None:
        message = "QUEUED_STORAGE_TIERS['media']: there is no policy 'transfr'. Did you mean 'transfer'?"
        assert self.check(kind(storage="media", policy="transfr")) == [
            ("queued_storage.E007", message, self.HINT)
        ]

    def test_unknown_chain_of_a_plain_field(self) -> None:
        message = "QUEUED_STORAGE_TIERS has no chain 'meida'. Did you mean 'media'?"
        assert self.check(models.FileField(storage=TieredStorage("meida"))) == [
            ("queued_storage.E007", message, self.HINT)
        ]

    def test_policy_that_does_not_fit_the_chain(self, settings: Any) -> None:
        options = {"to": ["glacier"]}
        settings.QUEUED_STORAGE_POLICIES = {"cold": {"BACKEND": "transfer", "OPTIONS": options}}
        message = "QUEUED_STORAGE_TIERS['media']: 'to' names no tier of the chain: 'glacier'. Known: 'vault'."
        assert self.check(QueuedFileField(storage="media", policy="cold")) == [
            ("queued_storage.E007", message, self.HINT)
        ]

    def test_message_names_the_field(self) -> None:
        from tests.testapp.models import Document

        with override_settings(QUEUED_STORAGE_TIERS={"papers": {"TIERS": {"disk": disk()}}}):
            (message, *_) = [each for each in messages() if each.obj is Document._meta.get_field("file")]
        assert message.id == "queued_storage.E007"
        assert str(message).startswith("testapp.Document.file: (queued_storage.E007)")

    def test_wrong_chain_is_told_once_not_by_each_field(self) -> None:
        with override_settings(QUEUED_STORAGE_TIERS=WRONG_CHAIN):
            assert [message.id for message in messages()] == ["queued_storage.E001"]


def _meta() -> type:
    return type("Meta", (), {"app_label": "testapp"})


@pytest.mark.parametrize(("wrong", "told_of"), SHARED)
def test_w002_two_chains_that_write_to_one_place(wrong: Any, told_of: tuple[Told, ...]) -> None:
    with override_settings(STORAGES=STORAGES, **wrong):
        found = [message for message in messages() if message.id == told_of[0].id]
    assert [told(message) for message in found] == [
        (each.id, f"{each.path}: {each.message}", each.hint) for each in told_of
    ]
    assert not any(message.is_serious() for message in found)
