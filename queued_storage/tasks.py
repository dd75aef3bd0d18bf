"""The Celery tasks, and the only place that imports Celery."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

from celery import Celery, Task, current_app, shared_task
from celery._state import (  # type: ignore[attr-defined]
    _get_active_apps,
    connect_on_app_finalize,
    get_current_app,
)
from celery.signals import before_task_publish, task_sent, worker_ready
from celery.utils.threads import LocalStack

from . import batch, bounded, conf, dispatch, hosts, logs, traits
from .chain import chains, find_problems

RECONCILE = "queued_storage.reconcile"
SWEEP = "queued_storage.sweep"
TEND = "queued_storage.tend"


#: What Celery writes into every message, and what its readers take where it is left out.
_DEFAULTS: dict[str, Any] = {
    "shadow": None, "eta": None, "expires": None, "group": None, "group_index": None, "retries": 0,
    "timelimit": [None, None], "parent_id": None, "replaced_task_nesting": 0, "stamped_headers": None, "stamps": {},
}  # fmt: skip


class _Broker:
    """What this process remembers of the broker."""

    rests_until = 0.0


class _Line(threading.local):
    """A thread's own connection, not one of the project's pool: a silent broker would use that up."""

    app: Celery | None = None
    producer: Any = None

    def to(self, app: Celery) -> Any:
        """Return a producer of the app whose calls end by themselves when ``publish`` has ceased to wait."""
        if self.app is not app:
            self.hang_up()
            self.app, self.producer = app, _producer(app, conf.get("DEADLINE") / 2)
        return self.producer

    def hang_up(self) -> None:
        if self.producer is not None:
            self.producer.connection.collect()
        self.app = self.producer = None


_line = _Line()


# Acknowledged late: a message of a killed worker comes back, and loses at the lease if another has the file.
@shared_task(name=RECONCILE, ignore_result=True, acks_late=True)
def reconcile(*ids: int) -> None:
    """Do the work that these rows are owed; ids that nobody knows, or that are owed nothing, are passed over."""
    is_worker = not current_app.conf.task_always_eager
    if is_worker and chains.with_own_tiers() and _came_by_own_queue():
        hosts.show()
    for _ in batch.work(ids, own_process=is_worker, hand_on=dispatch.hand_on if is_worker else None):
        pass


def _came_by_own_queue() -> bool:
    delivered = reconcile.request.delivery_info or {}
    return bool(delivered.get("routing_key") == queue_of(current_app, conf.host()))


@shared_task(name=TEND, ignore_result=True)
def tend(host: str) -> None:
    """Have this host show a sign of life and see to its own disk, if it is that host."""
    dispatch.tend(host)


@shared_task(name=SWEEP, ignore_result=True)
def sweep() -> None:
    """Send off everything that is due: what a lost message, a dead worker or a back-off has left."""
    dispatch.sweep()


def _refuse(*args: Any, **kwargs: Any) -> None:
    """Take a message that 0.8 left in the queue, and do nothing: it holds class paths and options.

    Were the task not registered, the worker would log the message, whose options may hold credentials.
    """
    name = args[0] if args else kwargs.get("name")
    logs.warning(
        "old_message_refused",
        name=name if isinstance(name, str) else "?",
        next="`manage.py tiers transfer` asks for its transfer",
    )


for _name in ("Transfer", "TransferAndDelete"):
    shared_task(name=f"{__name__}.{_name}", ignore_result=True)(_refuse)


def publish(ids: Sequence[int], host: str | None = None) -> None:
    """Send one message for these rows, and wait for the broker no longer than half the DEADLINE.

    It goes to the queue of all, or of the ``host``. A broker that failed is left alone for a while: the sweep sends
    what it missed.
    """
    _publish(reconcile, tuple(ids), host)


def publish_tend(host: str) -> None:
    """Ask the host for a sign of life, as ``publish`` sends messages."""
    _publish(tend, (host,), host)


def queue_of(app: Celery, host: str) -> str:
    """Return the name of the queue for what this host alone can do."""
    return f"{conf.get('QUEUE') or app.conf.task_default_queue}.{host}"


def _publish(task: Any, args: tuple[Any, ...], host: str | None) -> None:
    if current_app.conf.task_always_eager:
        if host in (None, conf.host()):
            task.apply_async(args=args)
        return
    if time.monotonic() < _Broker.rests_until:
        return
    _load(get_current_app())
    try:
        with bounded.spending(conf.get("DEADLINE") / 2) as seconds:
            # The app is this thread's: that of another may be Celery's default one, with a broker of its own.
            message = partial(_send, get_current_app(), task.name, args, host)
            bounded.call(partial(message, time.monotonic() + seconds), seconds)
    except Exception as error:
        if traits.is_programming_error(error):
            raise
        # Transports have no common error, and none may fail a save.
        _Broker.rests_until = time.monotonic() + conf.get("DOWN_FOR")
        logs.warning("broker_unavailable", error=type(error).__name__, next="the sweep will send what is due")


@lru_cache(maxsize=8)
def _load(app: Celery) -> None:
    """Import what publishing needs, once and outside any deadline: it says nothing about the broker."""
    _ = app.tasks[RECONCILE], app.amqp.Producer, app.connection_for_write().transport.driver_type


def _send(app: Celery, name: str, args: tuple[Any, ...], host: str | None, until: float) -> None:
    # One retry, at once, makes up for a connection that the broker closed while nobody used it.
    once_more = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}
    sent = False
    try:
        producer = _line.to(app)
        queue = conf.get("QUEUE") if host is None else queue_of(app, host)
        app.tasks[name].apply_async(
            args=args, queue=queue, producer=producer, retry=True, retry_policy=once_more
        )
        sent = True
    finally:
        if not sent or time.monotonic() > until:  # the thread of a call that came too late ends
            _line.hang_up()


def _producer(app: Celery, seconds: float) -> Any:
    connection = app.connection_for_write(connect_timeout=seconds)
    timeouts = _TIMEOUTS.get(connection.transport.driver_type, ())
    connection.transport_options = {
        **(connection.transport_options or {}),
        **dict.fromkeys(timeouts, seconds),
    }
    return app.amqp.Producer(connection, auto_declare=False)


#: The options that bound a transport's waiting, by kombu's name for the kind of broker.
_TIMEOUTS = {"amqp": ("read_timeout", "write_timeout"), "redis": ("socket_timeout", "socket_connect_timeout")}


@before_task_publish.connect(sender=RECONCILE, dispatch_uid="queued_storage.slim")
def slim(headers: dict[str, Any], body: Any, properties: dict[str, Any], **_: Any) -> None:
    """Leave out what Celery adds and its readers can do without; what others add (headers, stamps) stays."""
    if not headers:  # task_protocol 1 has it all in the body
        return
    if not task_sent.receivers:  # they ask for "eta" and "group"
        _drop(headers, _DEFAULTS)
    _drop(headers, {"root_id": headers["id"]})
    for told_again in ("argsrepr", "kwargsrepr", "origin"):
        headers.pop(told_again, None)
    _drop(properties, {"correlation_id": headers["id"]})
    properties.pop("reply_to", None)  # nobody waits for a result
    _drop(body[2], dict.fromkeys(("callbacks", "errbacks", "chain", "chord")))


def _drop(entries: dict[str, Any], defaults: dict[str, Any]) -> None:
    for key, default in defaults.items():
        if key in entries and entries[key] == default:
            del entries[key]


class Transfer(Task):  # type: ignore[type-arg] # of ``run``, which nobody calls
    """How a file gets from local to remote, to subclass: give the subclass, or its dotted path, as ``task=``.

    Nothing is sent as a Celery task of its own. The engine calls ``transfer`` when the file's work is due, and counts
    the copy once it has seen the whole file on the remote by exactly its name. It is a task class so that code which
    registers it, as 0.3's documentation has it, or reads a task's attributes does not fail.
    """

    name = "queued_storage.tasks.Transfer"
    # Celery adds it where it registers a task, not where code does by itself.
    request_stack: Any = LocalStack()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = f"{cls.__module__}.{cls.__qualname__}"

    def run(self, *args: Any, **kwargs: Any) -> None:
        """Refuse: a message must not name files, classes or options."""
        raise NotImplementedError(
            "queued_storage runs this for the files that are owed it, not for a message."
        )

    def transfer(self, name: str, local: Any, remote: Any, **kwargs: Any) -> bool:
        """Copy the file; return True if that is done, False to be called again after a back-off."""
        with local.open(name) as content:
            return bool(remote.save(name, content) == name)


class TransferAndDelete(Transfer):
    """As Transfer, and then the local copy goes: once the remote one is verified, whenever this deletes it."""

    def transfer(self, name: str, local: Any, remote: Any, **kwargs: Any) -> bool:
        done = super().transfer(name, local, remote, **kwargs)
        if done:
            local.delete(name)
        return done


@worker_ready.connect(dispatch_uid="queued_storage.listens")
def look_at_queues(sender: Any, **_: Any) -> None:
    """Warn of a worker that does not listen to its host's own queue, where there is one; show that another lives."""
    if find_problems() or not chains.with_own_tiers():
        return
    queue = queue_of(sender.app, conf.host())
    if queue in sender.app.amqp.queues.consume_from:
        publish_tend(conf.host())
        return
    logs.warning(
        "no_host_queue",
        check="queued_storage.W009",
        host=conf.host(),
        queue=queue,
        next=f"start a worker on this host with --queues {queue}, if this is not meant to be one for all hosts' work",
    )


def schedule_sweep(app: Celery) -> None:
    """Put the sweep into the app's beat schedule; SWEEP_INTERVAL = None, or an entry of this name, is respected."""
    interval = conf.get("SWEEP_INTERVAL")
    if interval is not None:
        app.conf.beat_schedule.setdefault(SWEEP, {"task": SWEEP, "schedule": float(interval)})


connect_on_app_finalize(schedule_sweep)
for _app in _get_active_apps():
    if _app.finalized:
        schedule_sweep(_app)
