"""The task of Django's own tasks framework (Django 6.0 and later)."""

from __future__ import annotations

from collections.abc import Sequence

from django.tasks import DEFAULT_TASK_QUEUE_NAME, task
from django.tasks.backends.immediate import ImmediateBackend

from . import batch, conf, dispatch


@task()
def reconcile(ids: list[int]) -> None:
    """Do the work that these rows are owed."""
    # Inside of enqueue() a task that is handed on would run within this one, and so on.
    is_worker = not isinstance(reconcile.get_backend(), ImmediateBackend)
    for _ in batch.work(ids, hand_on=dispatch.hand_on if is_worker else None):
        pass


@task()
def tend(host: str) -> None:
    """Do what ``dispatch.tend`` does, on that host."""
    dispatch.tend(host)


def enqueue(ids: Sequence[int], host: str | None = None) -> None:
    queue = conf.get("QUEUE") if host is None else _queue_of(host)
    (reconcile if queue is None else reconcile.using(queue_name=queue)).enqueue(list(ids))


def enqueue_tend(host: str) -> None:
    tend.using(queue_name=_queue_of(host)).enqueue(host)


def _queue_of(host: str) -> str:
    return f"{conf.get('QUEUE') or DEFAULT_TASK_QUEUE_NAME}.{host}"
