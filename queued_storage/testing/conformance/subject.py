"""A storage as a tier of real chains, and what a behaviour may do with it."""

from __future__ import annotations

import inspect
import posixpath
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from django.core.files.base import ContentFile, File
from django.core.files.storage import Storage
from django.db import connections

from queued_storage import bounded, copying, streams, traits
from queued_storage.exceptions import CopyMismatch, PermanentFailure
from queued_storage.storage import TieredStorage
from queued_storage.tier import Tier

from .behaviour import Cannot, Misbehaviour, Role
from .contents import Above

T = TypeVar("T")

#: Seconds after which a call that another thread makes for a behaviour counts as one that never ends.
PATIENCE = 60.0
#: Methods that a storage need not have: its NotImplementedError says so.
OPTIONAL = frozenset({"get_modified_time", "listdir", "url"})
#: The tier that is looked at.
NAME = "candidate"


@dataclass(frozen=True)
class Candidate:
    """A storage to be looked at, and what is said of it beforehand."""

    #: A storage; or a tier's settings, as QUEUED_STORAGE_TIERS takes them: BACKEND and OPTIONS, or STORAGE.
    storage: Storage | Mapping[str, Any] = field(repr=False)  # options hold credentials
    #: What reports call it.
    kind: str = ""
    #: Which behaviours it cannot have, by id, and why.
    cannot: Mapping[str, str] = field(default_factory=dict)
    #: In which roles it is used.
    roles: tuple[Role, ...] = ("lower", "first")
    #: Asks the backend, past the storage, for the content type that it keeps of a file.
    content_type: Callable[[str], str | None] | None = None
    #: Seconds for what six threads do at once.
    patience: float = PATIENCE

    @property
    def class_name(self) -> str:
        if isinstance(self.storage, Mapping):
            return str(self.storage.get("STORAGE") or self.storage.get("BACKEND")).rpartition(".")[2]
        return type(self.storage).__name__

    def tier(self) -> Mapping[str, Any]:
        """Return the settings of a tier on the storage; raise Misbehaviour where the storage does not tell them."""
        if isinstance(self.storage, Mapping):
            return self.storage
        return _settings_of(self.storage)


def _settings_of(storage: Storage) -> dict[str, Any]:
    if not hasattr(storage, "deconstruct"):
        raise Misbehaviour(
            f"{type(storage).__name__} has no deconstruct(), so nobody knows how to build a second instance of it. "
            "Decorate the class with django.utils.deconstruct.deconstructible, as Django asks of every storage; "
            'or give the settings of a tier, {"BACKEND": "path.of.the.Class", "OPTIONS": {…}}, instead of an instance.'
        )
    path, args, kwargs = storage.deconstruct()
    signature = inspect.signature(type(storage))
    bound = signature.bind(*args, **kwargs)
    options: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        options |= (
            value if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD else {name: value}
        )
    return {"BACKEND": path, "OPTIONS": options}


class Subject:
    """The candidate in one role: the tier ``candidate`` of a chain, and a folder of its own for the test's files."""

    def __init__(self, candidate: Candidate, role: Role, alias: str) -> None:
        self.candidate = candidate
        self.role = role
        self.chain = TieredStorage(alias)
        self.folder = f"conformance-{uuid.uuid4().hex[:12]}"
        self._names: set[str] = set()

    @property
    def tier(self) -> Tier:
        return self.chain.chain[NAME]

    @property
    def other(self) -> Tier:
        """The chain's other tier."""
        return next(tier for tier in self.chain.chain if tier.name != NAME)

    @property
    def storage(self) -> Storage:
        """This thread's instance, as the chain has it."""
        return self.tier.storage

    def name(self, base: str) -> str:
        """Return a name in the test's own folder."""
        name = f"{self.folder}/{base}"
        self._names.add(name)
        return name

    def own(self, name: str) -> None:
        """Have a name that the storage gave deleted after the test, too."""
        self._names.add(name)

    def clear(self) -> None:
        """Delete what the test has left."""
        for name in self._names:
            # A storage that cannot do so has been told of, by its own behaviour.
            with suppress(Exception):
                self.storage.delete(name)

    def has_free_names(self) -> None:
        """Require that some name is free: to find one, Django's storages would go on for ever."""
        name = self.name("nobody-saved-this")
        call, should = self.spelled("exists", name), "return False for a file that nobody has saved"
        if told := self.demand(call, should, lambda: self.storage.exists(name)):
            raise self.misbehaves(f"{call} returned {told!r}", should)

    # ---- writing, as a chain does it ----

    def put(self, base: str, content: bytes | File[Any] = b"content") -> str:
        """Save a file as the chain does in this role; return its name."""
        name = self.name(base)
        file = content if isinstance(content, File) else ContentFile(content, name=base)
        if self.role == "lower":
            self.copy(name, file)
            return name
        saved = self.demand(
            f"save({self.told(name)})",
            "store the content and return its name",
            lambda: self.chain.save(name, file),
        )
        self._names.add(saved)
        return saved

    def replace(self, name: str, content: File[Any]) -> None:
        """Replace a file as the chain does in this role."""
        if self.role == "lower":
            self.copy(name, content, replace=True)
        else:
            self.demand(
                f"save({self.told(name)}), in place of a file,",
                "replace the content",
                lambda: self.chain._saver.replace(name, content),
            )

    def copy(self, name: str, content: File[Any], *, replace: bool = False) -> None:
        """Bring a file to the storage as the engine brings it to a lower tier."""
        try:
            self.copy_plainly(name, content, replace=replace)
        except CopyMismatch as error:
            raise self.misbehaves(
                f"save({self.told(name)}) seemed to succeed, but {error}",
                "store all of its content; size() and exists() should tell so at once",
            ) from error
        except PermanentFailure as error:
            raise self.misbehaves(
                f"save({self.told(name)}) returned another name, though that one was free",
                "save under the name that it is given: a lower tier keeps the name that the first one gave",
            ) from error
        except Exception as error:
            raise self.misbehaves(
                f"save({self.told(name)}), in a copy to a lower tier, raised {self.described(error)}",
                "store the content under that name",
            ) from error

    def copy_plainly(self, name: str, content: File[Any], *, replace: bool = False) -> None:
        """Do the same, and raise whatever the engine would be told."""
        content_type = getattr(content, "content_type", None) or ""
        facts = copying.Content(name, content_type=content_type)
        Above.files[name] = content
        try:
            copying.copy(self.other, self.tier, facts, replace=replace)
        finally:
            del Above.files[name]

    # ---- asking ----

    def call(self, method: str, *args: Any, should: str) -> Any:
        """Return what the storage's method returns; an error is Misbehaviour, or the storage's word that it cannot."""
        with _may_refuse(method, self.spelled(method, *args)):
            return self.demand(
                self.spelled(method, *args), should, lambda: getattr(self.storage, method)(*args)
            )

    def demand(self, call: str, should: str, function: Callable[[], T]) -> T:
        """Return the function's answer; an error is Misbehaviour."""
        try:
            return function()
        except Misbehaviour:
            raise
        except Exception as error:
            raise self.misbehaves(f"{call} raised {self.described(error)}", should) from error

    def raises_missing(self, method: str, name: str) -> None:
        """Require the storage's method to say that there is no such file."""
        with _may_refuse(method, self.spelled(method, name)):
            self.is_told_missing(self.spelled(method, name), lambda: getattr(self.storage, method)(name))

    def is_told_missing(self, call: str, function: Callable[[], Any]) -> None:
        """Require the function to say that there is no such file."""
        should = "raise FileNotFoundError (or an error registered as missing)"
        try:
            returned = function()
        except Exception as error:
            if not traits.is_missing(error):
                raise self.misbehaves(f"{call} raised {self.described(error)}", should) from error
        else:
            raise self.misbehaves(f"{call} returned {_short(returned)}", should)

    def is_missing_in_chain(self, name: str, *methods: str) -> None:
        """Require the chain, for which the storage answers, to raise FileNotFoundError."""
        for method in methods:
            call = f"read through a chain, {self.spelled(method, name)}"
            try:
                returned = getattr(self.chain, method)(name)
            except FileNotFoundError:
                continue
            except Exception as error:
                raise self.misbehaves(
                    f"{call} raised {self.described(error)}", "raise FileNotFoundError"
                ) from error
            raise self.misbehaves(f"{call} returned {_short(returned)}", "raise FileNotFoundError")

    def call_chain(self, method: str, *args: Any) -> Any:
        """Return what the chain's method returns; NotImplemented where the tiers do not have it."""
        try:
            return getattr(self.chain, method)(*args)
        except NotImplementedError:
            return NotImplemented
        except Exception as error:
            call = f"{self.spelled(method, *args)}, through a chain,"
            raise self.misbehaves(f"{call} raised {self.described(error)}", "work") from error

    def read(self, name: str) -> bytes:
        """Return the content, as the chain reads it."""

        def read() -> bytes:
            with self.chain.open(name) as file:
                content: bytes = file.read()
                return content

        return self.demand(f"open({self.told(name)}).read()", "return the content", read)

    def holds(self, name: str, content: bytes, after: str) -> None:
        """Require the file to have this content, and no other."""
        found = self.read(name)
        if found != content:
            raise self.misbehaves(
                f"after {after}, open({self.told(name)}).read() returned {self.difference(found, content)}",
                f"return the {len(content)} bytes that were saved",
            )

    def is_there(self, name: str) -> None:
        """Require exists() to be True, on the storage and through the chain."""
        self._exists(name, True)

    def is_not_there(self, name: str) -> None:
        """Require exists() to be False, on the storage and through the chain."""
        self._exists(name, False)

    def _exists(self, name: str, expected: bool) -> None:
        call = self.spelled("exists", name)
        storages: dict[str, Storage] = {call: self.storage, f"read through a chain, {call}": self.chain}
        for asked, storage in storages.items():
            told = self.demand(asked, f"return {expected}", partial(storage.exists, name))
            if told is not expected:
                raise self.misbehaves(f"{asked} returned {told!r}", f"return {expected}")

    def deletes(self, name: str) -> None:
        """Delete; that there is no such file may be told by an error that is registered as missing."""
        try:
            self.storage.delete(name)
        except Exception as error:
            if not traits.is_missing(error):
                raise self.misbehaves(
                    f"{self.spelled('delete', name)} raised {self.described(error)}",
                    "delete the file, and do nothing where there is none",
                ) from error

    def lists(self, *names: str) -> None:
        """Require the folder of these files to hold them, and no other; a storage that lists nothing is let be."""
        folder = posixpath.dirname(names[0])
        expected = sorted(posixpath.basename(name) for name in names)
        call = self.spelled("listdir", folder)
        try:
            _, files = self.storage.listdir(folder)
        except NotImplementedError:
            return
        except Exception as error:
            raise self.misbehaves(f"{call} raised {self.described(error)}", f"list {expected}") from error
        if sorted(files) != expected:
            raise self.misbehaves(f"{call} returned the files {sorted(files)}", f"return {expected}")

    def open(self, name: str) -> File[Any]:
        """Open the file as the package opens files of a tier."""
        should = "return a file, open for reading"
        return self.demand(
            f"open({self.told(name)})", should, lambda: streams.open_for_read(self.storage, name)
        )

    def elsewhere(self, call: str, function: Callable[[], T]) -> T:
        """Return the function's answer in another thread, which has an instance of its own."""

        def ask() -> T:
            try:
                return function()
            finally:
                connections.close_all()

        try:
            return bounded.call(ask, self.candidate.patience)
        except TimeoutError as error:
            raise self.misbehaves(
                f"{call}, in another thread, did not end within {self.candidate.patience:g} s", "answer"
            ) from error

    # ---- telling ----

    def difference(self, found: object, expected: bytes) -> str:
        """Return how the content differs from what is expected."""
        if not isinstance(found, bytes):
            return f"{type(found).__name__}, not bytes"
        if len(found) != len(expected):
            return f"{len(found)} bytes"
        at = next(i for i, (one, other) in enumerate(zip(found, expected, strict=True)) if one != other)
        return f"other bytes from position {at} on"

    def misbehaves(self, did: str, should: str) -> Misbehaviour:
        return Misbehaviour(f"{did}; it should {should}.")

    def described(self, error: BaseException) -> str:
        """Return what the error says, without the storage's options."""
        return self.tier.describe(error)

    def told(self, name: str) -> str:
        """Return the name as messages show it."""
        return repr(name.removeprefix(f"{self.folder}/"))

    def spelled(self, method: str, *args: Any) -> str:
        return f"{method}({', '.join(self.told(arg) if isinstance(arg, str) else repr(arg) for arg in args)})"


@contextmanager
def _may_refuse(method: str, call: str) -> Iterator[None]:
    """Let NotImplementedError pass as Cannot where Django's storages say so of what they do not have."""
    try:
        yield
    except (NotImplementedError, Misbehaviour) as error:
        refusal = error.__cause__ if isinstance(error, Misbehaviour) else error
        if method in OPTIONAL and isinstance(refusal, NotImplementedError):
            raise Cannot(f"{call} raises NotImplementedError") from error
        raise


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
