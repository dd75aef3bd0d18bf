"""Log lines: an event, and what is known of it as ``key=value``; ``docs/reference/logs.rst`` lists them.

A value with blanks, quotes or nothing in it is quoted, as JSON quotes it, so that lines can be taken apart again. The
same facts, not yet texts, are the record's ``queued_storage``, for formatters that write JSON.
"""

from __future__ import annotations

import json
import logging
import re
from typing import Any

logger = logging.getLogger("queued_storage")

_PLAIN = re.compile(r"""[^\s"'=\\]+""")


class Pairs(dict[str, Any]):
    """Facts that become a text only where a line is written."""

    def __str__(self) -> str:
        return " ".join(f"{key}={_text(value)}" for key, value in self.items())


def debug(event: str, **facts: Any) -> None:
    _log(logging.DEBUG, event, facts)


def info(event: str, **facts: Any) -> None:
    _log(logging.INFO, event, facts)


def warning(event: str, **facts: Any) -> None:
    _log(logging.WARNING, event, facts)


def error(event: str, **facts: Any) -> None:
    _log(logging.ERROR, event, facts)


def _log(level: int, event: str, facts: dict[str, Any]) -> None:
    if logger.isEnabledFor(level):
        # The event is a part of the format, by which collectors of errors put lines together that are alike.
        extra = {"queued_storage": {"event": event, **facts}}
        logger.log(level, event + " %s", Pairs(facts), extra=extra, stacklevel=3)  # noqa: G003


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    text = "" if value is None else str(value)
    return text if _PLAIN.fullmatch(text) and text.isprintable() else json.dumps(text)
