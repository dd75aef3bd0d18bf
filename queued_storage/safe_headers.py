"""Headers with which a file that anybody may have uploaded cannot act as a page, or a script, of the site."""

from __future__ import annotations

import mimetypes
import posixpath
import re
from collections.abc import Iterator

from django.utils.http import content_disposition_header

#: What browsers show themselves and do not execute; everything else is for saving.
_SHOWN = re.compile(
    r"image/(?:avif|bmp|gif|heic|jpeg|png|tiff|vnd\.microsoft\.icon|webp|x-icon)|(?:audio|video)/[a-z0-9.-]+"
    r"|text/plain|application/pdf"
)
#: What a page can be made to load as its own script or style sheet, whatever the disposition; as bytes of no type it
#: is refused.
_CODE = re.compile(
    r"(?:text|application)/(?:x-)?(?:javascript|ecmascript|jscript|livescript)[0-9.]*|text/css"
)
#: A type and, at most, its charset.
_TYPE = re.compile(
    r"([a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+)[ \t]*(;[ \t]*charset=\"?[a-z0-9_.:-]+\"?)?(?:[ \t]*;.*)?"
)
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_BYTES = "application/octet-stream"
#: What a name says that ends with the name of a compression: the file is that, not what is in it.
_COMPRESSED = {"gzip": "application/gzip", "bzip2": "application/x-bzip", "xz": "application/x-xz"}

POLICY = "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox"


def headers(name: str, content_type: str) -> Iterator[tuple[str, str]]:
    """Yield what to send with the file of that name; the type is what the catalog says, or "" to go by the name."""
    kind, charset = _kind(name, content_type)
    yield "Content-Type", kind + charset
    filename = _CONTROLS.sub("_", posixpath.basename(name))
    yield "Content-Disposition", str(content_disposition_header(not _SHOWN.fullmatch(kind), filename))
    yield "X-Content-Type-Options", "nosniff"
    if (
        kind != "application/pdf"
    ):  # browsers' viewers of PDF are no part of the site, and show nothing in a sandbox
        yield "Content-Security-Policy", POLICY


def _kind(name: str, content_type: str) -> tuple[str, str]:
    match = _TYPE.fullmatch(content_type.strip().lower()) or _TYPE.fullmatch(_guessed(name))
    kind, charset = match.groups() if match is not None else (_BYTES, None)
    return (_BYTES, "") if _CODE.fullmatch(kind) else (kind, charset or "")


def _guessed(name: str) -> str:
    kind, encoding = mimetypes.guess_type(f"/{name}")  # with a slash, for "data:" is taken for a URL
    return _COMPRESSED.get(encoding, _BYTES) if encoding else kind or _BYTES
