"""Model fields on a chain: what they tell, what they write into migrations, and how they live with Django."""

from __future__ import annotations

import copy
import io
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django import forms
from django.contrib.admin.sites import site
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import models
from django.db.migrations.writer import MigrationWriter
from django.test import Client, RequestFactory
from django.test.utils import isolate_apps
from PIL import Image

from queued_storage.fields import QueuedFieldFile, QueuedFileField, QueuedImageField, QueuedImageFieldFile
from queued_storage.models import StoredFile
from queued_storage.storage import TieredStorage, tiered_storages
from queued_storage.testing import run_owed_work

from tests.support import databases, recording
from tests.support.projects import Project
from tests.testapp.models import Document, Picture, Plain, media_storage

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "s3cr3t-Xy7"


@pytest.fixture(autouse=True)
def _work_when_told(settings: Any) -> None:
    settings.QUEUED_STORAGE_DISPATCHER = recording.PATH


@pytest.fixture
def chain(make_chain: Any) -> TieredStorage:
    storage: TieredStorage = make_chain()
    return storage


def upload(name: str = "a.txt", content: bytes = b"text") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content, "text/plain")


def png(width: int = 3, height: int = 2) -> SimpleUploadedFile:
    data = io.BytesIO()
    Image.new("RGB", (width, height)).save(data, "PNG")
    return SimpleUploadedFile("p.png", data.getvalue(), "image/png")


def read(file: Any) -> bytes:
    with file.open("rb") as opened:
        return bytes(opened.read())


def model_with(**fields: Any) -> Any:
    """Return a model with these fields, known to nobody else."""
    meta = type("Meta", (), {"app_label": "testapp"})
    with isolate_apps("tests.testapp"):
        return type("Thing", (models.Model,), {"__module__": __name__, "Meta": meta, **fields})


class TestWhereAFileLies:
    @pytest.fixture
    def file(self, chain: TieredStorage) -> Any:
        return Document.objects.create(file=upload()).file

    def test_field_files_are_of_their_kind(self) -> None:
        assert isinstance(Document().file, QueuedFieldFile)
        assert isinstance(Picture().image, QueuedImageFieldFile)

    def test_saved(self, file: Any) -> None:
        assert (file.tier, file.tiers, file.state) == ("disk", ["disk"], "pending")

    def test_settled(self, file: Any) -> None:
        run_owed_work()
        assert (file.tier, file.tiers, file.state) == ("disk", ["disk", "vault"], "settled")

    def test_moved(self, make_chain: Any) -> None:
        make_chain(policy="transfer-and-delete")
        file = Document.objects.create(file=upload()).file
        run_owed_work()
        assert (file.tier, file.tiers, file.state) == ("vault", ["vault"], "settled")
        assert read(Document.objects.get().file) == b"text"

    def test_empty_field_is_nowhere(self) -> None:
        file = Document().file
        assert (file.tier, file.tiers, file.state) == (None, [], None)

    def test_file_that_nobody_knows_is_nowhere(self, chain: TieredStorage) -> None:
        file = Document(file="documents/lost.txt").file
        assert (file.tier, file.tiers, file.state) == (None, [], None)

    def test_file_from_before_lies_where_it_is_found(self, chain: TieredStorage) -> None:
        chain.chain["vault"].storage.save("documents/old.txt", ContentFile(b"old"))
        file = Document(file="documents/old.txt").file
        assert (file.tier, file.tiers, file.state) == ("vault", [], None)

    def test_transfer_asks_for_the_move(self, chain: TieredStorage) -> None:
        picture = Picture.objects.create(image=png())  # its policy is "delayed"
        assert picture.image.state == "settled"
        picture.image.transfer()
        assert picture.image.state == "pending"
        run_owed_work()
        assert (picture.image.tiers, picture.image.state) == (["disk", "vault"], "settled")

    def test_transfer_of_a_settled_file_does_nothing(self, file: Any) -> None:
        run_owed_work()
        file.transfer()
        assert file.state == "settled"

    def test_transfer_of_no_file_is_djangos_error(self) -> None:
        with pytest.raises(ValueError, match="has no file associated with it"):
            Document().file.transfer()

    def test_transfer_of_a_lost_file_is_told(self, chain: TieredStorage) -> None:
        with pytest.raises(FileNotFoundError):
            Document(file="documents/lost.txt").file.transfer()

    def test_transfer_on_a_chain_without_policy_is_told(self, make_chain: Any) -> None:
        make_chain(policy=None)
        file = Document.objects.create(file=upload()).file
        with pytest.raises(ImproperlyConfigured, match=r"QUEUED_STORAGE_TIERS\['media'\]\['POLICY'\]"):
            file.transfer()

    def test_row_knows_model_and_field(self, file: Any) -> None:
        row = StoredFile.objects.get()
        assert (row.model, row.field) == ("testapp.Document", "file")
        assert row.instance() == Document.objects.get()


class TestPolicyOfAField:
    @pytest.mark.parametrize(
        ("policy", "tiers"),
        [
            (None, ["disk", "vault"]),  # the chain's own: transfer
            ("transfer-and-delete", ["vault"]),
            ("delayed", ["disk"]),
            ("queued_storage.policies.TransferAndDelete", ["vault"]),
            ("cold", ["disk"]),  # not before 30 days are over
        ],
    )
    @pytest.mark.parametrize("kind", [QueuedFileField, QueuedImageField])
    def test_decides_where_its_files_go(
        self, chain: TieredStorage, settings: Any, kind: Any, policy: str | None, tiers: list[str]
    ) -> None:
        options = {"after": "P30D"}
        settings.QUEUED_STORAGE_POLICIES = {"cold": {"BACKEND": "transfer", "OPTIONS": options}}
        thing = model_with(file=kind(storage="media", policy=policy))()
        thing.file.save("p.png", png(), save=False)
        run_owed_work()
        assert thing.file.tiers == tiers

    def test_goes_with_a_storage_given_itself(self) -> None:
        field = QueuedFileField(storage=tiered_storages["media"], policy="delayed")
        assert field.storage == TieredStorage("media", "delayed")

    def test_goes_with_a_callable(self) -> None:
        assert QueuedFileField(storage=media_storage, policy="delayed").storage == TieredStorage(
            "media", "delayed"
        )

    def test_goes_with_no_storage_that_is_no_chain(self) -> None:
        with pytest.raises(ImproperlyConfigured, match="policy='delayed' needs a chain"):
            QueuedFileField(storage=FileSystemStorage("/nowhere"), policy="delayed")

    def test_two_fields_of_one_chain_see_each_others_files(self, chain: TieredStorage) -> None:
        own, other = QueuedFileField(storage="media", policy="delayed"), QueuedFileField(storage="media")
        name = own.storage.save("a.txt", upload())
        assert other.storage.exists(name)
        assert other.storage.save("a.txt", upload()) != name


class TestPlainFields:
    """Django's own FileField on a chain."""

    @pytest.mark.parametrize("field", ["file", "lazy"])
    def test_saves_and_reads_through_the_chain(self, make_chain: Any, field: str) -> None:
        make_chain(policy="transfer-and-delete")
        Plain.objects.create(**{"file": upload("x.txt"), field: upload("y.txt")})
        run_owed_work()
        file = getattr(Plain.objects.get(), field)
        assert (read(file), file.storage.tiers(file.name)) == (b"text", ["vault"])

    def test_callable_is_evaluated_by_django(self) -> None:
        assert Plain._meta.get_field("lazy").storage == TieredStorage("media")

    @pytest.fixture
    def as_default(self, chain: TieredStorage, settings: Any) -> None:
        backend = "queued_storage.storage.TieredStorage"
        settings.STORAGES = {
            **settings.STORAGES,
            "default": {"BACKEND": backend, "OPTIONS": {"alias": "media"}},
        }

    @pytest.mark.usefixtures("as_default")
    def test_default_storage_is_the_chain(self) -> None:
        name = default_storage.save("a.txt", upload())
        run_owed_work()
        assert default_storage.tiers(name) == ["disk", "vault"]

    @pytest.mark.usefixtures("as_default")
    def test_field_without_a_storage_takes_the_default(self) -> None:
        thing = model_with(file=models.FileField())()
        thing.file.save("a.txt", upload(), save=False)
        run_owed_work()
        assert TieredStorage("media").state(thing.file.name) == "settled"

    @pytest.mark.usefixtures("as_default")
    def test_queued_field_without_a_storage_tells_where_its_file_lies(self) -> None:
        thing = model_with(file=QueuedFileField())()
        thing.file.save("a.txt", upload(), save=False)
        assert (thing.file.tier, thing.file.state) == ("disk", "pending")

    @pytest.mark.usefixtures("as_default")
    def test_default_storage_may_have_a_policy_of_its_own(self, settings: Any) -> None:
        options = {"alias": "media", "policy": "delayed"}
        backend = "queued_storage.storage.TieredStorage"
        settings.STORAGES = {**settings.STORAGES, "default": {"BACKEND": backend, "OPTIONS": options}}
        assert default_storage.state(default_storage.save("a.txt", upload())) == "settled"


FIELDS: list[Callable[[], models.FileField]] = [
    lambda: QueuedFileField(storage="media"),
    lambda: QueuedFileField("words", "file", "up", "media", "delayed"),
    lambda: QueuedFileField(storage="media", upload_to="up/%Y", max_length=300, blank=True),
    lambda: QueuedFileField(storage=tiered_storages["media"], policy="delayed"),
    lambda: QueuedFileField(storage=media_storage),
    lambda: QueuedFileField(storage=media_storage, policy="delayed"),
    QueuedFileField,
    lambda: QueuedImageField(storage="media"),
    lambda: QueuedImageField(storage="media", policy="delayed", width_field="w", height_field="h"),
    lambda: models.FileField(storage=tiered_storages["media"]),
    lambda: models.FileField(storage=TieredStorage("media", policy="delayed")),
    lambda: models.ImageField(storage=media_storage),
]


class TestDeconstruction:
    @pytest.mark.parametrize("make", FIELDS)
    def test_field_made_from_its_parts_is_the_same(self, make: Any) -> None:
        field = make()
        _, _, arguments, options = field.deconstruct()
        again = type(field)(*arguments, **options)
        assert again.deconstruct()[2:] == (arguments, options)
        assert again.storage == field.storage

    @pytest.mark.parametrize("make", FIELDS)
    def test_clone_has_the_storage_and_policy(self, make: Any) -> None:
        field = make()
        assert field.clone().storage == field.storage
        assert copy.deepcopy(field).storage == field.storage

    @pytest.mark.parametrize(
        ("field", "parts"),
        [
            (QueuedFileField(storage="media"), {"upload_to": "", "storage": "media"}),
            (
                QueuedFileField(storage="media", policy="delayed"),
                {"upload_to": "", "storage": "media", "policy": "delayed"},
            ),
            (QueuedImageField(storage="media", policy="delayed", width_field="w", height_field="h"),
                {"upload_to": "", "storage": "media", "policy": "delayed", "width_field": "w", "height_field": "h"}),
            (QueuedFileField(storage=media_storage), {"upload_to": "", "storage": media_storage}),
            (QueuedFileField(), {"upload_to": ""}),
        ],
    )  # fmt: skip
    def test_parts_are_names_alone(self, field: Any, parts: dict[str, Any]) -> None:
        assert field.deconstruct()[3] == parts

    def test_path_is_the_public_one(self) -> None:
        assert QueuedFileField(storage="media").deconstruct()[1] == "queued_storage.fields.QueuedFileField"
        assert QueuedImageField(storage="media").deconstruct()[1] == "queued_storage.fields.QueuedImageField"

    @pytest.mark.parametrize(
        ("value", "written"),
        [
            (TieredStorage("media"), "queued_storage.storage.TieredStorage('media')"),
            (TieredStorage(alias="media"), "queued_storage.storage.TieredStorage(alias='media')"),
            (TieredStorage("media", "cold"), "queued_storage.storage.TieredStorage('media', 'cold')"),
            (
                TieredStorage("media").with_policy("cold"),
                "queued_storage.storage.TieredStorage('media', 'cold')",
            ),
            (tiered_storages["media"], "queued_storage.storage.TieredStorage('media')"),
        ],
    )
    def test_storage_writes_alias_and_policy(self, value: TieredStorage, written: str) -> None:
        assert MigrationWriter.serialize(value) == (written, {"import queued_storage.storage"})


MODELS = """
from django.core.files.storage import storages
from django.db import models
from queued_storage.fields import QueuedFileField, QueuedImageField
from queued_storage.storage import tiered_storages

def lazy():
    return tiered_storages["media"]

class Report(models.Model):
    pdf = QueuedFileField(storage="media", upload_to="pdf")
    photo = QueuedImageField(storage="media", policy="cold", width_field="width", height_field="height")
    width = models.IntegerField(null=True)
    height = models.IntegerField(null=True)
    plain = models.FileField(storage=tiered_storages["media"])
    called = models.FileField(storage=lazy)
    either = QueuedFileField(storage=tiered_storages["media"], policy="cold")
    default = models.FileField()
"""
ROUND_TRIP = """
from album.models import Report
from django.core.files.base import ContentFile
names = ["pdf", "plain", "called", "either", "default"]
report = Report(**{name: ContentFile(name.encode(), f"{name}.txt") for name in names})
report.save()
report = Report.objects.get()
print(all(getattr(report, name).open().read() == name.encode() for name in names), report.pdf.state)
"""


@pytest.mark.slow
class TestMigrations:
    """The real makemigrations and migrate, on an app with every kind of field, in a project of its own."""

    @pytest.fixture
    def project(self, tmp_path: Path) -> Project:
        disk, chain = "django.core.files.storage.FileSystemStorage", "queued_storage.storage.TieredStorage"
        project = Project(
            tmp_path / "project", {"DATABASES": {"default": databases.sqlite(tmp_path / "db.sqlite3")}}
        )
        app = project.folder / "album"
        app.mkdir()
        (app / "__init__.py").touch()
        (app / "models.py").write_text(MODELS)
        s3 = {
            "bucket_name": SECRET,
            "access_key": SECRET,
            "secret_key": SECRET,
            "endpoint_url": f"http://{SECRET}/",
        }
        tiers = {
            "disk": {
                "BACKEND": disk,
                "OPTIONS": {"location": str(tmp_path / SECRET), "base_url": f"/{SECRET}/"},
            },
            "s3": {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": s3, "EXCLUSIVE": True},
        }
        cold = {"BACKEND": "transfer-and-delete", "OPTIONS": {"to": ["s3"], "after": "P30D"}}
        project.configure(
            INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "queued_storage", "album"],
            QUEUED_STORAGE_DISPATCHER=recording.PATH,
            ROOT_URLCONF="",
            QUEUED_STORAGE_TIERS={"media": {"TIERS": tiers, "POLICY": "cold"}},
            QUEUED_STORAGE_POLICIES={"cold": cold},
            STORAGES={"default": {"BACKEND": chain, "OPTIONS": {"alias": "media"}}},
        )
        project.manage("makemigrations", "album")
        return project

    @pytest.fixture
    def written(self, project: Project) -> str:
        (migration,) = (project.folder / "album" / "migrations").glob("0*.py")
        text: str = migration.read_text()
        return text

    def test_g10_migration_holds_no_option_path_or_credential(self, written: str, tmp_path: Path) -> None:
        assert SECRET not in written
        assert str(tmp_path) not in written
        for word in ("OPTIONS", "BACKEND", "bucket", "secret", "location", "FileSystemStorage", "S3Storage"):
            assert word not in written

    def test_migration_names_alias_and_policy(self, written: str) -> None:
        fields = dict(re.findall(r"\('(\w+)', ((?:queued_storage|models)\S+Field\(.*)\)", written))
        assert fields["pdf"] == "queued_storage.fields.QueuedFileField(storage='media', upload_to='pdf')"
        assert "storage='media'" in fields["photo"]
        assert "policy='cold'" in fields["photo"]
        assert "storage=queued_storage.storage.TieredStorage('media')" in fields["plain"]
        assert "storage=album.models.lazy" in fields["called"]
        assert "storage" not in fields["default"]

    def test_migration_applies_and_nothing_is_left_to_migrate(self, project: Project) -> None:
        project.manage("migrate", "--verbosity=0")
        assert "No changes detected" in project.manage("makemigrations", "--check", "--dry-run").stdout
        assert project.python(ROUND_TRIP).split() == ["True", "settled"]

    def test_changed_options_change_no_migration(self, project: Project) -> None:
        memory = {"BACKEND": "django.core.files.storage.InMemoryStorage"}
        project.configure(
            QUEUED_STORAGE_TIERS={"media": {"TIERS": {"disk": memory, "s3": memory}, "POLICY": "transfer"}}
        )
        assert "No changes detected" in project.manage("makemigrations", "--check", "--dry-run").stdout


class TestNames:
    @pytest.fixture
    def Short(self) -> Any:  # noqa: N802 - a model class
        return model_with(file=QueuedFileField(storage="media", upload_to="d", max_length=20))

    def test_max_length_is_respected(self, chain: TieredStorage, Short: Any) -> None:  # noqa: N803
        thing = Short()
        thing.file.save("a-name-that-is-too-long.txt", upload(), save=False)
        assert len(thing.file.name) <= 20
        assert thing.file.name.endswith(".txt")

    def test_max_length_holds_for_taken_names(self, chain: TieredStorage, Short: Any) -> None:  # noqa: N803
        names = []
        for _ in range(3):
            thing = Short()
            thing.file.save("fourteen-ch.txt", upload(), save=False)
            names.append(thing.file.name)
        assert len(set(names)) == 3
        assert max(map(len, names)) <= 20

    def test_form_refuses_a_longer_name(self, Short: Any) -> None:  # noqa: N803
        form = forms.modelform_factory(Short, fields=["file"])({}, {"file": upload("x" * 30)})
        assert "at most 20 characters" in str(form.errors["file"])

    def test_full_clean_takes_a_sound_one(self, chain: TieredStorage) -> None:
        Document(title="t", file=upload()).full_clean()

    def test_full_clean_refuses_a_missing_file(self) -> None:
        with pytest.raises(ValidationError, match="cannot be blank"):
            Picture().full_clean()

    def test_upload_to_may_be_a_callable(self, chain: TieredStorage) -> None:
        Thing = model_with(file=QueuedFileField(storage="media", upload_to=lambda _, name: f"by/{name}"))  # noqa: N806
        thing = Thing()
        thing.file.save("a.txt", upload(), save=False)
        assert thing.file.name == "by/a.txt"

    def test_second_file_of_a_name_gets_another(self, chain: TieredStorage) -> None:
        one, two = (Document.objects.create(file=upload(content=content)) for content in (b"one", b"two"))
        assert one.file.name != two.file.name
        assert (read(one.file), read(two.file)) == (b"one", b"two")


class TestImages:
    def test_dimensions_are_noted_at_the_save(self, chain: TieredStorage) -> None:
        Picture.objects.create(image=png(7, 5))
        picture = Picture.objects.get()
        assert (picture.width, picture.height) == (7, 5)

    def test_dimensions_follow_a_new_image(self, chain: TieredStorage) -> None:
        picture = Picture.objects.create(image=png(7, 5))
        picture.image = png(2, 9)
        picture.save()
        picture.refresh_from_db()
        assert (picture.width, picture.height) == (2, 9)

    def test_dimensions_are_read_from_wherever_the_image_lies(self, make_chain: Any) -> None:
        make_chain(policy="transfer-and-delete")
        thing = model_with(file=QueuedImageField(storage="media"))()
        thing.file.save("p.png", png(4, 6), save=False)
        run_owed_work()
        again = type(thing)(file=thing.file.name).file
        assert (again.tier, again.width, again.height) == ("vault", 4, 6)

    def test_loading_a_row_opens_no_file(self, chain: TieredStorage) -> None:
        Picture.objects.create(image=png())
        chain.delete(Picture.objects.get().image.name)
        assert Picture.objects.get().width == 3

    def test_deleted_image_empties_its_dimensions(self, chain: TieredStorage) -> None:
        picture = Picture.objects.create(image=png())
        picture.image.delete()
        assert (picture.width, picture.height, picture.image.name) == (None, None, None)

    def test_image_of_no_picture_is_refused_by_a_form(self, chain: TieredStorage) -> None:
        form = forms.modelform_factory(Picture, fields=["image"])({}, {"image": upload("p.png")})
        assert "image" in form.errors


class TestLife:
    """What Django does with field files, done to ours."""

    @pytest.fixture
    def document(self, chain: TieredStorage) -> Document:
        return Document.objects.create(title="t", file=upload())

    def test_pickled_model_reads_its_file(self, document: Document) -> None:
        assert read(pickle.loads(pickle.dumps(document)).file) == b"text"  # noqa: S301 - our own bytes

    def test_pickled_field_file_knows_where_it_lies(self, document: Document) -> None:
        file = pickle.loads(pickle.dumps(document.file))  # noqa: S301 - our own bytes
        assert (file.tier, file.state) == ("disk", "pending")

    def test_g10_pickle_holds_no_option(self, document: Document, tmp_path: Path) -> None:
        pickled = pickle.dumps([document, document.file, document.file.storage])
        assert str(tmp_path).encode() not in pickled

    def test_pickled_storage_is_the_chain(self) -> None:
        storage = TieredStorage("media", "delayed")
        assert pickle.loads(pickle.dumps(storage)) == storage  # noqa: S301 - our own bytes

    def test_copied_model_reads_its_file(self, document: Document) -> None:
        assert read(copy.copy(document).file) == read(copy.deepcopy(document).file) == b"text"

    def test_deferred_field_is_loaded(self, document: Document) -> None:
        assert read(Document.objects.defer("file").get().file) == b"text"

    def test_refresh_sees_the_new_file(self, document: Document) -> None:
        again = Document.objects.get()
        again.file.save("b.txt", upload("b.txt", b"new"))
        document.refresh_from_db()
        assert read(document.file) == b"new"

    def test_deleting_the_file_empties_every_tier(self, document: Document, chain: TieredStorage) -> None:
        run_owed_work()
        name = document.file.name
        document.file.delete()
        assert [tier.storage.exists(name) for tier in chain.chain] == [False, False]
        assert not Document.objects.get().file

    def test_lines_and_size_are_read(self, document: Document) -> None:
        assert document.file.size == 4
        with document.file.open("r") as file:
            assert list(file) == ["text"]

    def test_values_are_names(self, document: Document) -> None:
        assert list(Document.objects.values_list("file", flat=True)) == ["documents/a.txt"]
        assert Document.objects.filter(file="documents/a.txt").exists()


class TestForms:
    @pytest.fixture
    def form(self, chain: TieredStorage) -> Any:
        return forms.modelform_factory(Document, fields=["title", "file"])

    def test_upload_is_saved_and_owed(self, form: Any) -> None:
        bound = form({"title": "t"}, {"file": upload()})
        assert bound.is_valid(), bound.errors
        document = bound.save()
        assert (read(document.file), document.file.state) == (b"text", "pending")

    def test_content_type_of_the_browser_is_kept(self, form: Any) -> None:
        form({"title": "t"}, {"file": SimpleUploadedFile("a", b"text", "text/x-odd")}).save()
        assert StoredFile.objects.get().content_type == "text/x-odd"

    def test_unchanged_file_stays(self, form: Any) -> None:
        document = form({"title": "t"}, {"file": upload()}).save()
        form({"title": "new"}, {}, instance=document).save()
        assert (document.title, read(Document.objects.get().file)) == ("new", b"text")
        assert StoredFile.objects.get().generation == 1

    def test_cleared_file_is_let_go(self, form: Any) -> None:
        document = form({"title": "t"}, {"file": upload()}).save()
        form({"title": "t", "file-clear": "on"}, {}, instance=document).save()
        assert not Document.objects.get().file

    def test_empty_upload_is_refused(self, form: Any) -> None:
        assert "file" in form({"title": "t"}, {"file": upload(content=b"")}).errors

    @pytest.mark.parametrize("policy", ["transfer", "transfer-and-delete"])
    def test_bound_form_links_to_the_file_wherever_it_lies(self, make_chain: Any, policy: str) -> None:
        make_chain(policy=policy)
        document = Document.objects.create(file=upload())
        run_owed_work()
        shown = str(forms.modelform_factory(Document, fields=["file"])(instance=document)["file"])
        assert f'href="/{document.file.tier}/documents/a.txt"' in shown


class TestAdmin:
    @pytest.fixture
    def request_of_admin(self, admin_user: Any) -> Any:
        request = RequestFactory().get("/")
        request.user = admin_user
        return request

    def test_form_renders_with_the_file(self, chain: TieredStorage, request_of_admin: Any) -> None:
        document = Document.objects.create(title="t", file=upload())
        admin = site._registry[Document]
        shown = admin.get_form(request_of_admin, document)(instance=document).as_p()
        assert 'href="/disk/documents/a.txt"' in shown
        assert 'type="file"' in shown

    def test_file_is_uploaded_through_the_pages(self, chain: TieredStorage, admin_client: Client) -> None:
        answer = admin_client.post("/admin/testapp/document/add/", {"title": "t", "file": upload()})
        assert answer.status_code == 302
        assert Document.objects.get().file.state == "pending"

    def test_page_of_a_moved_file_links_to_it(self, make_chain: Any, admin_client: Client) -> None:
        make_chain(policy="transfer-and-delete")
        document = Document.objects.create(title="t", file=upload())
        run_owed_work()
        page = admin_client.get(f"/admin/testapp/document/{document.pk}/change/")
        assert b'href="/vault/documents/a.txt"' in page.content

    def test_catalog_can_be_read(self, chain: TieredStorage, admin_client: Client) -> None:
        Document.objects.create(file=upload())
        page = admin_client.get("/admin/queued_storage/storedfile/")
        assert b"documents/a.txt" in page.content
        assert SECRET.encode() not in page.content
