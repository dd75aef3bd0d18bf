"""Tasks of the project's own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from django.conf import settings

from queued_storage.tasks import Transfer


class TransferAndLog(Transfer):
    """Says in a file which process made the transfer."""

    def transfer(self, name: str, local: Any, remote: Any, **kwargs: Any) -> bool:
        result = super().transfer(name, local, remote, **kwargs)
        with Path(settings.MEDIA_ROOT, "transfers.log").open("a") as log:
            log.write(f"{name} {result} {os.getpid()}\n")
        return result


class SecondTime(Transfer):
    """Returns False at first, and is called again."""

    def transfer(self, name: str, local: Any, remote: Any, **kwargs: Any) -> bool:
        tried = Path(settings.MEDIA_ROOT, "tried")
        if tried.exists():
            return super().transfer(name, local, remote, **kwargs)
        tried.touch()
        return False


class Undecided(Transfer):
    """Returns neither True nor False."""

    def transfer(self, name: str, local: Any, remote: Any, **kwargs: Any) -> Any:
        return "done"
