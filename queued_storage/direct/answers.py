"""What servers answered."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: How S3 names the reason of a refusal.
_ETAG = re.compile(rb"<ETag>(?:&quot;|&#34;|\")?([^<&\"]+)")
_CODE = re.compile(rb"<Code>([A-Za-z0-9]+)</Code>")


class Refused(Exception):
    """The server took the request and said no, with this code of S3's."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Sent:
    """An object that the server took."""

    #: Whether the answer tells that the server keeps exactly these bytes.
    is_proven: bool


def etag_of(body: bytes) -> str:
    """Return the ETag in the text of an answer, without its quotes; empty where it has none."""
    found = _ETAG.search(body)
    return found[1].decode() if found else ""


def code_of(body: bytes) -> str:
    """Return the code in the text of a refusal; empty where it has none."""
    found = _CODE.search(body)
    return found[1].decode() if found else ""
