"""Class paths and settings of former times: what a project that still has them is told to write."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.core.checks import CheckMessage, run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import DefaultStorage, Storage
from django.utils.module_loading import import_string

from queued_storage import conf, former
from queued_storage.backends import FILE_SYSTEM, IN_MEMORY, FallbackStorage, QueuedStorage
from queued_storage.storage import tiered_storages

from tests.testapp.models import Plain

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper

BOTO = "storages.backends.s3boto.S3BotoStorage"
BOTO_3 = "storages.backends.s3boto3.S3Boto3Storage"
TODAY = "storages.backends.s3.S3Storage"
WRITE = f"Write {TODAY!r}."
FALLBACK = "fallback_storage.storage.FallbackStorage"


def told() -> list[CheckMessage]:
    return run_checks(tags=["queued_storage"])


def as_texts(messages: list[CheckMessage]) -> list[tuple[str, str, str]]:
    return [(str(each.id).partition(".")[2], each.msg, str(each.hint)) for each in messages]


class TestTable:
    @pytest.mark.parametrize("path", sorted(set(former.SUCCESSORS.values())))
    def test_every_successor_is_there(self, path: str) -> None:
        assert issubclass(import_string(path), Storage)

    @pytest.mark.parametrize("path", [*former.SUCCESSORS, *former.WITHOUT_SUCCESSOR])
    def test_every_former_path_has_advice(self, path: str) -> None:
        assert former.advice(path).startswith("Write '")

    def test_no_successor_is_a_former_path_itself(self) -> None:
        assert not set(former.SUCCESSORS.values()) & set(former.SUCCESSORS)

    @pytest.mark.parametrize(
        "path",
        [
            FILE_SYSTEM, TODAY, "storages.backends.ftp.FTPStorage", "storages.backends.sftpstorage.SFTPStorage",
            "storages.backends.azure_storage.AzureStorage", "storages.backends.gcloud.GoogleCloudStorage",
            "queued_storage.backends.QueuedStorage", "app.storages.Mine",
        ],
    )  # fmt: skip
    def test_paths_of_today_have_none(self, path: str) -> None:
        assert former.advice(path) == ""

    def test_library_that_is_not_installed_is_not_called_gone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(path: str) -> None:
            raise ImproperlyConfigured("Could not load the bindings.")  # as django-storages does

        monkeypatch.setattr(former, "import_string", refuse)
        assert not former.is_gone(BOTO_3)


class TestSettings:
    """E008, W005: wherever in the settings a storage is named."""

    def test_tier(self, settings: SettingsWrapper) -> None:
        settings.QUEUED_STORAGE_TIERS = settings.QUEUED_STORAGE_TIERS | {
            "old": {"TIERS": {"s3": {"BACKEND": BOTO}}}
        }
        where = "QUEUED_STORAGE_TIERS['old']['TIERS']['s3']['BACKEND']"
        assert as_texts(told()) == [("E008", f"{where}: {BOTO!r} is gone.", WRITE)]

    def test_tier_by_an_alias_is_told_once(self, settings: SettingsWrapper) -> None:
        settings.STORAGES = settings.STORAGES | {"old": {"BACKEND": BOTO}}
        settings.QUEUED_STORAGE_TIERS = settings.QUEUED_STORAGE_TIERS | {
            "old": {"TIERS": {"s3": {"STORAGE": "old"}}}
        }
        assert as_texts(told()) == [("E008", f"STORAGES['old']['BACKEND']: {BOTO!r} is gone.", WRITE)]

    def test_options_of_a_storage(self, settings: SettingsWrapper) -> None:
        options = {"local": FILE_SYSTEM, "remote": BOTO, "remote_options": {"secret_key": "swordfish"}}
        queued = {"BACKEND": "queued_storage.backends.QueuedStorage", "OPTIONS": options}
        settings.STORAGES = settings.STORAGES | {"old": queued}
        (message,) = told()
        assert message.msg == f"STORAGES['old']['OPTIONS']['remote']: {BOTO!r} is gone."
        assert "swordfish" not in str(message)

    def test_fallback_storages(self, settings: SettingsWrapper) -> None:
        settings.FALLBACK_STORAGES = (FILE_SYSTEM, BOTO, BOTO_3)
        assert as_texts(told()) == [
            ("E008", f"FALLBACK_STORAGES[1]: {BOTO!r} is gone.", WRITE),
            ("W005", f"FALLBACK_STORAGES[2]: {BOTO_3!r} has another name now.", WRITE),
        ]

    def test_default_storage_that_cannot_be_imported(
        self, settings: SettingsWrapper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.STORAGES = settings.STORAGES | {"default": {"BACKEND": FALLBACK}}
        monkeypatch.setattr(Plain._meta.get_field("file"), "storage", DefaultStorage())
        hint = "Write 'queued_storage.backends.FallbackStorage'."
        assert as_texts(told()) == [("E008", f"STORAGES['default']['BACKEND']: {FALLBACK!r} is gone.", hint)]

    def test_class_without_a_successor(self, settings: SettingsWrapper) -> None:
        path = "storages.backends.hashpath.HashPathStorage"
        settings.STORAGES = settings.STORAGES | {"old": {"BACKEND": path}}
        ((identifier, _, hint),) = as_texts(told())
        assert identifier == "E008"
        assert "upload_to" in hint

    @pytest.mark.parametrize(
        ("name", "alias"), [("DEFAULT_FILE_STORAGE", "default"), ("STATICFILES_STORAGE", "staticfiles")]
    )
    def test_setting_that_django_does_not_read_any_more(
        self, settings: SettingsWrapper, name: str, alias: str
    ) -> None:
        setattr(settings, name, BOTO)
        assert as_texts(told()) == [
            (
                "W006",
                f"{name} is not read since Django 5.1.",
                f"Write the class path into STORAGES['{alias}']['BACKEND'].",
            ),
            ("E008", f"{name}: {BOTO!r} is gone.", WRITE),
        ]

    @pytest.mark.parametrize("name", ["QueuedRemoteStorage", "S3Storage"])
    @pytest.mark.parametrize("module", ["backend", "storage"])
    @pytest.mark.filterwarnings("ignore:Import queued_storage:DeprecationWarning")
    def test_0_3s_names_work_and_are_told(self, settings: SettingsWrapper, module: str, name: str) -> None:
        settings.STORAGES = settings.STORAGES | {"old": {"BACKEND": f"queued_storage.{module}.{name}"}}
        ((identifier, _, hint),) = as_texts(told())
        assert identifier == "W005"
        assert "queued_storage.backends.Queued" in hint


class TestCacheKey:
    """0.3's QUEUED_STORAGE_CACHE_KEY."""

    def test_is_honoured_and_told(self, settings: SettingsWrapper) -> None:
        settings.QUEUED_STORAGE_CACHE_KEY = "mine_"
        assert conf.get("CACHE_PREFIX") == "mine_"
        assert QueuedStorage(FILE_SYSTEM, IN_MEMORY).cache_prefix == "mine_"
        assert as_texts(told()) == [
            ("W006", "QUEUED_STORAGE_CACHE_KEY is 0.3's name.", "Write QUEUED_STORAGE_CACHE_PREFIX.")
        ]

    def test_new_name_goes_before_it(self, settings: SettingsWrapper) -> None:
        settings.QUEUED_STORAGE_CACHE_KEY = "old"
        settings.QUEUED_STORAGE_CACHE_PREFIX = "new"
        assert conf.get("CACHE_PREFIX") == "new"

    def test_value_is_checked_as_that_of_the_new_name(self, settings: SettingsWrapper) -> None:
        settings.QUEUED_STORAGE_CACHE_KEY = 7
        assert "queued_storage.E006" in {message.id for message in told()}


class TestErrors:
    """Chains that cannot be built say it too."""

    def test_class_that_is_gone(self, settings: SettingsWrapper) -> None:
        settings.QUEUED_STORAGE_TIERS = {"media": {"TIERS": {"s3": {"BACKEND": BOTO}}, "POLICY": None}}
        with pytest.raises(ImproperlyConfigured, match=rf"{BOTO!r} cannot be imported: .* {WRITE}"):
            tiered_storages["media"].chain.first.storage  # noqa: B018

    def test_fallback_storage(self, settings: SettingsWrapper) -> None:
        settings.FALLBACK_STORAGES = (FILE_SYSTEM, BOTO)
        with pytest.raises(ImproperlyConfigured, match=WRITE):
            FallbackStorage().chain["S3BotoStorage"].storage  # noqa: B018

    @pytest.mark.parametrize(
        ("missing", "hint"),
        [
            ("storages.backends.s3boto", WRITE),
            ("fallback_storage", "Write 'queued_storage.backends.FallbackStorage'."),
            ("boto", ""),
            ("storages", ""),
        ],
    )
    def test_module_behind_a_class_of_the_project(self, missing: str, hint: str) -> None:
        error = ModuleNotFoundError(f"No module named {missing!r}", name=missing)
        assert former.advice_on(error, "app.storages.Media") == hint


def test_options_under_a_name_that_still_works_are_tried(settings: SettingsWrapper) -> None:
    """The successor refuses those of its ancestor: E005 tells them, W005 the name."""
    disk = {"BACKEND": FILE_SYSTEM}
    s3 = {"BACKEND": BOTO_3, "OPTIONS": {"bucket": "media"}}
    settings.QUEUED_STORAGE_TIERS = {"media": {"TIERS": {"disk": disk, "s3": s3}, "POLICY": "transfer"}}
    assert sorted(message.id or "" for message in told()) == ["queued_storage.E005", "queued_storage.W005"]


class TestDeclaredInCode:
    """0.8's documentation names S3BotoStorage: such code runs on, and says what to write."""

    def test_successor_is_taken_with_a_warning(self) -> None:
        with pytest.warns(DeprecationWarning, match=rf"{BOTO!r} is gone\. {WRITE}") as caught:
            storage = QueuedStorage(FILE_SYSTEM, BOTO)
        assert caught[0].filename == __file__
        assert storage.remote_path == TODAY
        assert storage.alias == QueuedStorage(FILE_SYSTEM, TODAY).alias

    def test_class_without_a_successor_is_left_to_fail(self) -> None:
        storage = QueuedStorage(FILE_SYSTEM, "storages.backends.hashpath.HashPathStorage")
        with pytest.raises(ImproperlyConfigured, match="upload_to"):
            storage.remote  # noqa: B018

    def test_path_that_still_works_is_kept(self) -> None:
        assert QueuedStorage(FILE_SYSTEM, BOTO_3).remote_path == BOTO_3

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    @pytest.mark.parametrize("path", [BOTO, BOTO_3])
    def test_check_tells_of_the_field(self, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Plain._meta.get_field("file"), "storage", QueuedStorage(FILE_SYSTEM, path))
        (message,) = told()
        assert as_texts([message]) == [("W005", f"{path!r} has a successor.", WRITE)]
        assert message.obj is Plain._meta.get_field("file")

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_check_tells_of_0_3s_class(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from queued_storage.backend import S3Storage

        monkeypatch.setattr(Plain._meta.get_field("file"), "storage", S3Storage())
        (message,) = told()
        assert message.hint == "Write 'queued_storage.backends.QueuedS3BotoStorage'."
