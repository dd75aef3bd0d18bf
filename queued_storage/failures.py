"""What errors mean: missing, out of reach, permanent, no room. What libraries raise is told in ``knowledge``."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import SuspiciousOperation

from .knowledge import is_unprintable, judged


def is_missing(error: BaseException) -> bool:
    """Tell whether the error says that there is no such file, and nothing about the tier's health."""
    # InMemoryStorage says FileExistsError of a name below a file, where disks say NotADirectoryError.
    if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError | FileExistsError):
        return True
    return judged("missing", error)


def is_outage(error: BaseException) -> bool:
    """Tell whether the error is about reaching the server, so that other files would meet it too."""
    error = _behind_wrapper(error)
    if isinstance(error, TimeoutError | ConnectionError | EOFError | socket.gaierror):
        return True
    if isinstance(error, OSError) and (error.errno in _UNREACHABLE or error.args == ("Socket is closed",)):
        return True
    return judged("outage", error)


def is_permanent(error: BaseException) -> bool:
    """Tell whether trying again surely cannot help before somebody changes something: a login, a name, a bucket.

    What may heal by itself is not permanent: an expired token, a clock that is wrong, a disk that is mounted anew.
    """
    error = _behind_wrapper(error)
    if isinstance(error, OSError) and error.errno in _REFUSED_NAMES:
        return True
    return judged("permanent", error)


def is_capacity(error: BaseException) -> bool:
    """Tell whether the error says that there is no room for the file: a full disk, a quota."""
    error = _behind_wrapper(error)
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _NO_ROOM
    if _http_status(error) == 507 or judged("capacity", error):
        return True
    # SFTP has no code for it before version 5, and paramiko speaks version 3: but some servers say it in words.
    return type(error) is OSError and _NO_ROOM_IN_WORDS.search(str(error)) is not None


def prints_its_options(error: BaseException) -> bool:
    """Tell whether the error's text is the configuration of its storage, and its cause the only news."""
    return is_unprintable(error)


def _behind_wrapper(error: BaseException) -> BaseException:
    """Return the error that a wrapper without information of its own was raised from."""
    while prints_its_options(error) and (behind := error.__cause__ or error.__context__) is not None:
        error = behind
    return error


def _http_status(error: Any) -> int | None:
    """Return the HTTP status in an error of any of the clients; each has another place for it."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):  # botocore
        return response.get("ResponseMetadata", {}).get("HTTPStatusCode")  # type: ignore[no-any-return]
    places = (getattr(error, each, None) for each in ("status_code", "http_status", "code"))
    return next(
        (each for each in (*places, getattr(response, "status_code", None)) if isinstance(each, int)), None
    )


def is_programming_error(error: BaseException) -> bool:
    """Tell whether the error speaks of the code or the call, and must reach the caller as it is."""
    return isinstance(error, _PROGRAMMING_ERRORS)


_PROGRAMMING_ERRORS = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, MemoryError, NameError,
    NotImplementedError, SuspiciousOperation, SyntaxError, TypeError, ValueError,
)  # fmt: skip


_UNREACHABLE = frozenset({errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH})
#: The name cannot be, on this file system, or is a directory's; or the file is larger than a file can be.
_REFUSED_NAMES = frozenset({errno.EFBIG, errno.EILSEQ, errno.EISDIR, errno.ENAMETOOLONG})
_NO_ROOM = frozenset({errno.EDQUOT, errno.ENOSPC})
_NO_ROOM_IN_WORDS = re.compile("no space left|disk (is )?full|quota", re.IGNORECASE)
