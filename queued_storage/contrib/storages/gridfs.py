"""MongoDB's GridFS: files in chunks of documents, as the drivers of all languages lay and read them.

A save writes the chunks first; nobody sees them before the document that stands for the file is there. GridFS knows
revisions of a name: readers take the newest, and a save that overwrites removes those before its own.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.files.base import File
from django.utils.deconstruct import deconstructible

from ...exceptions import ConfigurationError
from ...ranged import BlockStream
from .chunks import cut
from .objects import ATTEMPTS, GONE, PAGE, ObjectStorage, Stored, file_name, type_of

try:
    from bson import CodecOptions, ObjectId
    from pymongo import ASCENDING, DESCENDING, MongoClient, ReadPreference
    from pymongo.collection import Collection
    from pymongo.errors import ConfigurationError as MongoConfigurationError
    from pymongo.errors import PyMongoError
except ImportError as error:
    raise ImportError("GridFSStorage needs pymongo: pip install 'django-queued-storage[gridfs]'") from error

Document = dict[str, Any]

#: pymongo's own defaults wait 30 s for a server, and for ever for an answer.
TIMEOUTS = {"serverSelectionTimeoutMS": 5_000, "connectTimeoutMS": 5_000, "socketTimeoutMS": 20_000}
#: As GridFS has it.
CHUNK = 255 << 10
#: A document has 16 MB.
MAX_CHUNK = 15 << 20
_NEWEST = [("uploadDate", DESCENDING), ("_id", DESCENDING)]
#: Of the files document of a save which is about to find out whether its name is free.
_CLAIM = "metadata.unpublished"
_PUBLISHED = {_CLAIM: {"$ne": True}}

#: One client for each process and server: it has a pool for all threads, and must not cross a fork.
_clients: dict[tuple[int, str, str], MongoClient[Document]] = {}


@deconstructible(path="queued_storage.contrib.storages.gridfs.GridFSStorage")
class GridFSStorage(ObjectStorage):
    """Keeps files in a GridFS bucket of a database of MongoDB.

    ``uri`` is a ``mongodb://`` address; a login may be in it, or in ``username`` and ``password``. ``client_options``
    are pymongo's, over the shorter timeouts that this storage has.
    """

    def __init__(
        self,
        uri: str,
        database: str,
        bucket: str = "fs",
        base_url: str | None = None,
        *,
        username: str | None = None,
        password: str | None = None,
        allow_overwrite: bool = False,
        chunk_size: int = CHUNK,
        client_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(base_url, allow_overwrite=allow_overwrite)
        if not 1 <= chunk_size <= MAX_CHUNK:
            raise ConfigurationError(f"GridFSStorage: write a chunk_size from 1 to {MAX_CHUNK}.")
        login = {"username": username, "password": password}
        self._uri = uri
        self._options = {
            **{option: value for option, value in TIMEOUTS.items() if not _says(uri, option)},
            **{option: value for option, value in login.items() if value is not None},
            **(client_options or {}),
        }
        self._database = database
        self._bucket = bucket
        self._chunk_size = chunk_size
        self._has_indexes = False

    @property
    def _files(self) -> Collection[Document]:
        return self._collection("files")

    @property
    def _chunks(self) -> Collection[Document]:
        return self._collection("chunks")

    def _collection(self, kind: str) -> Collection[Document]:
        # Not a secondary: it may not have heard yet of what was saved a moment ago.
        database = _client(self._uri, self._options).get_database(
            self._database,
            codec_options=CodecOptions(tz_aware=True),
            read_preference=ReadPreference.PRIMARY,
        )
        return database[f"{self._bucket}.{kind}"]

    # ---- reading ----

    def _find(self, name: str) -> Stored | None:
        document = self._files.find_one({"filename": name, **_PUBLISHED}, sort=_NEWEST)
        if document is None:
            return None
        told = (document.get("metadata") or {}).get("contentType") or document.get("contentType")
        return Stored(
            size=int(document["length"]),
            modified_at=document["uploadDate"],
            content_type=told or type_of(name, None),
            key=(document["_id"], int(document["chunkSize"])),
        )

    def _stream(self, name: str, stored: Stored) -> GridFSStream:
        return GridFSStream(self._chunks, stored)

    def _page(self, start: str, end: str) -> list[tuple[str, bool]]:
        span = {"$gte": start, "$lt": end} if end else {"$gte": start}
        found = self._files.find({"filename": span, **_PUBLISHED}, {"filename": 1})
        return [(each["filename"], True) for each in found.sort("filename", ASCENDING).limit(PAGE)]

    # ---- writing ----

    def _save(self, name: str, content: File[Any]) -> str:
        name = file_name(name)
        self._make_indexes()
        with self._uploaded(content) as document:
            document["metadata"] = {"contentType": type_of(name, content)}
            document["filename"] = name
            if not self.allow_overwrite:
                return self._publish_under_free_name(document)
            document["uploadDate"] = self._later_than_all(name)
            self._files.insert_one(document)
        self._remove_older(document)
        return name

    @contextmanager
    def _uploaded(self, content: File[Any]) -> Iterator[Document]:
        """Yield the files document of the content, whose chunks are stored; they go if it cannot be published."""
        document: Document = {"_id": ObjectId(), "chunkSize": self._chunk_size, "uploadDate": _now()}
        try:
            document["length"] = self._upload(document["_id"], content)
            yield document
        except BaseException:
            with suppress(PyMongoError):  # the first error tells more
                self._remove(document["_id"])
            raise

    def _upload(self, key: ObjectId, content: File[Any]) -> int:
        size = 0
        for number, data in enumerate(cut(content, self._chunk_size)):
            # One at a time: pymongo's own GridFSBucket gathers 48 MB before it sends them.
            self._chunks.insert_one({"files_id": key, "n": number, "data": data})
            size += len(data)
        return size

    def _later_than_all(self, name: str) -> datetime:
        """Return the time, or a later one where the clock that the last revision was dated by was ahead of ours."""
        newest = self._find(name)
        if newest is None or newest.modified_at is None:
            return _now()
        return max(_now(), newest.modified_at + timedelta(milliseconds=1))

    def _publish_under_free_name(self, document: Document) -> str:
        """Publish the file under its name, or another one if that is taken; return the one that it got.

        Of two that save under one name, each sees the other's claim or comes first: one of them steps aside.
        """
        document["metadata"]["unpublished"] = True
        self._files.insert_one(document)
        key, name = document["_id"], document["filename"]
        for _ in range(ATTEMPTS):
            if self._files.find_one({"filename": name, "_id": {"$ne": key}}, {"_id": 1}) is None:
                self._update(key, {"$unset": {_CLAIM: ""}})
                return str(name)
            name = self._another(name)
            self._update(key, {"$set": {"filename": name}})
        raise FileExistsError(errno.EEXIST, "Others go on taking the names", document["filename"])

    def _update(self, key: ObjectId, change: Document) -> None:
        if not self._files.update_one({"_id": key}, change).matched_count:
            raise FileNotFoundError(errno.ENOENT, "The file was deleted while it was saved")

    def delete(self, name: str) -> None:
        for revision in self._files.find({"filename": file_name(name)}, {"_id": 1}):
            self._remove(revision["_id"])

    def _remove_older(self, document: Document) -> None:
        """Remove the revisions before this one: of two that replace a file at a time, the later one stays."""
        moment = document["uploadDate"]
        older = [{"uploadDate": {"$lt": moment}}, {"uploadDate": moment, "_id": {"$lt": document["_id"]}}]
        for revision in self._files.find({"filename": document["filename"], "$or": older}, {"_id": 1}):
            self._remove(revision["_id"])

    def _remove(self, key: Any) -> None:
        self._files.delete_one({"_id": key})
        self._chunks.delete_many({"files_id": key})

    def _make_indexes(self) -> None:
        """Make the indexes of GridFS in an empty bucket; in one with files, its owner has decided on them."""
        if self._has_indexes:
            return
        if self._files.find_one({}, {"_id": 1}) is None:
            self._files.create_index([("filename", ASCENDING), ("uploadDate", ASCENDING)])
            self._chunks.create_index([("files_id", ASCENDING), ("n", ASCENDING)], unique=True)
        self._has_indexes = True


class GridFSStream(BlockStream):
    """A file of GridFS as a seekable stream: the chunks that are asked for, a few at a time."""

    def __init__(self, chunks: Collection[Document], stored: Stored) -> None:
        super().__init__()
        self.size = stored.size
        self._chunks = chunks
        self._key, self._chunk_size = stored.key

    def _fetch(self, start: int, length: int) -> bytes:
        first, last = start // self._chunk_size, (start + length - 1) // self._chunk_size
        begin, end = first * self._chunk_size, min((last + 1) * self._chunk_size, self.size)
        found = self._chunks.find({"files_id": self._key, "n": {"$gte": first, "$lte": last}})
        data = b"".join(each["data"] for each in found.sort("n", ASCENDING))
        if len(data) != end - begin:
            raise OSError(errno.ESTALE, GONE)
        return data[start - begin :]  # up to the end of the last chunk: it is here


def _now() -> datetime:
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)  # as MongoDB keeps it


def _says(uri: str, option: str) -> bool:
    return f"{option.lower()}=" in uri.partition("?")[2].lower()


def _client(uri: str, options: Mapping[str, Any]) -> MongoClient[Document]:
    key = (os.getpid(), uri, repr(sorted(options.items())))
    if key not in _clients:
        client = _new_client(uri, options)
        if _clients.setdefault(key, client) is not client:  # another thread was quicker
            client.close()
    return _clients[key]


def _new_client(uri: str, options: Mapping[str, Any]) -> MongoClient[Document]:
    try:
        return MongoClient(uri, connect=False, **options)
    except OSError as error:
        # A certificate that is not there would be taken for a file of the storage that is not.
        raise MongoConfigurationError(f"the client cannot be made: {error}") from error


def close_clients() -> None:
    """Close this process' connections to MongoDB; storages open new ones as they need them.

    Not at the end of the process: with a server that is dead, that would wait for it.
    """
    for key in [key for key in _clients if key[0] == os.getpid()]:
        _clients.pop(key).close()
