"""Spans around copies: what they tell, that they belong to the task's, and that nothing is done without the API."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from django.core.files.base import ContentFile
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from queued_storage import tracing
from queued_storage.models import StoredFile
from queued_storage.testing import faulty, run_owed_work

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tracer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("tests")
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    monkeypatch.setattr(tracing, "_tracer", lambda: tracer)
    tracer.exported = exporter.get_finished_spans  # type: ignore[attr-defined]
    yield tracer
    provider.shutdown()


def copies(tracer: Any) -> Sequence[ReadableSpan]:
    return [span for span in tracer.exported() if span.name == tracing.SPAN]


def test_copy_is_told(make_chain: Any, tracer: Any) -> None:
    storage = make_chain()
    storage.save("secret-name.txt", ContentFile(b"content"))
    run_owed_work()
    (span,) = copies(tracer)
    assert dict(span.attributes or {}) == {
        "queued_storage.chain": "media",
        "queued_storage.file": StoredFile.objects.get().pk,
        "queued_storage.source": "disk",
        "queued_storage.destination": "vault",
        "queued_storage.bytes": 7,
        "queued_storage.outcome": "copied",
    }


def test_failed_copy_tells_no_words_of_a_backend(make_chain: Any, tracer: Any) -> None:
    storage = make_chain({"disk": "disk", "far": faulty.tier("traced")})
    faulty.bucket("traced").on("save", faulty.refuse)
    try:
        storage.save("secret-name.txt", ContentFile(b"content"))
        run_owed_work()
    finally:
        faulty.forget_all()
    (span,) = copies(tracer)
    assert (span.attributes or {})["queued_storage.outcome"] == "failed"
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "ConnectionError")
    assert not span.events
    assert "secret-name" not in span.to_json()


def test_copy_of_a_file_that_is_deleted_meanwhile_is_lost_and_no_error(make_chain: Any, tracer: Any) -> None:
    storage = make_chain({"near": faulty.tier("near"), "far": faulty.tier("traced")})
    name = storage.save("a.txt", ContentFile(b"content"))

    def delete(call: faulty.Call) -> Any:
        opened = call.proceed()
        storage.delete(name)
        return opened

    faulty.bucket("near").on("open", delete)
    try:
        run_owed_work()
    finally:
        faulty.forget_all()
    (span,) = copies(tracer)
    assert (span.attributes or {})["queued_storage.outcome"] == "lost"
    assert span.status.status_code is not StatusCode.ERROR


def test_spans_of_a_batch_belong_to_the_task(make_chain: Any, tracer: Any) -> None:
    """Its copies are made by threads of a pool."""
    storage = make_chain()
    for number in range(3):
        storage.save(f"{number}.txt", ContentFile(b"content"))
    with tracer.start_as_current_span("task") as task:
        run_owed_work()
    found = copies(tracer)
    assert len(found) == 3
    assert {span.parent.span_id for span in found if span.parent} == {task.get_span_context().span_id}


WITHOUT = """
import sys
sys.modules["opentelemetry"] = None
import django
django.setup()
from queued_storage import tracing
assert not tracing.is_installed()
facts = {"chain": "a", "file": 1, "source": "b", "destination": "c"}
assert tracing.copy(**facts) is tracing.copy(**facts)
with tracing.copy(**facts) as tell:
    tell(1)
assert tracing.carried(django.setup) is django.setup
"""
UNUSED = """
import sys, django
django.setup()
import queued_storage.batch, queued_storage.storage, queued_storage.tasks
loaded = {name.partition(".")[0] for name in sys.modules}
assert not loaded & {"opentelemetry", "prometheus_client", "health_check"}
"""


@pytest.mark.parametrize("program", [WITHOUT, UNUSED], ids=["not-installed", "not-loaded-before-it-is-used"])
def test_nothing_is_done_where_it_is_not_used(program: str) -> None:
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.base_settings",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    subprocess.run([sys.executable, "-c", program], check=True, env=environment, timeout=60)
