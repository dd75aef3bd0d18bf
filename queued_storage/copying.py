"""Moving bytes: stream them, digest them in the same pass, publish them whole under one name, verify."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from dataclasses import replace as changed
from datetime import datetime
from functools import partial
from typing import Any, NoReturn

from django.core.files.base import File
from django.core.files.storage import Storage

from . import conditional, copiers, direct, disk, memory, outage, staging, streams, traits
from .exceptions import CopyMismatch, PermanentFailure, QueuedStorageError
from .policies.base import Verify
from .tier import Tier

CHUNK = 1 << 20
#: Bytes up to which a file is read as a whole before it is sent.
SMALL = 1 << 20
#: How often a copy is written over what appears at the destination meanwhile.
WRITES = 3
_RENAMES = "the storage saves under another name than the one that it is given"


class LeftBehind(QueuedStorageError):
    """The tier saved under another name than it was given, and raised ``error`` when that was to be deleted."""

    def __init__(self, name: str, error: Exception) -> None:
        super().__init__(_RENAMES)
        self.name = name
        self.error = error


@dataclass(frozen=True)
class Copy:
    """What a copy has shown: the bytes that were read from the source, and published."""

    size: int
    digest: str
    #: Whether the project's own code, where that made the copy, wants the source's one gone.
    gives_up_source: bool = False


@dataclass(frozen=True)
class Content:
    """What is copied, and what it is known to be."""

    name: str
    content_type: str = ""
    size: int | None = None
    digest: str = ""
    modified_at: datetime | None = None
    #: The name by which the source has it, where that is another.
    source_name: str = ""


def copy(
    source: Tier,
    destination: Tier,
    content: Content,
    *,
    verify: Verify = "size",
    copier: str | None = None,
    replace: bool = False,
    staged: str = "",
    progress: Callable[[int], None] = lambda count: None,
    publishing: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Copy:
    """Copy one file from tier to tier; the destination holds the whole file under its name, or an error is raised.

    ``copier`` names the project's code that makes the copy instead of this module; what it made is read again.
    ``replace`` says that the destination may hold other bytes by that name, ``staged`` by which base name content is
    staged where the destination can do that. ``progress`` is called with the bytes
    of each read, ``publishing`` is entered at the last moment at which the copy can still be dropped, and left when the
    destination has it; both may raise.
    """
    if copier is None and verify == "size":
        by_server = _copied_by_server(source, destination, content, replace=replace, publishing=publishing)
        if by_server is not None:
            return by_server
    with _open(source, destination, content.source_name or content.name, progress) as opened:
        taken = _taken(opened, source, content, progress)
        upload = partial(taken.as_upload, content)
        publish = partial(
            _publish,
            storage=destination.storage,
            durable=destination.syncs_copies,
            content=content,
            replace=replace,
            staged=staged,
            publishing=publishing,
        )
        given_up = proven = False
        if copier is None:
            proven = publish(upload)
        else:
            local = copiers.Source(source.storage, content.name, upload)
            remote = copiers.Destination(
                destination.storage, content.name, lambda given: publish(partial(_rewound, given))
            )
            given_up = copiers.run(copier, content.name, local, remote)
        copied = taken.result()
    _compare(source, content, copied)
    # The project's code may have left what was there before, or changed the content and not its length.
    wanted: Verify = verify if copier is None else "content"
    if not (proven and wanted == "size"):
        check(destination, content.name, copied, wanted, progress)
    return changed(copied, gives_up_source=given_up)


def _copied_by_server(
    source: Tier,
    destination: Tier,
    content: Content,
    *,
    replace: bool,
    publishing: Callable[[], AbstractContextManager[None]],
) -> Copy | None:
    """Have the server copy that both tiers are on; return None where the bytes have to come this way."""
    name, storage = content.name, destination.storage
    if not (conditional.can_save(source.storage) and conditional.can_save(storage)):
        return None
    found = direct.find(source.storage, storage, content.source_name or name, name)
    if found is None:
        return None
    copied = Copy(found.size, content.digest)
    _compare(source, content, copied)
    seen = conditional.look(storage, name) if replace else None
    told = _upload(io.BytesIO(), found.size, lambda size: None, content)
    with publishing():
        sent = conditional.copy_by_server(found, storage, name, told, seen)
    if sent is None:
        return None
    if not sent.is_proven:
        check(destination, name, copied)
    return copied


def _open(source: Tier, destination: Tier, name: str, progress: Callable[[int], None]) -> File[bytes]:
    try:
        file = streams.open_for_read(source.storage, name)
        # Clients of servers read it in threads of their own, which the transaction does not reach.
        stays = traits.joins_transactions(source.backend) and not traits.is_local(destination.storage)
        return streams.fetched(file, name, progress) if stays else file
    except Exception as error:  # noqa: BLE001 - raised, as the source's
        outage.raise_told(source, error)


def check(
    tier: Tier,
    name: str,
    expected: Copy,
    verify: Verify = "size",
    progress: Callable[[int], None] = lambda count: None,
) -> None:
    """Raise CopyMismatch unless the tier holds what is expected: of that size, or of that content."""
    try:
        _check(tier, name, expected, verify, progress)
    except Exception as error:
        if not traits.is_missing(error):
            raise
        raise CopyMismatch(f"tier {tier.name!r} does not hold the file") from error


def _check(tier: Tier, name: str, expected: Copy, verify: Verify, progress: Callable[[int], None]) -> None:
    storage = tier.storage
    if disk.is_link(storage, name):
        raise CopyMismatch(f"tier {tier.name!r} holds a link, not a copy of the file")
    tells_size = not traits.changes_content(storage)
    if tells_size and (size := storage.size(name)) != expected.size:
        raise CopyMismatch(f"tier {tier.name!r} holds {size} of {expected.size} bytes")
    if (verify == "content" or not tells_size) and _digest(storage, name, progress) != expected.digest:
        raise CopyMismatch(f"tier {tier.name!r} holds other content than was sent to it")


def way(source: Tier, destination: Tier) -> str:
    """Say in words how files get from tier to tier; one that is out of the ordinary may go another way."""
    storage = destination.storage
    if direct.is_way(storage):
        if direct.is_way(source.storage) and direct.is_one_server(source.storage, storage):
            return "the server copies them, or signed requests on kept connections send them"
        return "signed requests on kept connections, large files in parts side by side"
    if staging.can_stage(storage):
        return "written beside their place, and renamed"
    if traits.is_chain(storage):
        return "through the chain there"
    return "the storage's own save()"


def common_digest(tiers: Sequence[Tier], name: str) -> str | None:
    """Return the digest of the content that all these tiers hold by the name; None where they hold different ones."""
    if not any(traits.changes_content(tier.storage) for tier in tiers):
        sizes = {outage.ask(tier, partial(tier.storage.size, name)) for tier in tiers}
        if len(sizes) > 1:
            return None
    digests = {_digest(tier.storage, name, lambda count: None) for tier in tiers}
    return digests.pop() if len(digests) == 1 else None


def digest(tier: Tier, name: str) -> str:
    """Return the digest of all that the tier holds by the name."""
    return _digest(tier.storage, name, lambda count: None)


def writes_in_place(tier: Tier) -> bool:
    """Tell whether a copy there first destroys what lies by its name, or is a part of a file for a while."""
    storage = tier.storage
    if (
        staging.can_stage(storage)
        or memory.can_stage(storage)
        or traits.is_chain(storage)
        or traits.overwriting_option(storage) is not None
    ):
        return False
    return not traits.replaces_at_once(storage)


def appears_at_once(tier: Tier) -> bool:
    """Tell whether a copy there appears whole, in one step, with nobody kept waiting while it is sent."""
    storage = tier.storage
    return staging.can_stage(storage) or memory.can_stage(storage) or conditional.can_save(storage)


def can_fence(tier: Tier) -> bool:
    """Tell whether an attempt can be kept from publishing there by taking away what it staged."""
    return staging.can_stage(tier.storage)


def fence(tier: Tier, name: str, staged: str) -> None:
    """Keep who stages the file by this base name from publishing it."""
    if staging.can_stage(tier.storage):
        staging.discard(tier.storage, name, staged)


def times(tier: Tier, name: str) -> dict[str, datetime]:
    """Return the times that the tier tells of a file; backends that keep none are left out."""
    if disk.tells_times(tier.storage):
        return disk.times(tier.storage, name)
    told: dict[str, datetime] = {}
    for kind in ("accessed", "created", "modified"):
        try:
            told[f"{kind}_at"] = traits.as_settings_say(getattr(tier.storage, f"get_{kind}_time")(name))
        except NotImplementedError:
            continue
    return told


def _taken(
    opened: File[bytes], source: Tier, content: Content, progress: Callable[[int], None]
) -> Whole | Metered:
    """Return what the destination takes the bytes from."""
    raise_told = partial(outage.raise_told, source)
    if content.size is None or content.size > SMALL:
        return Metered(opened, raise_told, progress)
    whole = Whole(_read(opened, raise_told, progress))
    _compare(source, content, whole.result())
    return whole


def _read(
    opened: File[bytes], raise_told: Callable[[Exception], NoReturn], progress: Callable[[int], None]
) -> bytes:
    """Return all that a small file holds, or of one that is not small enough to know that."""
    pieces, left = list[bytes](), SMALL + 1
    while left:
        try:
            piece = opened.read(left)
        except Exception as error:  # noqa: BLE001 - raised, as the source's
            raise_told(error)
        if not piece:
            break
        pieces.append(piece)
        left -= len(piece)
        progress(len(piece))
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class Whole:
    """The bytes of a small source, all read before the destination takes one: what is not right is not sent."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._digest = hashlib.sha256(data).hexdigest()

    def as_upload(self, content: Content) -> File[bytes]:
        """Return the bytes as a storage's ``save()`` takes them."""
        return _upload(io.BytesIO(self._data), len(self._data), self.digest_of, content)

    def digest_of(self, size: int) -> str | None:
        return self._digest if size == len(self._data) else None

    def result(self) -> Copy:
        """Return what was read."""
        return Copy(len(self._data), self._digest)


def _upload(stream: Any, size: int, digest_of: Callable[[int], str | None], content: Content) -> File[bytes]:
    upload = File(stream, name=content.name)
    upload.size = size
    if content.content_type:
        upload.content_type = content.content_type  # type: ignore[attr-defined] # as uploads have it
    upload.digest_of = digest_of  # type: ignore[attr-defined]
    upload.DEFAULT_CHUNK_SIZE = CHUNK
    return upload


class Metered(io.RawIOBase):
    """The bytes of an open source as the destination takes them: counted and digested on their way."""

    def __init__(
        self,
        source: File[bytes],
        raise_told: Callable[[Exception], NoReturn],
        progress: Callable[[int], None],
    ) -> None:
        self._source = source
        # A class of its own may do more in its read(), decrypt say.
        self._is_stock = type(source) is File and type(source.file) is io.BufferedReader
        self._raise_told = raise_told
        self._progress = progress
        self._hash = hashlib.sha256()
        self._position = 0
        self._digested = 0

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        try:
            count = self._read_into(view)
        except Exception as error:  # noqa: BLE001 - raised, as the source's: the destination did nothing wrong
            self._raise_told(error)
        self._digest(view[:count])
        self._progress(count)
        return count

    def _read_into(self, view: memoryview) -> int:
        if self._is_stock:
            count: int = self._source.file.readinto(view)  # type: ignore[union-attr]
            return count
        data = self._source.read(view.nbytes)
        view[: len(data)] = data
        return len(data)

    def _digest(self, data: memoryview) -> None:
        end = self._position + len(data)
        # Clients read parts twice (a checksum, then the request): only bytes not yet seen are digested.
        if self._position <= self._digested < end:
            self._hash.update(data[self._digested - self._position :])
            self._digested = end
        self._position = end

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._source.seek(offset, whence)
        self._position = self._source.tell()
        return self._position

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        """The source is closed by who opened it: some clients close what they read."""

    def as_upload(self, content: Content) -> File[bytes]:
        """Return the bytes, from their start, as a storage's ``save()`` takes them."""
        self.seek(0)
        size = self._source.size if content.size is None else content.size
        return _upload(io.BufferedReader(self, CHUNK), size, self.digest_of, content)

    def digest_of(self, size: int) -> str | None:
        """Return the digest of the first bytes, as many as that; None if it is that of more or less by now."""
        return self._hash.hexdigest() if self._digested == size else None

    def result(self) -> Copy:
        """Return what was read; what the destination skipped is read now."""
        self.seek(self._digested)
        buffer = bytearray(CHUNK)
        while self.readinto(buffer):
            pass
        return Copy(self._digested, self._hash.hexdigest())


def _rewound(content: File[Any]) -> File[Any]:
    if content.seekable():
        content.seek(0)
    return content


def _publish(
    upload: Callable[[], File[Any]],
    *,
    storage: Storage,
    durable: bool,
    content: Content,
    replace: bool,
    staged: str,
    publishing: Callable[[], AbstractContextManager[None]],
) -> bool:
    """Put the content there; return whether the destination's answer proves that it holds exactly that."""
    name = content.name
    if staging.can_stage(storage):
        with (
            staging.stage(
                storage, name, upload(), durable=durable, staging=staged, modified_at=content.modified_at
            ) as ready,
            publishing(),
        ):
            ready.publish(name, overwrite=True)
        return False
    if memory.can_stage(storage):
        content_in_memory = memory.Staged(storage, upload())
        with publishing():
            content_in_memory.publish(name, overwrite=True)
        return False
    if traits.is_chain(storage):
        with publishing(), storage.open(name, "wb") as file:  # which replaces a file by its name
            for chunk in upload().chunks():
                file.write(chunk)
        return False
    if conditional.can_save(storage):
        return _publish_on_condition(upload, storage, name, publishing, look_first=replace)
    if (option := traits.overwriting_option(storage)) is not None:
        storage = traits.with_option(storage, *option)
    with publishing():
        if replace and not traits.overwrites(storage):
            storage.delete(name)
        if _saved_as(storage, upload(), name):
            return False
        # The name was taken by what nobody knew of: an earlier attempt's rest, or the file of an older deployment.
        storage.delete(name)
        if not _saved_as(storage, upload(), name):
            raise PermanentFailure(_RENAMES)
    return False


def _publish_on_condition(
    upload: Callable[[], File[Any]],
    storage: Storage,
    name: str,
    publishing: Callable[[], AbstractContextManager[None]],
    *,
    look_first: bool,
) -> bool:
    seen = conditional.look(storage, name) if look_first else None
    for _ in range(WRITES):
        try:
            with publishing():
                written = conditional.save(storage, name, upload, seen)
                if written.name != name:
                    raise PermanentFailure(_RENAMES)
        except conditional.Changed:
            # An object that nobody knew of, or an attempt that lost this file: then ``publishing`` ends this one.
            seen = conditional.look(storage, name)
        else:
            return written.is_proven
    raise CopyMismatch("others go on writing by this name")


def _saved_as(storage: Storage, upload: File[bytes], name: str) -> bool:
    saved = storage.save(name, upload)
    if saved == name:
        return True
    try:
        storage.delete(saved)
    except Exception as error:
        raise LeftBehind(saved, error) from error
    return False


def _compare(source: Tier, expected: Content, copied: Copy) -> None:
    if expected.size is not None and copied.size != expected.size:
        raise CopyMismatch(
            f"tier {source.name!r} holds {copied.size} bytes of the {expected.size} that were saved"
        )
    if expected.digest and copied.digest != expected.digest:
        raise CopyMismatch(f"tier {source.name!r} holds other content than was saved")


def _digest(storage: Storage, name: str, progress: Callable[[int], None]) -> str:
    digest = hashlib.sha256()
    with streams.open_for_read(storage, name) as file:
        while data := file.read(CHUNK):
            digest.update(data)
            progress(len(data))
    return digest.hexdigest()
