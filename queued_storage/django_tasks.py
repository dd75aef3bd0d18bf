"""The task of Django's own tasks framework (Django 6.0 and later)."""

from __future__ import annotations

from collections.abc import Sequence

from django.tasks import task

from . import batch, conf, dispatch


@task()
def reconcile(ids: list[int]) -> None:
    """Do the work that these rows are owed."""
    for _ in batch.work(ids, hand_on=dispatch.hand_on):
        pass


def enqueue(ids: Sequence[int]) -> None:
    queue = conf.get("QUEUE")
    (reconcile if queue is None else reconcile.using(queue_name=queue)).enqueue(list(ids))
