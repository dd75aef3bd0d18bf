"""The worker that a test needs no worker for."""

from __future__ import annotations

from queued_storage import hooks
from queued_storage.batch import drain


def run_owed_work(limit: int | None = None) -> int:
    """Do, here and now, all the work that is due; return how many files it was done for.

    Inside a test case's transaction, whose commit never comes, this sees what that transaction wrote, and does
    first what the saves and deletes in it would do at commit. Signals about them are not sent: they are for
    Django's ``captureOnCommitCallbacks``.
    """
    done = _do_what_commit_would(limit)
    if limit is not None and done >= limit:
        return done
    return done + sum(1 for _ in drain(None if limit is None else limit - done, own_process=False))


def _do_what_commit_would(limit: int | None) -> int:
    waiting: list[hooks.AfterCommit] = [*hooks.Publication.waiting(), *hooks.Deletion.waiting()]
    for callback in waiting[:limit]:
        callback()
    return len(waiting[:limit])
