"""QueuedStorage: a chain that code declares is found again by every process."""

from __future__ import annotations

import os
import pickle
import runpy
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.core.management import call_command
from django.db.migrations.writer import MigrationWriter
from django.utils.functional import SimpleLazyObject, lazystr

from queued_storage import backends
from queued_storage.backends import FILE_SYSTEM, IN_MEMORY, QueuedStorage
from queued_storage.chain import chains
from queued_storage.exceptions import ConfigurationError
from queued_storage.testing import run_owed_work

from tests.compat import tasks
from tests.compat.declarations import (
    GUARDED,
    SECRET,
    DiskToVault,
    Place,
    Region,
    make_rich,
    with_password,
)
from tests.compat.folders import put, read
from tests.support.projects import CHECKOUT
from tests.testapp.models import Plain


class Opaque:
    def method(self) -> None:
        """Belong to an object."""


CONTRIB = "queued_storage.contrib.storages"


class TestDeclaration:
    def test_class_attributes_are_paths_on_the_class_and_storages_on_instances(self) -> None:
        assert DiskToVault.local == FILE_SYSTEM
        assert isinstance(DiskToVault().local, FileSystemStorage)
        assert DiskToVault().remote.password == SECRET

    def test_arguments_go_before_class_attributes(self) -> None:
        storage = DiskToVault(remote=FILE_SYSTEM, remote_options={"location": "/other"}, delayed=True)
        assert storage.remote.location == "/other"
        assert storage.delayed

    def test_options_are_those_of_the_class_and_of_the_instance(self) -> None:
        assert DiskToVault.remote_options == {"location": "/nowhere/vault", "password": SECRET}
        assert DiskToVault().remote_options == DiskToVault.remote_options
        assert with_password(SECRET, "/vault").remote_options == {"location": "/vault", "password": SECRET}
        assert (QueuedStorage.local_options, with_password(SECRET).local_options) == (None, {})

    def test_first_argument_of_a_shortcut_is_its_remote(self) -> None:
        storage = backends.QueuedS3BotoStorage(GUARDED)
        assert (storage.local_path, storage.remote_path) == (FILE_SYSTEM, GUARDED)
        storage = backends.QueuedFTPStorage(GUARDED, IN_MEMORY)
        assert (storage.local_path, storage.remote_path) == (IN_MEMORY, GUARDED)
        assert backends.QueuedFileSystemStorage(IN_MEMORY, GUARDED).local_path == IN_MEMORY

    def test_own_shortcut_names_its_remote(self) -> None:
        class Vault(backends.QueuedS3BotoStorage):
            remote = GUARDED

        assert Vault().remote_path == GUARDED

    def test_storage_may_be_a_class(self) -> None:
        assert QueuedStorage(FileSystemStorage, GUARDED).local_path.endswith(".FileSystemStorage")

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"local": None}, "QueuedStorage needs local=, the dotted path"),
            ({"remote": FileSystemStorage()}, "QueuedStorage needs remote=, the dotted path"),
            ({"local_options": SECRET}, "QueuedStorage: the options of a storage are a dict"),
        ],
    )
    def test_mistake_is_told(self, given: dict[str, Any], message: str) -> None:
        with pytest.raises(ImproperlyConfigured, match=message) as caught:
            QueuedStorage(**{"local": FILE_SYSTEM, "remote": GUARDED} | given)
        assert SECRET not in str(caught.value)

    def test_g2_one_place_for_both_is_refused_before_anything_is_saved(self, tmp_path: Path) -> None:
        same = {"location": str(tmp_path)}
        with pytest.raises(ConfigurationError, match="are one storage"):
            QueuedStorage(FILE_SYSTEM, FILE_SYSTEM, same, same).save("a.txt", ContentFile(b"1"))
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("kind", "remote"),
        [
            (backends.QueuedS3BotoStorage, "storages.backends.s3.S3Storage"),
            (backends.QueuedFTPStorage, "storages.backends.ftp.FTPStorage"),
            (backends.QueuedSFTPStorage, "storages.backends.sftpstorage.SFTPStorage"),
            (backends.QueuedCloudFilesStorage, "swift.storage.SwiftStorage"),
            (backends.QueuedCouchDBStorage, f"{CONTRIB}.couchdb.CouchDBStorage"),
            (backends.QueuedDatabaseStorage, f"{CONTRIB}.database.DatabaseStorage"),
            (backends.QueuedGridFSStorage, f"{CONTRIB}.gridfs.GridFSStorage"),
            (backends.QueuedMogileFSStorage, f"{CONTRIB}.mogilefs.MogileFSStorage"),
        ],
    )
    def test_shortcut_names_a_remote_of_today(self, kind: type[QueuedStorage], remote: str) -> None:
        storage = kind()
        assert (storage.local_path, storage.remote_path) == (FILE_SYSTEM, remote)
        module, _, name = remote.rpartition(".")
        spec = find_spec(module)  # not imported: the client libraries are extras
        assert spec is not None
        assert f"class {name}(" in Path(str(spec.origin)).read_text()

    def test_system_check_tells_of_a_task_that_cannot_be_imported(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        storage = with_password(SECRET, task="app.tasks.Missing")
        monkeypatch.setattr(Plain._meta.get_field("file"), "storage", storage)
        told = [
            message for message in run_checks(tags=["queued_storage"]) if message.id == "queued_storage.E007"
        ]
        assert "task 'app.tasks.Missing' cannot be imported" in told[0].msg


class PerCustomer(backends.QueuedFileSystemStorage):
    """Sets on the instance what 0.8 read from there."""

    remote = GUARDED
    remote_options = {"location": "/nowhere/shared"}

    def __init__(self, customer: str, **given: Any) -> None:
        self.remote_options = {**self.remote_options, "location": f"/nowhere/{customer}", "password": SECRET}
        self.task = "queued_storage.tasks.TransferAndDelete"
        super().__init__(**given)


class TestSetOnTheInstance:
    def test_goes_before_the_class(self) -> None:
        acme, other = PerCustomer("acme"), PerCustomer("other")
        assert [each.remote.location for each in (acme, other)] == ["/nowhere/acme", "/nowhere/other"]
        assert acme.alias != other.alias
        assert PerCustomer.remote_options == {"location": "/nowhere/shared"}
        assert acme.policy == "transfer-and-delete"

    def test_path_as_well(self) -> None:
        class Own(QueuedStorage):
            def __init__(self) -> None:
                self.local, self.remote = IN_MEMORY, FileSystemStorage
                self.local_options = {"base_url": "/x/"}
                super().__init__()

        assert (Own().local_path, Own().local.base_url) == (IN_MEMORY, "/x/")
        assert isinstance(Own().remote, FileSystemStorage)

    def test_argument_goes_before_it(self) -> None:
        assert PerCustomer("acme", remote_options={"location": "/given"}).remote.location == "/given"

    def test_g10_nothing_of_it_stays_there(self) -> None:
        storage = PerCustomer("acme")
        assert SECRET not in f"{vars(storage)!r} {pickle.dumps(storage)!r}"

    def test_later_is_refused(self) -> None:
        storage = PerCustomer("acme")
        with pytest.raises(ConfigurationError, match=r"Set it before super\(\).__init__\(\)") as caught:
            storage.remote_options = {"password": SECRET}
        assert SECRET not in str(caught.value)


class TestNestedPlaces:
    """One of the two inside the other: what is found there is not the outer one's."""

    @pytest.fixture
    def nested(self, make_queued: Callable[..., QueuedStorage], tmp_path: Path) -> QueuedStorage:
        put(tmp_path / "local/archive/moved.pdf", b"moved by 0.8")
        put(tmp_path / "local/waiting.pdf")
        return make_queued(
            remote_options={"location": str(tmp_path / "local/archive")},
            task="queued_storage.tasks.TransferAndDelete",
        )

    @pytest.mark.django_db(transaction=True)
    def test_g2_transfer_of_all_takes_nothing_from_the_remote(
        self, nested: QueuedStorage, tmp_path: Path
    ) -> None:
        call_command("tiers", "transfer", "--chain", nested.alias, stdout=StringIO())
        run_owed_work()
        assert read(nested, "moved.pdf") == b"moved by 0.8"
        assert {nested.state(name) for name in ("moved.pdf", "waiting.pdf")} == {"settled"}

    @pytest.mark.django_db(transaction=True)
    def test_g2_transfer_by_its_longer_name_is_refused(self, nested: QueuedStorage) -> None:
        with pytest.raises(ConfigurationError, match="one of the two is inside the other"):
            nested.transfer("archive/moved.pdf")

    def test_check_tells(self, nested: QueuedStorage) -> None:
        (message,) = [
            each for each in run_checks(tags=["queued_storage"]) if each.id == "queued_storage.W002"
        ]
        assert message.msg.startswith(
            f"Storage '{nested.alias}', which code declares, its 'remote': lies inside"
        )

    def test_check_tells_of_one_place_for_both(self, make_queued: Any, tmp_path: Path) -> None:
        make_queued(remote_options={"location": f"{tmp_path}/local/"})
        (message,) = [
            each for each in run_checks(tags=["queued_storage"]) if each.id == "queued_storage.E003"
        ]
        assert "is the same storage as tier 'local'" in message.msg

    def test_check_tells_of_a_place_that_a_chain_of_the_settings_has(
        self, make_queued: Any, make_chain: Any, tmp_path: Path
    ) -> None:
        make_chain({"local": "disk", "vault": "disk"})
        make_queued()
        told = [each.msg for each in run_checks(tags=["queued_storage"]) if each.id == "queued_storage.W002"]
        assert ["is the same storage as tier 'local' of chain 'media'" in each for each in told] == [True]


class TestMigrations:
    """What a migration holds does not change with the machine, unless code gave the options."""

    @pytest.mark.parametrize(
        ("given", "written"),
        [
            ({"delayed": True}, "tests.compat.test_backends.Shortcut(delayed=True)"),
            ({"task": "queued_storage.tasks.TransferAndDelete"},
             "tests.compat.test_backends.Shortcut(task='queued_storage.tasks.TransferAndDelete')"),
        ],
    )  # fmt: skip
    def test_harmless_arguments_of_a_shortcut_stay_with_the_class(
        self, given: dict[str, Any], written: str
    ) -> None:
        assert MigrationWriter.serialize(Shortcut(**given))[0] == written

    def test_options_among_them_do_not(self) -> None:
        storage = Shortcut(delayed=True, local_options={"location": "/x"})
        assert storage.deconstruct()[0] == "queued_storage.storage.TieredStorage"

    @pytest.fixture
    def migration(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], QueuedStorage]:
        """Build a storage with that password as a migration of 2015 does, which 0.8 wrote."""
        put(tmp_path / "shop/migrations/m0001.py", OLD_MIGRATION)
        monkeypatch.syspath_prepend(str(tmp_path))

        def run(password: str) -> QueuedStorage:
            monkeypatch.setenv("PASSWORD_OF_THEN", password)
            storage: QueuedStorage = runpy.run_module("shop.migrations.m0001")["storage"]
            return storage

        return run

    def test_password_of_then_does_not_count(self, migration: Callable[[str], QueuedStorage]) -> None:
        assert with_password("new-word").alias == migration("old-word").alias
        assert with_password("new-word").remote.password == "new-word"

    def test_password_of_now_goes_before_one_of_a_migration(
        self, migration: Callable[[str], QueuedStorage]
    ) -> None:
        migration("older-word")
        migration("old-word")
        assert with_password("new-word").remote.password == "new-word"

    def test_error_names_old_migrations(self) -> None:
        with_password("first-word")
        with pytest.raises(
            ConfigurationError, match=r"password of former times \(in an old migration, say\)"
        ):
            with_password("other-word")


OLD_MIGRATION = b"""
import os
from tests.compat.declarations import with_password
storage = with_password(os.environ["PASSWORD_OF_THEN"])
"""


class Shortcut(backends.QueuedS3BotoStorage):
    remote_options = {"bucket_name": "media"}


class TestFingerprint:
    @pytest.mark.parametrize("seed", ["0", "1", "random"])
    def test_is_the_same_in_another_process(self, seed: str) -> None:
        program = (
            "import django; django.setup()\n"
            "from pathlib import Path\n"
            "from tests.compat.declarations import make_rich; print(make_rich().alias)"
        )
        environment = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": str(CHECKOUT),
            "DJANGO_SETTINGS_MODULE": "tests.base_settings",
        }
        result = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
        )
        assert result.stdout.strip() == make_rich().alias, result.stderr

    def test_order_of_options_does_not_matter(self) -> None:
        one = QueuedStorage(FILE_SYSTEM, GUARDED, None, {"location": "/a", "url": "/b"})
        other = QueuedStorage(FILE_SYSTEM, GUARDED, None, {"url": "/b", "location": "/a"})
        assert one.alias == other.alias

    def test_another_place_is_another_chain(self) -> None:
        assert with_password(SECRET, "/a").alias != with_password(SECRET, "/b").alias

    def test_task_and_delay_are_no_other_chain(self) -> None:
        assert with_password(SECRET, delayed=True, task=tasks.copy).alias == with_password(SECRET).alias

    @pytest.mark.parametrize("given", ["password", "secret_key", "token", "url"])
    def test_new_credential_strands_nothing(self, given: str, monkeypatch: pytest.MonkeyPatch) -> None:
        texts = [f"ftp://me:{word}@host/" if given == "url" else word for word in ("old", "new")]
        old, new = (self.alias_in_a_new_process(monkeypatch, {given: text}) for text in texts)
        assert old == new

    @staticmethod
    def alias_in_a_new_process(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> str:
        with monkeypatch.context() as patch:
            patch.setattr("queued_storage.declaring._seen", {})
            patch.setattr(chains, "_declared", {})
            return QueuedStorage(FILE_SYSTEM, GUARDED, None, options).alias

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (Place("a"), Place("b")),
            (Region.NORTH, Region.SOUTH),
            (SimpleLazyObject(lambda: Place("a")), SimpleLazyObject(lambda: Place("b"))),
            (lazystr("a"), lazystr("b")),
            ([{Place("a")}], [{Place("b")}]),
            (Place, Region),
        ],
        ids=["dataclass", "enum", "lazy-object", "lazy-text", "nested", "class"],
    )
    def test_another_object_is_another_chain(self, one: Any, other: Any) -> None:
        first, again, second = (
            QueuedStorage(FILE_SYSTEM, GUARDED, None, {"location": each}) for each in (one, one, other)
        )
        assert first.alias == again.alias
        assert first.alias != second.alias

    def test_credential_in_an_object_strands_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        old, new = (
            self.alias_in_a_new_process(monkeypatch, {"place": Place("a", token=token)}) for token in "xy"
        )
        assert old == new

    @pytest.mark.parametrize(
        "opaque",
        [object(), lambda: None, Opaque().method, [{"x": Opaque()}]],
        ids=["object", "lambda", "method", "nested"],
    )  # fmt: skip
    def test_object_that_nothing_tells_from_others_is_refused(self, opaque: Any) -> None:
        with pytest.raises(ConfigurationError, match="nothing tells two of those apart in every process"):
            QueuedStorage(FILE_SYSTEM, GUARDED, None, {"location": opaque})

    def test_credential_may_be_any_object(self) -> None:
        first, second = (QueuedStorage(FILE_SYSTEM, GUARDED, None, {"token": Opaque()}) for _ in "12")
        assert first.alias == second.alias

    def test_two_that_differ_in_credentials_alone_are_refused(self) -> None:
        with_password("first-word")
        with pytest.raises(ConfigurationError, match="differ in nothing but credentials") as caught:
            with_password("other-word")
        assert "-word" not in str(caught.value)
