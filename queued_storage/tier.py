"""One tier of a chain: its storage, an instance for each thread, and what the settings say about it."""

from __future__ import annotations

import os
import threading
from datetime import time as clock
from functools import cached_property
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import Storage, storages
from django.utils.module_loading import import_string

from . import amended, credentials, former, knowledge, traits
from .exceptions import ConfigurationError
from .schema import TIERS, Problem, TierSettings, did_you_mean

#: How many copies at a time a tier with a BANDWIDTH takes part in, where no CONCURRENCY says so: more only wait.
HELD_BACK = 4


class _Local(threading.local):
    """A thread's own instance of a tier's storage, and the process that it was built in."""

    pid: int | None = None
    storage: Any = None


class Tier:
    """One storage of a chain, and what the settings say about it."""

    def __init__(self, chain: str, name: str, index: int, config: TierSettings) -> None:
        self.chain = chain
        self.name = name
        self.index = index
        self.read_only = config.READ_ONLY
        self.exclusive = config.EXCLUSIVE
        #: Whether all hosts reach it; else each has files of its own there.
        self.shared = config.SHARED
        self.timeout = config.TIMEOUT
        #: Bytes a second that its copies take in each process; None is as many as there are.
        self.bandwidth = config.BANDWIDTH
        #: How many copies to or from it one process makes at a time; None is as many as there are.
        self.concurrency = config.CONCURRENCY or (None if self.bandwidth is None else HELD_BACK)
        #: The times of the day between which its copies begin, and how the settings spell them.
        self.window_text = config.WINDOW or ""
        self.window = _window(config.WINDOW)
        #: Whether a save waits until the disk has the file, and whether a copy does.
        self.fsync = config.FSYNC is True
        self.syncs_copies = config.FSYNC is not False
        #: Whether a file there proves that it is the right place.
        self.has_identity = config.IDENTITY
        #: How ``queued_storage.urls`` answers for a file that lies here; None: as the chain says.
        self.serve = config.SERVE
        self._config = config
        self._local = _Local()
        self._shared: Storage | None = None
        self._build_lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<Tier {self.name!r} of chain {self.chain!r}>"

    @property
    def alias(self) -> str | None:
        """The entry of STORAGES that the tier is, if it is one."""
        return self._config.STORAGE

    @property
    def is_first(self) -> bool:
        return self.index == 0

    @property
    def storage(self) -> Storage:
        """This thread's instance: SFTP and FTP clients hang or misfile when threads share one."""
        if self._shared is not None:
            return self._shared
        local = self._local
        if local.pid != os.getpid():  # a connection must not cross a fork
            local.storage, local.pid = self._build(), os.getpid()
        return local.storage  # type: ignore[no-any-return]

    @property
    def backend_path(self) -> str:
        """The dotted path of the storage class; raise ConfigurationError where STORAGES has no such alias."""
        return str(self._definition["BACKEND"])

    @cached_property
    def backend(self) -> type[Storage]:
        """The storage class; raise ConfigurationError where it cannot be imported."""
        dotted = self.backend_path
        try:
            backend = import_string(dotted)
        except (
            ImportError,
            ImproperlyConfigured,
        ) as error:  # django-storages raises this of a missing library
            if extra := knowledge.missing_extra(dotted, error):
                raise ConfigurationError(
                    f"{self.path}['BACKEND']: {dotted!r} needs libraries that are not installed. "
                    f"Type: pip install 'django-queued-storage[{extra}]'"
                ) from error
            reason = f"{self.path}['BACKEND']: {dotted!r} cannot be imported: {error}"
            advice = former.advice_on(error, dotted)
            raise ConfigurationError(f"{reason}. {advice}" if advice else reason) from error
        if not (isinstance(backend, type) and issubclass(backend, Storage)):
            raise ConfigurationError(
                f"{self.path}['BACKEND']: {dotted!r} is not a storage. "
                "Name a subclass of django.core.files.storage.Storage."
            )
        return amended.amended(backend)

    @cached_property
    def secrets(self) -> frozenset[str]:
        """Texts that no message may hold."""
        return frozenset(credentials.in_options(self._options) | credentials.in_settings())

    @cached_property
    def _untellable(self) -> frozenset[str]:
        return frozenset(credentials.untellable(self._options) | credentials.in_settings())

    def describe(self, error: BaseException) -> str:
        """Return what the error says, without this tier's options."""
        return traits.describe(error, self.secrets)

    def tells(self, error: BaseException) -> bool:
        """Tell whether a traceback of the error would print one of this tier's options."""
        return traits.tells(error, self.secrets)

    def leaks(self, error: BaseException) -> bool:
        """Tell whether a traceback of the error would print a credential; the place of the files is none."""
        return traits.tells(error, self._untellable)

    def leaks_itself(self, error: BaseException) -> bool:
        """Tell the same of the error without those that it was raised from."""
        return traits.tells_itself(error, self._untellable)

    @property
    def path(self) -> str:
        """Where the tier stands in the settings."""
        return f"{TIERS}[{self.chain!r}]['TIERS'][{self.name!r}]"

    @cached_property
    def _definition(self) -> dict[str, Any]:
        if self._config.STORAGE is None:
            return {"BACKEND": self._config.BACKEND, "OPTIONS": self._config.OPTIONS}
        try:
            definition: dict[str, Any] = storages.backends[self._config.STORAGE]  # type: ignore[assignment]
        except KeyError:
            raise ConfigurationError(str(unknown_alias(self.path, self._config.STORAGE))) from None
        return definition

    @property
    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = self._definition.get("OPTIONS", {})
        return options

    def _build(self) -> Storage:
        if not traits.keeps_content_in_instance(self.backend):
            return self._construct()
        with self._build_lock:
            if self._shared is None:
                self._shared = self._build_shared()
        return self._shared

    def _build_shared(self) -> Storage:
        if self._config.STORAGE is not None:
            return storages[self._config.STORAGE]
        return self._construct()

    def _construct(self) -> Storage:
        backend = self.backend
        try:
            return backend(**self._options)
        except Exception as error:
            # Whatever a backend raises over its options may print them.
            if traits.is_outage(error):
                raise
            reason = self.describe(error)
            cause = None if self.tells(error) else error
            raise ConfigurationError(f"{self.path}: the storage refuses its OPTIONS: {reason}") from cause


def _window(text: str | None) -> tuple[clock, clock] | None:
    if text is None:
        return None
    start, _, end = text.partition("-")
    return clock.fromisoformat(start), clock.fromisoformat(end)


def unknown_alias(path: str, alias: str) -> Problem:
    """Tell that STORAGES has no such alias."""
    hint = did_you_mean(alias, settings.STORAGES)
    return Problem(f"{path}['STORAGE']", f"STORAGES has no {alias!r}.", hint, "queued_storage.E002")
