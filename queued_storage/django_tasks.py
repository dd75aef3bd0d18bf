"""The task of Django's own tasks framework (Django 6.0 and later)."""

from __future__ import annotations

from collections.abc import Sequence

from django.tasks import task
from django.tasks.backends.immediate import ImmediateBackend

from . import batch, conf, dispatch


@task()
def reconcile(ids: list[int]) -> None:
    """Do the work that these rows are owed."""
    # Inside of enqueue() a task that is handed on would run within this one, and so on.
    is_worker = not isinstance(reconcile.get_backend(), ImmediateBackend)
    for _ in batch.work(ids, hand_on=dispatch.hand_on if is_worker else None):
        pass


def enqueue(ids: Sequence[int]) -> None:
    queue = conf.get("QUEUE")
    (reconcile if queue is None else reconcile.using(queue_name=queue)).enqueue(list(ids))
