"""Files of a storage that has no web server of its own, over Django."""

from __future__ import annotations

import errno
from typing import Any

from django.core.exceptions import SuspiciousFileOperation
from django.core.files.storage import storages
from django.http import FileResponse, Http404, HttpRequest, HttpResponseNotModified
from django.http.response import HttpResponseBase
from django.utils.http import http_date, parse_http_date_safe
from django.views.decorators.http import require_safe

_NO_FILE = (FileNotFoundError, IsADirectoryError, NotADirectoryError)


@require_safe
def serve(request: HttpRequest, path: str, storage: str = "default") -> HttpResponseBase:
    """Answer with the file of that name, in the storage of that alias of STORAGES.

    Whoever may see the URL may see the file. What users uploaded cannot act as a page of this site.
    """
    files: Any = storages[storage]
    try:
        modified = _modified(files, path)
        since = parse_http_date_safe(request.headers.get("If-Modified-Since", ""))
        if modified is not None and since is not None and modified <= since:
            return HttpResponseNotModified()
        content_type = files.content_type(path) if hasattr(files, "content_type") else ""
        response = FileResponse(files.open(path), content_type=content_type or None)
    except (SuspiciousFileOperation, ValueError, OSError) as error:
        if not _is_no_file(error):
            raise
        raise Http404("There is no such file.") from error
    if modified is not None:
        response["Last-Modified"] = http_date(modified)
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response


def _modified(files: Any, path: str) -> int | None:
    try:
        return int(files.get_modified_time(path).timestamp())
    except NotImplementedError:  # a storage that knows no times
        return None


def _is_no_file(error: Exception) -> bool:
    """Tell whether there is no file by the name, or can be none: a folder's, one that is too long or has a NUL."""
    if isinstance(error, OSError):
        return isinstance(error, _NO_FILE) or error.errno == errno.ENAMETOOLONG
    return True
