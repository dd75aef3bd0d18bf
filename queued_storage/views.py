"""The view behind a file's stable URL: sends its bytes, or says who does."""

from __future__ import annotations

import math
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import DisallowedRedirect, SuspiciousFileOperation
from django.core.files.base import File
from django.core.handlers.asgi import ASGIRequest
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseForbidden,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from django.utils.http import http_date, parse_http_date_safe
from django.views.decorators.http import require_safe

from . import byte_ranges, conf, hosts, links, logs, safe_headers, serving
from .autocommitting import autocommitting
from .chain import chains
from .exceptions import ChainUnavailable, OnAnotherHost, TierUnavailable
from .names import clean, is_own
from .schema import MAX_NAME, Serve
from .serving import Facts
from .storage import TieredStorage


@autocommitting  # what another process commits must be seen, and a download takes its time
@require_safe
def serve(request: HttpRequest, chain: str, name: str) -> HttpResponseBase:
    """Answer for the file of a chain that has stable URLs.

    404 for a name that is unknown or cannot be a file's; 503, never 404, where the tiers that may have it are down;
    for PRIVATE chains 403 without a signature, and 410 with one whose time is over.
    """
    if chain not in chains or chains[chain].config.URLS != "stable":
        raise Http404("There is no such file.")
    storage = TieredStorage(chain)
    if storage.chain.config.PRIVATE and (refusal := _refusal(request, chain, name)) is not None:
        return refusal
    if not _is_name(name):
        raise Http404("There is no such file.")
    try:
        return _Answer(request, storage, name).give()
    except FileNotFoundError as error:
        raise Http404("There is no such file.") from error
    except SuspiciousFileOperation as error:
        raise Http404("No file can have this name.") from error
    except OnAnotherHost as error:
        return _sent_to(request, error)
    except (ChainUnavailable, TierUnavailable) as error:
        logs.warning("not_served", chain=chain, name=name, error=error)
        return _unavailable()


def _refusal(request: HttpRequest, chain: str, name: str) -> HttpResponse | None:
    try:
        links.verify(chain, name, request.GET.get(links.PARAMETER, ""))
    except links.SignatureExpired:
        return HttpResponse(
            "This link has expired.", status=410, headers=_NOT_KEPT, content_type="text/plain"
        )
    except links.BadSignature:
        return HttpResponseForbidden("This link is not valid.", headers=_NOT_KEPT, content_type="text/plain")
    return None


def _sent_to(request: HttpRequest, error: OnAnotherHost) -> HttpResponse:
    """Send the reader to the host that has the file; where that has no URL that is known, it has to leave it first."""
    url = hosts.url(error.host, error.chain, error.name, request.GET)
    if url is None:
        logs.warning("not_served", chain=error.chain, name=error.name, error=error)
        return _unavailable()
    return HttpResponseRedirect(url, headers=_NOT_KEPT)


def _is_name(name: str) -> bool:
    """Tell whether a file can have the name, in this spelling: each has one URL."""
    parts = name.split("/")
    is_plain = name == clean(name) and not name.startswith("/") and ".." not in parts and "\0" not in name
    return is_plain and len(name) <= MAX_NAME and name != "." and not is_own(parts[-1])


def _unavailable() -> HttpResponse:
    seconds = max(math.ceil(conf.get("DOWN_FOR")), 1)
    response = HttpResponse("The file cannot be reached now.", status=503, content_type="text/plain")
    response["Retry-After"] = str(seconds)
    response["Cache-Control"] = "no-store"
    return response


_NOT_KEPT = {"Cache-Control": "no-store"}


class _Answer:
    """The answer to one request, for one file."""

    def __init__(self, request: HttpRequest, storage: TieredStorage, name: str) -> None:
        self.request = request
        self.storage = storage
        self.name = name
        self.chain = storage.chain

    def give(self) -> HttpResponseBase:
        mode = self._mode()
        if mode == "redirect" and (redirect := self._redirect()) is not None:
            return redirect
        facts = serving.facts(self.storage, self.name)
        head = HttpResponse(headers=self._headers(facts))
        conditional = get_conditional_response(self.request, facts.etag or None, facts.same_since, head)
        if conditional is not head:
            return conditional  # type: ignore[return-value]
        if mode.startswith("x-") and (handed := self._handed_over(mode)) is not None:
            return handed
        return self._streamed()

    def _mode(self) -> Serve:
        """Return how the tier that has the file is served, if they differ."""
        mode = self.chain.config.serve
        if any(tier.serve for tier in self.chain):
            return self.storage.reader.locate(self.name).serve or mode
        return mode

    # ---- by others ----

    def _redirect(self) -> HttpResponse | None:
        """Send the browser to the tier's own URL; return None where it has none, or one that none can be sent to."""
        try:
            url = self.storage.reader.url(self.name)
            if urlsplit(url).scheme in ("", "http", "https"):
                return HttpResponseRedirect(url, headers=_NOT_KEPT)
        except (NotImplementedError, ValueError):
            pass
        except DisallowedRedirect:  # longer than this Django sends
            pass
        return None

    def _handed_over(self, mode: Serve) -> HttpResponse | None:
        """Return what has the web server send the file; None where it has no path."""
        before = serving.facts(self.storage, self.name)
        place = serving.Place.of(self.storage, self.name)
        if place is None:
            return None
        try:
            size = place.size()
        except OSError:  # it has moved on meanwhile
            return None
        if serving.facts(self.storage, self.name) != before:
            before = Facts(content_type=before.content_type)
        response = HttpResponse(headers=self._headers(before.of_size(size)))
        if mode == "x-sendfile":
            response["X-Sendfile"] = place.quoted()
        else:
            response["X-Accel-Redirect"] = place.accelerated(self.chain.config.ACCEL_PREFIX)
        return response

    # ---- by this process ----

    def _streamed(self) -> HttpResponseBase:
        file, facts = serving.opened(self.storage, self.name)
        try:
            return self._sending(file, facts)
        except BaseException:
            file.close()
            raise

    def _sending(self, file: File[Any], facts: Facts) -> HttpResponseBase:
        assert facts.size is not None
        size, headers = facts.size, self._headers(facts)
        try:
            part = self._part(facts, size)
        except byte_ranges.Unsatisfiable:
            file.close()
            return HttpResponse(status=416, headers={"Content-Range": f"bytes */{size}"} | _NOT_KEPT)
        if part is not None:
            headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
            headers["Content-Encoding"] = "identity"  # a middleware that compressed a part would break it
        offsets = range(size) if part is None else part
        headers["Content-Length"] = str(len(offsets))
        headers["Accept-Ranges"] = "bytes"
        if self.request.method == "HEAD":
            file.close()
            return HttpResponse(headers=headers)
        sent = serving.Part(file, offsets)
        content = serving.AsyncPart(sent) if isinstance(self.request, ASGIRequest) else sent
        return StreamingHttpResponse(content, status=200 if part is None else 206, headers=headers)

    def _part(self, facts: Facts, size: int) -> range | None:
        header = self.request.headers.get("Range")
        if header is None or self.request.method != "GET" or not self._is_same(facts):
            return None
        return byte_ranges.parse(header, size)

    def _is_same(self, facts: Facts) -> bool:
        """Tell whether the content is, byte for byte, the one of which the client says that it has a part."""
        said = self.request.headers.get("If-Range")
        if said is None:
            return True
        if said.startswith(('"', "W/")):
            return said == facts.etag and not said.startswith("W/")
        if facts.modified is None or not facts.is_dated:
            return False
        return parse_http_date_safe(said) == int(facts.modified.timestamp())

    # ---- headers ----

    def _headers(self, facts: Facts) -> dict[str, str]:
        headers = dict(safe_headers.headers(self.name, facts.content_type))
        # The site's own cache, by Django's middleware, may go by the age alone.
        kept = "no-cache, max-age=0"
        headers["Cache-Control"] = f"private, {kept}" if self.chain.config.PRIVATE else kept
        if facts.etag:
            headers["ETag"] = facts.etag
        if facts.modified is not None:
            headers["Last-Modified"] = http_date(facts.modified.timestamp())
        return headers
