"""Each setting of this package changes what happens, at once, under override_settings."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from celery import Celery, current_app
from celery.signals import before_task_publish
from django.core.cache import caches
from django.core.files.base import ContentFile
from django.db import transaction
from django.test import override_settings
from django.utils import timezone

from queued_storage import catalog, conf, copying, dispatch, outage, tasks
from queued_storage.exceptions import ChainUnavailable
from queued_storage.models import StoredFile
from queued_storage.reconcile import reconcile
from queued_storage.testing import run_owed_work

from tests.support import clock, recording, remote
from tests.support.waiting import within

pytestmark = pytest.mark.django_db(transaction=True)

NAMES = sorted(name for name in vars(conf.QueuedStorageConf) if name.isupper())
LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
TWO_CACHES = {"default": LOCMEM, "other": {**LOCMEM, "LOCATION": "other"}}


def text(content: bytes = b"text") -> ContentFile[bytes]:
    return ContentFile(content)


@pytest.fixture(autouse=True)
def _fresh_memory(settings: Any) -> Iterator[None]:
    settings.QUEUED_STORAGE_DEADLINE = 20  # a busy machine is no dead cache
    clock.forget_outages()
    recording.RecordingDispatcher.calls.clear()
    yield
    clock.forget_outages()
    remote.RemoteStorage.servers.clear()
    tasks._Broker.rests_until = 0.0


@pytest.fixture
def recorded(settings: Any) -> list[list[int]]:
    """The hints that are given instead of being sent."""
    settings.QUEUED_STORAGE_DISPATCHER = recording.PATH
    return recording.RecordingDispatcher.calls


@pytest.fixture
def far(make_chain: Any, recorded: Any) -> Any:
    """A chain of a disk and a remote tier with a TIMEOUT, and the server behind that."""
    lower = {"BACKEND": remote.PATH, "OPTIONS": {"host": "far"}, "TIMEOUT": 5}
    storage = make_chain({"disk": "disk", "far": lower})
    _ = storage.chain["far"].storage
    return storage, remote.RemoteStorage.servers["far"]


def fail_once(storage: Any, server: remote.Server) -> StoredFile:
    server.error = ConnectionError("refused")
    storage.save("a.txt", text())
    run_owed_work()
    return StoredFile.objects.get()


@pytest.mark.parametrize("name", NAMES)
def test_setting_has_a_default_and_follows_an_override(name: str) -> None:
    before = conf.get(name)
    with override_settings(**{f"QUEUED_STORAGE_{name}": "changed"}):
        assert conf.get(name) == "changed"
    assert conf.get(name) == before


@pytest.mark.parametrize(("retries", "state"), [(0, "failed"), (1, "pending"), (5, "pending")])
def test_retries_decides_when_a_file_counts_as_failed(
    far: Any, settings: Any, retries: int, state: str
) -> None:
    settings.QUEUED_STORAGE_RETRIES = retries
    assert fail_once(*far).state == state


def test_retries_counts_further_attempts(far: Any, settings: Any) -> None:
    settings.QUEUED_STORAGE_RETRIES = 2
    settings.QUEUED_STORAGE_RETRY_DELAY = 0
    row = fail_once(*far)  # drain goes on while work is due: the 1st attempt and 2 retries
    assert (row.state, row.attempts) == ("failed", 3)


@pytest.mark.parametrize("delay", [10, 600])
def test_retry_delay_is_the_base_of_the_back_off(far: Any, settings: Any, delay: int) -> None:
    settings.QUEUED_STORAGE_RETRY_DELAY = delay
    before = timezone.now()
    wait = fail_once(*far).due_at - before
    # 1st retry: delay x 2 ** 0, and a quarter of it as jitter
    assert timedelta(seconds=delay) <= wait <= timedelta(seconds=delay * 1.25 + 30)


@pytest.mark.parametrize("limit", [5, 20])
def test_retry_max_delay_bounds_the_back_off(far: Any, settings: Any, limit: int) -> None:
    settings.QUEUED_STORAGE_RETRY_DELAY = 10_000
    settings.QUEUED_STORAGE_RETRY_MAX_DELAY = limit
    before = timezone.now()
    assert fail_once(*far).due_at - before <= timedelta(seconds=limit * 1.25 + 30)


def read_missing(storage: Any) -> None:
    with pytest.raises(ChainUnavailable):
        storage.open("missing.txt")


def test_down_for_says_how_long_a_dead_tier_is_skipped(far: Any, settings: Any) -> None:
    storage, server = far
    settings.QUEUED_STORAGE_DOWN_FOR = 100
    server.error = ConnectionError("refused")
    with clock.stopped() as now:
        read_missing(storage)
        asked = len(server.calls)
        now.shift(99)
        read_missing(storage)
        assert len(server.calls) == asked
        now.shift(2)
        read_missing(storage)
        assert len(server.calls) > asked


def test_down_for_nothing_asks_every_time(far: Any, settings: Any) -> None:
    storage, server = far
    settings.QUEUED_STORAGE_DOWN_FOR = 0
    server.error = ConnectionError("refused")
    read_missing(storage)
    asked = len(server.calls)
    read_missing(storage)
    assert len(server.calls) > asked


def test_cache_prefix_keeps_sites_apart_that_share_a_cache(far: Any, settings: Any) -> None:
    storage, server = far
    server.error = ConnectionError("refused")
    read_missing(storage)
    outage.forget()  # as another process knows nothing yet
    assert outage.is_down(storage.chain["far"])
    outage.forget()
    settings.QUEUED_STORAGE_CACHE_PREFIX = "another site"
    assert not outage.is_down(storage.chain["far"])


def test_cache_prefix_begins_every_key(far: Any, settings: Any) -> None:
    storage, server = far
    settings.QUEUED_STORAGE_CACHE_PREFIX = "my_site"
    server.error = ConnectionError("refused")
    read_missing(storage)
    assert caches["default"].get("my_site:down:media:far")


def test_cache_is_where_processes_tell_each_other(far: Any, settings: Any) -> None:
    storage, server = far
    settings.CACHES = TWO_CACHES
    settings.QUEUED_STORAGE_CACHE = "other"
    server.error = ConnectionError("refused")
    read_missing(storage)
    assert caches["other"].get("queued_storage:down:media:far")
    assert not caches["default"].get("queued_storage:down:media:far")


def test_dispatcher_starts_the_work(make_chain: Any, settings: Any, recorded: list[list[int]]) -> None:
    storage = make_chain()
    storage.save("recorded.txt", text())
    assert (len(recorded), storage.state("recorded.txt")) == (1, "pending")
    settings.QUEUED_STORAGE_DISPATCHER = "queued_storage.dispatch.ImmediateDispatcher"
    storage.save("done.txt", text())
    assert (len(recorded), storage.state("done.txt")) == (1, "settled")


@pytest.mark.parametrize(("queue", "routed_to"), [(None, "celery"), ("files", "files"), ("slow", "slow")])
def test_queue_is_where_messages_go(
    make_chain: Any, settings: Any, queue: str | None, routed_to: str
) -> None:
    sent: list[str] = []

    def note(routing_key: str, **_: Any) -> None:
        sent.append(routing_key)

    settings.QUEUED_STORAGE_QUEUE = queue
    before_task_publish.connect(note, weak=False)
    try:
        make_chain().save("a.txt", text())
    finally:
        before_task_publish.disconnect(note)
    assert sent == [routed_to]


@pytest.mark.parametrize("seconds", [60, 3600])
def test_lease_says_how_long_a_silent_worker_owns_its_file(
    make_chain: Any, settings: Any, recorded: Any, seconds: int
) -> None:
    settings.QUEUED_STORAGE_LEASE = seconds
    make_chain().save("a.txt", text())
    pk = StoredFile.objects.get().pk
    with time_machine.travel(timezone.now(), tick=False) as now:
        assert catalog.claim(pk) is not None
        now.shift(seconds - 1)
        assert catalog.claim(pk) is None
        now.shift(2)
        assert catalog.claim(pk) is not None


@pytest.mark.parametrize("seconds", [60, 3600])
def test_attempt_limit_ends_a_copy_that_only_trickles(
    make_chain: Any, settings: Any, recorded: Any, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    settings.QUEUED_STORAGE_ATTEMPT_LIMIT = seconds
    settings.QUEUED_STORAGE_LEASE = 10 * seconds
    storage = make_chain()
    name = storage.save("a.txt", ContentFile(b"1" * (3 << 20)))
    chunk = copying.Metered.readinto
    with time_machine.travel(timezone.now(), tick=False) as now:

        def trickle(source: copying.Metered, buffer: Any) -> int:
            now.shift(seconds / 2 + 1)
            return chunk(source, buffer)

        monkeypatch.setattr(copying.Metered, "readinto", trickle)
        reconcile(StoredFile.objects.get().pk)
    row = StoredFile.objects.get()
    assert (row.state, row.tiers, row.lease) == ("pending", ["disk"], "")
    assert f"ATTEMPT_LIMIT ({seconds} s)" in row.last_error
    assert storage.listdir("")[1] == [name]


@pytest.mark.parametrize("seconds", [0.3, 1.5])
def test_deadline_bounds_a_save_while_a_lower_tier_is_silent(
    make_chain: Any, settings: Any, recorded: Any, seconds: float
) -> None:
    settings.QUEUED_STORAGE_DEADLINE = seconds
    storage = make_chain({"disk": "disk", "far": {"BACKEND": remote.PATH, "OPTIONS": {"host": "far"}}})
    _ = storage.chain["far"].storage
    with remote.RemoteStorage.servers["far"].silent():
        begin = time.monotonic()
        with within(10, "save()"):  # the server is silent for longer
            storage.save("a.txt", text())
    # A third of the deadline is what one look-up of a name may take.
    assert time.monotonic() - begin >= seconds / 3


@pytest.mark.parametrize(
    ("batch", "sizes"),
    [
        (1, [1, 1, 1, 1, 1]),  # 5 files, 1 in each
        (2, [2, 2, 1]),  # 2 + 2 + 1
        (100, [5]),  # all in one
    ],
)
def test_batch_is_how_many_files_one_message_stands_for(
    make_chain: Any, settings: Any, recorded: list[list[int]], batch: int, sizes: list[int]
) -> None:
    settings.QUEUED_STORAGE_BATCH = batch
    storage = make_chain()
    with transaction.atomic():
        for number in range(5):
            storage.save(f"{number}.txt", text())
    assert [len(ids) for ids in recorded] == sizes


def test_batch_holds_for_the_sweep(make_chain: Any, settings: Any, recorded: list[list[int]]) -> None:
    storage = make_chain()
    for number in range(3):
        storage.save(f"{number}.txt", text())
    recorded.clear()
    settings.QUEUED_STORAGE_BATCH = 2
    assert dispatch.sweep() == 3
    assert [len(ids) for ids in recorded] == [2, 1]


@pytest.mark.parametrize(("days", "left"), [(10, 0), (30, 1)])
def test_history_says_how_long_deleted_files_stay_in_the_catalog(
    make_chain: Any, settings: Any, recorded: Any, days: int, left: int
) -> None:
    settings.QUEUED_STORAGE_HISTORY = days
    storage = make_chain()
    storage.delete(storage.save("a.txt", text()))
    run_owed_work()
    with time_machine.travel(timezone.now() + timedelta(days=20)):
        dispatch.sweep()
    assert StoredFile.objects.count() == left


def test_sweep_interval_is_what_celery_beat_is_told(settings: Any) -> None:
    for seconds in (60, 5.5):
        settings.QUEUED_STORAGE_SWEEP_INTERVAL = seconds
        app = Celery("beats", set_as_current=False)
        tasks.schedule_sweep(app)
        entry = app.conf.beat_schedule["queued_storage.sweep"]
        assert entry == {"task": "queued_storage.sweep", "schedule": seconds}


def test_sweep_interval_of_none_leaves_beat_alone(settings: Any) -> None:
    settings.QUEUED_STORAGE_SWEEP_INTERVAL = None
    app = Celery("no beats", set_as_current=False)
    tasks.schedule_sweep(app)
    assert app.conf.beat_schedule == {}


def test_sweep_is_in_the_schedule_of_the_projects_app() -> None:
    current_app.finalize()
    assert current_app.conf.beat_schedule["queued_storage.sweep"]["schedule"] == 60
