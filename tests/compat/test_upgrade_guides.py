"""The upgrade guides: their settings, code and commands are run as they stand there, each in a project of its own."""

from __future__ import annotations

import json
import re
import shlex
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from queued_storage import former

from tests.base_settings import INSTALLED_APPS
from tests.support.projects import CHECKOUT, Project

if TYPE_CHECKING:
    from tests.support.servers import S3Server

pytestmark = pytest.mark.storages  # half a minute each, and the parts are tested by themselves

GUIDES = CHECKOUT / "docs" / "upgrade"
BLOCK = re.compile(r"^( *)\.\. code-block:: (\w+)\n\n((?:\1 +.*\n|\n)+)", re.MULTILINE)


class Guide:
    """A page, and its blocks of code by the file that their first line names."""

    def __init__(self, name: str) -> None:
        text = (GUIDES / f"{name}.rst").read_text(encoding="utf-8")
        self.code: dict[str, list[str]] = {}
        self.commands: list[list[str]] = []
        for _, language, indented in BLOCK.findall(text):
            block = textwrap.dedent(indented)
            if language == "console":
                self.commands += [shlex.split(line.removeprefix("$ ")) for line in block.split("\n") if line]
            else:
                self.code.setdefault(block.split("\n")[0].removeprefix("# "), []).append(block)

    def settings(self, given: dict[str, Any], file: str = "settings.py") -> dict[str, Any]:
        """Return what the page's settings add to those given."""
        scope = dict(given)
        for block in self.code[file]:
            exec(block, scope)  # noqa: S102 - the page is ours
        return {name: value for name, value in scope.items() if name.isupper()}


class Shop:
    """A project with one app, "shop"."""

    def __init__(self, project: Project, bucket: str, s3: S3Server, media: Path) -> None:
        self.project = project
        self.bucket = bucket
        self.s3 = s3
        self.media = media
        (project.folder / "shop").mkdir()
        (project.folder / "shop/__init__.py").touch()

    def follow(self, guide: Guide, *files: str) -> None:
        """Do as the guide says with the files named."""
        for file in files:
            if file.startswith("settings"):
                self.project.configure(**guide.settings(dict(self.project.settings), file))
            else:
                path = self.project.folder / "shop" / file.partition(",")[0]
                path.write_text("\n".join(guide.code[file]))

    def run(self, code: str) -> Any:
        lines = self.project.python(f"import json\n{code}").splitlines()
        return json.loads(lines[-1]) if lines else None

    def do(self, command: list[str]) -> str:
        """Run a command of a guide; return what it printed."""
        _, *arguments = command
        i = arguments.index("manage.py")
        result = self.project.run(*arguments[:i], "-m", "django", *arguments[i + 1 :], check=True, timeout=90)
        return result.stdout + result.stderr


@pytest.fixture
def shop(make_project: Callable[..., Project], moto_s3: S3Server, tmp_path: Path) -> Shop:
    bucket, media = moto_s3.make_bucket("media"), tmp_path / "files"
    project = make_project(
        INSTALLED_APPS=[app for app in INSTALLED_APPS if app != "tests.testapp"],
        MEDIA_ROOT=str(media),
        STORAGES={"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}},
        QUEUED_STORAGE_TIERS={},
        QUEUED_STORAGE_DISPATCHER="tests.compat.tasks.Nobody",
        QUEUED_STORAGE_DEADLINE=30,
        AWS_STORAGE_BUCKET_NAME=bucket,
        AWS_S3_ENDPOINT_URL=moto_s3.endpoint,
        AWS_S3_ACCESS_KEY_ID=moto_s3.access_key,
        AWS_S3_SECRET_ACCESS_KEY=moto_s3.secret_key,
        AWS_S3_REGION_NAME="us-east-1",
        AWS_S3_ADDRESSING_STYLE="path",
    )
    return Shop(project, bucket, moto_s3, media)


def with_shop(*but: str) -> list[str]:
    return [app for app in INSTALLED_APPS if app not in {"tests.testapp", *but}] + ["shop"]


def migrations_folder(shop: Shop) -> None:
    (shop.project.folder / "shop/migrations").mkdir()
    (shop.project.folder / "shop/migrations/__init__.py").touch()


@pytest.mark.servers
@pytest.mark.slow
class TestFromZeroEight:
    SAVE = """
from django.core.files.base import ContentFile
from shop.models import Report
report = Report.objects.create(pdf=ContentFile(b"new", "new.pdf"))
"""
    WORK = "from queued_storage.testing import run_owed_work; run_owed_work()"

    def test_step_by_step(self, shop: Shop) -> None:
        guide = Guide("from-queued-storage-0.8")
        shop.media.mkdir()
        (shop.media / "old.pdf").write_bytes(b"old")
        shop.project.configure(INSTALLED_APPS=with_shop("queued_storage"))
        shop.follow(guide, "settings.py", "models.py")
        migrations_folder(shop)
        check, *migrating, status, dry_run, transfer = guide.commands
        assert "queued_storage.W005" in shop.do(check)
        for command in migrating:
            shop.do(command)
        shop.run(self.SAVE)
        assert "queued-" in shop.do(status)
        assert "asked: 2" in shop.do(dry_run)
        shop.do(transfer)
        shop.run(self.WORK)
        assert {key: shop.s3.read(shop.bucket, key) for key in shop.s3.keys(shop.bucket)} == {
            "new.pdf": b"new",
            "old.pdf": b"old",
        }
        assert not list(shop.media.glob("*.pdf"))
        shop.follow(guide, "settings.py, later", "models.py, later")
        assert "no issues" in shop.do(check)
        shop.project.manage("tiers", "transfer", "--chain", "reports")
        read = "print(json.dumps([Report.objects.get().pdf.read().decode(), Report.objects.get().pdf.state]))"
        assert shop.run(f"from shop.models import Report\n{read}") == ["new", "settled"]

    def test_class_that_takes_its_options_from_the_machine(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BUCKET", shop.bucket)
        shop.follow(Guide("from-queued-storage-0.8"), "storages.py")
        told = shop.run(
            "from shop.storages import MediaStorage; from django.db.migrations.writer import MigrationWriter\n"
            "print(json.dumps([MigrationWriter.serialize(MediaStorage())[0], MediaStorage().remote.bucket_name]))"
        )
        assert told == ["shop.storages.MediaStorage()", "media"]


@pytest.mark.servers
@pytest.mark.slow
class TestFromZeroThree:
    CHAINS = "from shop.models import Picture\nprint(json.dumps([f.storage.alias for f in Picture._meta.fields[1:]]))"

    def test_before_and_after_declare_the_same(self, shop: Shop) -> None:
        guide = Guide("from-0.3")
        shop.project.configure(INSTALLED_APPS=with_shop())
        (check,) = guide.commands
        shop.follow(guide, "models.py")
        before, told = shop.run(self.CHAINS), shop.do(check)
        assert told.count("DeprecationWarning") >= 8
        assert "shop/models.py:5: DeprecationWarning" in told
        shop.follow(guide, "models.py, later")
        assert shop.run(self.CHAINS) == before
        assert "DeprecationWarning" not in shop.do(check)


@pytest.mark.servers
@pytest.mark.slow
def test_from_fallback_storage(shop: Shop) -> None:
    """Both of its settings, without this package's app and without its table."""
    blocks = Guide("from-fallback-storage").code["settings.py"]
    shop.s3.client.put_object(Bucket=shop.bucket, Key="logo.png", Body=b"production")
    shop.project.configure(INSTALLED_APPS=with_shop("queued_storage"))
    for block in blocks:
        scope = dict(shop.project.settings)
        exec(block, scope)  # noqa: S102 - the page is ours
        shop.project.configure(**{name: value for name, value in scope.items() if name.isupper()})
        told = shop.run(
            "from django.core.files.storage import default_storage as storage\n"
            "from django.core.files.base import ContentFile\n"
            "saved = storage.save('new.png', ContentFile(b'1'))\n"
            "print(json.dumps([storage.open('logo.png').read().decode(), storage.listdir('')[1]]))\n"
            "storage.delete(saved)"
        )
        assert told == ["production", ["logo.png", "new.png"]]
    assert len(blocks) == 2
    assert shop.s3.keys(shop.bucket) == ["logo.png"]


def test_table_of_class_paths_is_the_package_s() -> None:
    page = (GUIDES.parent / "upgrade.rst").read_text(encoding="utf-8")
    rows = re.findall(r"   \* - (.*)\n     - (.*)", page.partition("Class paths")[2])
    named = {
        old.replace("….", "storages.backends."): now.strip("`")
        for then, now in rows
        for old in re.findall(r"``(.+?)``", then)
    }
    former_paths = {
        path: now for path, now in former.SUCCESSORS.items() if not path.startswith("queued_storage")
    }
    assert named.items() >= former_paths.items() - _VARIANTS.items()
    assert set(named) - set(former_paths) == set(former.WITHOUT_SUCCESSOR)


#: Further classes of modules that the page names.
_VARIANTS = {
    path: now
    for path, now in former.SUCCESSORS.items()
    if path.endswith(("StaticStorage", "ManifestStaticStorage", "ThreadSafeCloudFilesStorage"))
}
