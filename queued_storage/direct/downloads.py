"""Objects from S3: their bytes from a position on, as one answer that is read on."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, NoReturn

from .answers import code_of
from .connections import BROKEN, Exchange
from .line import line_to


class Answer:
    """What ``get_object`` of boto3 answers, as far as a stream needs it."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        headers = exchange.headers
        self.etag = headers.get("ETag") or ""
        self.encoding = headers.get("Content-Encoding") or ""
        self.length = int(headers.get("Content-Length") or 0)
        self.range = headers.get("Content-Range") or ""

    def readinto(self, buffer: Any) -> int:
        from botocore.exceptions import ResponseStreamingError

        try:
            return self._exchange.readinto(buffer)
        except BROKEN as error:
            raise ResponseStreamingError(error=error) from error

    def close(self) -> None:
        self._exchange.close()


def get(storage: Any, key: str, position: int, etag: str) -> Answer | None:
    """Ask for the object's bytes from the position on, if its ETag is still the one given.

    Return None where the storage's client has to ask; raise ClientError as that does where there is no such object.
    """
    line = line_to(storage)
    if line is None:
        return None
    headers = {"Range": f"bytes={position}-"}
    if etag:
        headers["If-Match"] = etag
    try:
        exchange = line.ask("GET", key, headers)
        if exchange.status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            return Answer(exchange)
        told = exchange.read()
    except BROKEN:
        return None
    if exchange.status == HTTPStatus.NOT_FOUND and (code := code_of(told)):
        _raise(code, exchange.status)
    return None


def _raise(code: str, status: int) -> NoReturn:
    from botocore.exceptions import ClientError

    metadata: Any = {"HTTPStatusCode": int(status)}
    raise ClientError({"Error": {"Code": code, "Message": ""}, "ResponseMetadata": metadata}, "GetObject")
