"""Why a file was not moved, in one of few words: what can be counted, where each reason is a text of its own.

The reason is read, not the error: a row keeps nothing else, and what is told of it must not depend on when one looks.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Reason(NamedTuple):
    """What a reason tells: the tier that it begins with ("" if with none), and the cause, one of ``ALL``."""

    tier: str
    cause: str


def read(reason: str) -> Reason:
    """Return what the reason of a failure tells; a text that nobody has foreseen is "other"."""
    reason = _GIVEN_UP.sub("", reason)
    # Where a reason begins with no tier's name, what looks like one may be a part of a file's.
    tier = _TIER.match(reason)
    cause = next((cause for cause, sign in _SIGNS.items() if sign.search(reason)), OTHER)
    return Reason("" if tier is None else tier[1], cause)


OTHER = "other"
_GIVEN_UP = re.compile(r"^given up after \d+ attempts: ")
_TIER = re.compile(r"(?:no good copy is left: )?[Tt]ier '([A-Za-z0-9_.-]+)'")

#: The first that is found holds: this package's own words come before those of backends, which may hold anything.
_SIGNS = {
    "killed": re.compile(r"^its workers died"),
    "settings": re.compile(
        r"QUEUED_STORAGE_|STORAGES\[|^this process does not know|is not in the settings|ImproperlyConfigured"
    ),
    "identity": re.compile(r" identity file "),
    "window": re.compile(r"^tier '[^']+' is outside of its WINDOW"),
    "policy": re.compile(r"^policy '|holds the last verified copy|are one folder"),
    "mismatch": re.compile(
        r"holds \d+ of \d+ bytes|holds \d+ bytes of the \d+|holds other content|holds a link"
        r"|^others go on writing|^copies that were verified are not there"
    ),
    "refused": re.compile(r" returned False for '"),
    "name": re.compile(r"saves under another name|File name too long|\[Errno (?:21|27|36|84)\]"),
    "full": re.compile(
        r"^tier '[^']+' is full\b|no space left|quota exceeded|insufficient storage", re.IGNORECASE
    ),
    "timeout": re.compile(r"did not answer|no time left|within ATTEMPT_LIMIT|[Tt]imed? ?out|Timeout"),
    "denied": re.compile(
        r"permission ?(error|denied)|access ?denied|forbidden|unauthori[sz]ed|unauthenticated|\b40[13]\b"
        r"|InvalidAccessKey|SignatureDoesNotMatch|ExpiredToken|NoCredentials|authenti?cation",
        re.IGNORECASE,
    ),
    "missing": re.compile(
        r"does not hold|^no tier holds|^no good copy is left|FileNotFoundError|NoSuch|NotFound|\b404\b"
    ),
    "unreachable": re.compile(
        r"connection|is unavailable|unreachable|gaierror|EOFError|broken pipe|no route|host is down"
        r"|\b50[0234]\b|slowdown",
        re.IGNORECASE,
    ),
}

#: Every word that ``read`` can answer with.
ALL = (*_SIGNS, OTHER)
