"""The examples of the ancestors' documentations, as small projects: saved here, moved by others, read by a third."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.base_settings import INSTALLED_APPS
from tests.support.projects import Project
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from tests.support.brokers import Broker
    from tests.support.servers import S3Server

pytestmark = [pytest.mark.servers, pytest.mark.slow]

#: The whole of a PNG of one pixel.
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c6360000000020001"
    "4890a5fd0000000049454e44ae426082"
)
#: What every program here begins with; the Celery app is what a project's package imports.
BEGIN = """
import json
import tests.celery_app
from django.core.files.base import ContentFile, File
"""
STATES = """
from queued_storage.models import StoredFile
rows = StoredFile.objects.order_by("name")
print(json.dumps({row.name: [row.state, row.tiers, row.last_error] for row in rows}))
"""


class Example:
    """A project with one app of examples, on a bucket of its own."""

    def __init__(self, project: Project, bucket: str, s3: S3Server, media: Path) -> None:
        self.project = project
        self.bucket = bucket
        self.s3 = s3
        self.media = media

    def run(self, code: str) -> Any:
        """Run it in a process of its own; return what it printed last, as JSON."""
        lines = self.project.python(BEGIN + code).splitlines()
        return json.loads(lines[-1]) if lines else None

    def states(self) -> dict[str, Any]:
        states: dict[str, Any] = self.run(STATES)
        return states

    def work(self) -> None:
        """Do in another process what is owed."""
        self.run("from queued_storage.testing import run_owed_work; run_owed_work()")

    def bucket_holds(self) -> dict[str, bytes]:
        return {key: self.s3.read(self.bucket, key) for key in self.s3.keys(self.bucket)}

    def holds(self, folder: str) -> dict[str, bytes]:
        paths = (path for path in (self.media / folder).rglob("*") if path.is_file())
        return {str(path.relative_to(self.media / folder)): path.read_bytes() for path in paths}


@pytest.fixture
def make_example(
    make_project: Callable[..., Project], moto_s3: S3Server, tmp_path: Path
) -> Callable[..., Example]:
    def make(app: str, broker: Broker | None = None) -> Example:
        bucket, media = moto_s3.make_bucket(), tmp_path / "media"
        media.mkdir()
        dispatcher = (
            "tests.compat.tasks.Nobody" if broker is None else "queued_storage.dispatch.CeleryDispatcher"
        )
        project = make_project(
            broker=broker,
            INSTALLED_APPS=[*INSTALLED_APPS, f"tests.compat.{app}"],
            MEDIA_ROOT=str(media),
            QUEUED_STORAGE_DISPATCHER=dispatcher,
            QUEUED_STORAGE_RETRY_DELAY=0,
            # However slow this machine is, S3 is waited for when a name is chosen: the names are compared.
            QUEUED_STORAGE_DEADLINE=30,
            AWS_STORAGE_BUCKET_NAME=bucket,
            AWS_S3_ENDPOINT_URL=moto_s3.endpoint,
            AWS_S3_ACCESS_KEY_ID=moto_s3.access_key,
            AWS_S3_SECRET_ACCESS_KEY=moto_s3.secret_key,
            AWS_S3_REGION_NAME="us-east-1",
            AWS_S3_ADDRESSING_STYLE="path",
        )
        (project.folder / "image.png").write_bytes(PNG)
        return Example(project, bucket, moto_s3, media)

    return make


class TestZeroEight:
    MODELS = "from tests.compat.examples_08.models import *\n"
    SAVE = (
        MODELS
        + """
with open("image.png", "rb") as image:
    m = MyModel.objects.create(image=File(image, "image.png"))
fields = ("plain", "logged", "delayed", "moved", "retried", "undecided")
Paper.objects.create(**{field: ContentFile(field.encode(), f"{field}.txt") for field in fields})
print(json.dumps([m.image.storage.using_local(m.image.name), m.image.storage.using_remote(m.image.name)]))
"""
    )
    READ = (
        MODELS
        + """
paper = Paper.objects.get()
fields = ("plain", "logged", "delayed", "moved", "retried", "undecided")
print(json.dumps({field: getattr(paper, field).open().read().decode() for field in fields}))
"""
    )

    @pytest.mark.storages
    def test_saved_moved_and_read_by_three_processes(self, make_example: Callable[..., Example]) -> None:
        example = make_example("examples_08")
        assert example.run(self.SAVE) == [True, False]
        assert example.bucket_holds() == {}
        example.work()
        assert example.bucket_holds() == {"image.png": PNG}
        assert example.holds("eggs") == {"plain.txt": b"plain"}
        assert example.holds("once-moved") == {"moved.txt": b"moved"}
        assert example.holds("once") == {}
        example.work()  # what returned False is due again
        assert example.holds("twice-moved") == {"retried.txt": b"retried"}
        assert example.run(self.READ) == {
            field: field for field in ("plain", "logged", "delayed", "moved", "retried", "undecided")
        }
        states = example.states()
        state, tiers, reason = states.pop("undecided.txt")
        assert (state, tiers) == ("failed", ["local"])
        assert "ValueError" in reason
        assert {state for state, _, _ in states.values()} == {"settled"}

    @pytest.mark.storages
    def test_delayed_file_is_moved_when_it_is_asked_for(self, make_example: Callable[..., Example]) -> None:
        example = make_example("examples_08")
        example.run(
            self.MODELS
            + 'Paper.objects.create(delayed=ContentFile(b"1", "a.txt")).delayed.storage.result is None or 1/0'
        )
        example.work()
        assert example.bucket_holds() == {}
        example.run(self.MODELS + "Paper.objects.get().delayed.transfer()")
        example.work()
        assert example.bucket_holds() == {"delayed/a.txt": b"1"}

    @pytest.mark.parametrize("broker", ["filesystem"], indirect=True)
    def test_with_a_real_worker(self, make_example: Callable[..., Example], broker: Broker) -> None:
        example = make_example("examples_08", broker)
        worker = example.project.start_worker()
        example.run(
            self.MODELS
            + """
with open("image.png", "rb") as image:
    m = MyModel.objects.create(image=File(image, "image.png"))
paper = Paper.objects.create(logged=ContentFile(b"1", "a.txt"))
assert m.image.storage.result.get(timeout=30) is True
assert paper.logged.storage.result.get(timeout=30) is True
"""
        )
        assert example.bucket_holds() == {"image.png": PNG}
        ((name, content),) = example.holds("ham").items()
        assert content == b"1"
        log = (example.media / "transfers.log").read_text().split()
        assert log == [name, "True", str(worker.pid)]
        logged = "print(json.dumps(sorted(TransferLogEntry.objects.values_list('name', flat=True))))"
        wait_until(
            lambda: example.run(self.MODELS + logged) == ["image.png", name], "the receiver has noted both"
        )

    @pytest.mark.parametrize("broker", ["filesystem"], indirect=True)
    def test_g10_message_that_0_8_left_is_refused_unseen(
        self, make_example: Callable[..., Example], broker: Broker
    ) -> None:
        example = make_example("examples_08", broker)
        worker = example.project.start_worker()
        example.run(
            """
from tests.celery_app import app
disk = "django.core.files.storage.FileSystemStorage"
for task in ("Transfer", "TransferAndDelete"):
    app.send_task(f"queued_storage.tasks.{task}", [
        f"{task}.pdf", f"queued_storage_{task}.pdf", disk, disk,
        {}, {"location": "/nowhere", "secret_key": "swordfish"},
    ])
"""
        )
        for task in ("Transfer", "TransferAndDelete"):
            worker.wait_for_line(rf"old_message_refused name={task}\.pdf ")
        assert "swordfish" not in worker.log

    def test_checks_tell_what_to_write(self, make_example: Callable[..., Example]) -> None:
        told = make_example("examples_08").project.manage("check").stderr
        assert "(queued_storage.W005) 'storages.backends.s3boto.S3BotoStorage' has a successor." in told
        assert "HINT: Write 'storages.backends.s3.S3Storage'." in told

    def test_migration_holds_no_option(self, make_example: Callable[..., Example]) -> None:
        example = make_example("examples_08")
        written = example.project.manage("makemigrations", "examples_08", "--dry-run", "--verbosity=3").stdout
        assert "tests.compat.examples_08.models.LoggedStorage()" in written
        assert str(example.media) not in written
        assert "eggs" not in written


class TestZeroThree:
    MODELS = "from tests.compat.examples_03.models import *\n"
    SAVE = (
        MODELS
        + """
fields = ("image", "double", "moved", "by_instance", "delayed", "remote")
m = MyModel()
for field in fields:
    with open("image.png", "rb") as image:
        setattr(m, field, File(image, "image.png"))
        m.save()
"""
    )

    @pytest.mark.storages
    def test_saved_moved_and_read_by_three_processes(self, make_example: Callable[..., Example]) -> None:
        example = make_example("examples_03")
        example.run(self.SAVE)
        example.work()
        moved = {f"{folder}/image.png": PNG for folder in ("by-instance", "image", "moved")}
        assert example.bucket_holds() == moved
        assert example.holds("main") == example.holds("backup") == {"image.png": PNG}
        assert example.holds("moved") == example.holds("by-instance") == {}
        assert example.holds("image") == {"image.png": PNG}
        example.run(
            self.MODELS
            + "m = MyModel.objects.get(); m.delayed.storage.transfer(m.delayed.name); m.remote.transfer()"
        )
        example.work()
        later = {f"{folder}/image.png": PNG for folder in ("delayed", "remote")}
        assert example.bucket_holds() == moved | later
        assert {state for state, _, _ in example.states().values()} == {"settled"}

    @pytest.mark.storages
    @pytest.mark.parametrize("broker", ["filesystem"], indirect=True)
    def test_with_a_real_worker(self, make_example: Callable[..., Example], broker: Broker) -> None:
        example = make_example("examples_03", broker)
        worker = example.project.start_worker()
        example.run(
            self.MODELS
            + """
from tests.celery_app import app
options = {"location": settings.MEDIA_ROOT}
disk = "django.core.files.storage.FileSystemStorage"
app.send_task(TransferAndDelete.name, ["image.png", disk, "subprocess.Popen", "key", [], options, [], {}])
with open("image.png", "rb") as image:
    m = MyModel.objects.create(moved=File(image, "image.png"))
assert m.moved.storage.result.get(timeout=30) is True
"""
        )
        assert example.bucket_holds() == {"moved/image.png": PNG}
        assert example.holds("moved") == {}
        assert worker.running
        assert "NotImplementedError" in worker.log  # of the message, as 0.3's were: nothing was built for it

    def test_deprecations_are_told(self, make_example: Callable[..., Example]) -> None:
        project = make_example("examples_03").project
        told = project.run(
            "-W", "always::DeprecationWarning", "-m", "django", "check", check=True, timeout=60
        ).stderr
        for name in ("QueuedRemoteStorage", "DoubleFilesystemStorage", "S3Storage", "DelayedStorage"):
            assert f"instead of {name}." in told
        assert (
            "Import queued_storage.fields.QueuedFileField instead of queued_storage.backend.RemoteFileField."
            in told
        )
        assert "tests/compat/examples_03/models.py:" in told
