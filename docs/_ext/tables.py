"""What the reference says beside what the code says of itself; a test sees that nothing is left out."""

from __future__ import annotations

#: Values to show for settings whose default tells little.
EXAMPLES = {
    "RETRIES": "8",
    "RETRY_DELAY": "30",
    "RETRY_MAX_DELAY": "900",
    "CACHE_PREFIX": '"shop-files"',
    "CACHE": '"shared"',
    "DISPATCHER": '"queued_storage.dispatch.TasksDispatcher"',
    "QUEUE": '"files"',
    "LEASE": "600",
    "ATTEMPT_LIMIT": "21600",
    "DEADLINE": "0.5",
    "DOWN_FOR": "60",
    "SWEEP_INTERVAL": "None",
    "BATCH": "20",
    "FAST_PATHS": "False",
    "THREADS": "4",
    "HISTORY": "7",
    "SAMPLES": "30",
    "HOST": '"web1"',
    "HOSTS": '{"web1": "http://web1.internal:8000"}',
    "HOST_SILENT": "600",
}

#: Id of a system check: what it means, and what to do.
CHECKS = {
    "E001": (
        "A mistake in ``QUEUED_STORAGE_TIERS`` or ``QUEUED_STORAGE_POLICIES``: an unknown or missing key, a value of the "
        "wrong kind, a name that cannot be used, two chains whose names differ in case alone; "
        "``ACK`` or ``promote`` with a first tier that they do not go with.",
        "The message names the place in the setting, the hint says what to write there.",
    ),
    "E002": (
        "A tier's ``STORAGE`` is no alias of ``STORAGES``, or a tier leads back to its own chain.",
        "Name an alias of ``STORAGES``; or a storage that is not this chain.",
    ),
    "E003": (
        "Two tiers of one chain are the same storage: to release a file from one would take it from both.",
        "Give one of them a folder, bucket or prefix of its own, or remove it.",
    ),
    "E004": (
        "A policy is unknown, cannot be imported, or its options fit neither it nor its chain.",
        "Correct the name or the option that the message names.",
    ),
    "E005": (
        "The storage of a tier cannot be made.",
        "Correct its ``BACKEND`` or ``OPTIONS``, or install what the backend needs: "
        '``pip install "django-queued-storage[s3]"``.',
    ),
    "E006": (
        "Another ``QUEUED_STORAGE_…`` setting has a value that cannot be used, names a dispatcher that cannot be imported "
        "or has no ``dispatch()``, or a cache that ``CACHES`` does not have.",
        'The hint says what to write. Values are used as they stand: ``"5"`` is no number.',
    ),
    "E007": (
        "A field names a chain or a policy that is not in the settings.",
        "Correct the field's ``storage`` or ``policy``, or add it to the settings.",
    ),
    "E008": (
        "A class path that is gone: the chain or storage that has it cannot be built.",
        "Write its successor: see :doc:`/upgrade`.",
    ),
    "E009": (
        "A method of the project's own that 0.8 called and nothing calls now.",
        "See :doc:`/upgrade/from-queued-storage-0.8`.",
    ),
    "W001": (
        "A setting that begins with ``QUEUED_STORAGE_`` is none of this package's.",
        "Correct the name, or remove it.",
    ),
    "W002": (
        "A tier lies inside another, or two chains write to one place: neither knows which names there are the other's.",
        "Give each a folder, bucket or prefix of its own, or make the tier ``READ_ONLY`` in one of the chains.",
    ),
    "W003": (
        "A field has a policy on a chain whose ``POLICY`` is None: who uses the chain without a policy does not look where "
        "files moved to.",
        "Write a ``POLICY`` into the chain: with ``delayed`` files stay until ``transfer()`` is asked for.",
    ),
    "W004": (
        "``FSYNC`` on a storage whose files this package does not write itself: it has no effect.",
        "Remove it.",
    ),
    "W005": (
        "A class path that still works, under another name now.",
        "Write the new one: see :doc:`/upgrade`.",
    ),
    "W006": (
        "A setting of former versions.",
        "Write the one that the hint names.",
    ),
    "W007": (
        "The first tier keeps its files in another database than the catalog's: a rollback of one leaves the other.",
        "Keep both in one database, or save on another tier.",
    ),
    "W008": (
        "A first tier is not ``SHARED``, and it is no disk, or this host has no name that lasts, or the ``DISPATCHER`` "
        "cannot start work on a certain host.",
        "Do what the hint says; see :doc:`/howto/hosts-with-own-disks`.",
    ),
    "W009": (
        "No check of ``manage.py``, but a line in the log of a worker that starts: a first tier is not ``SHARED``, and the "
        "worker does not listen to its host's own queue.",
        "Start at least one worker on each host with ``--queues`` and the name of that queue.",
    ),
    "W011": (
        "The tiers or policies of a chain are others than those that ``tiers apply`` applied last (or that were there "
        "first). Told by ``migrate`` and ``check --database default``.",
        "``tiers plan`` says what that means for the files that are there, ``tiers apply`` has it done: see "
        ":doc:`/howto/change-your-chain`.",
    ),
    "W012": (
        "A tier has ``IDENTITY``, and nobody has written its file yet. Told by ``migrate`` and ``check --database "
        "default``.",
        "Look that it is the right place, and run ``tiers identify``: see :doc:`/howto/identify-your-tiers`.",
    ),
}

#: What each signal adds to ``file``, ``name``, ``chain``, ``model``, ``field`` and ``instance``.
ARGUMENTS = {
    "file_saved": "",
    "file_transferred": (
        "``source``, ``destination`` (names of tiers), ``local``, ``remote`` (the storages behind them), ``seconds`` (how "
        "long the copy took)"
    ),
    "transfer_failed": "``error`` (the reason, without credentials), ``final``",
    "file_released": "``tier``",
    "file_deleted": "",
}
