"""kombu's filesystem broker, with messages that appear whole.

kombu writes a message into the file that consumers look for, so that one which comes in that moment takes an empty
message, and its worker ends. Here the message is written beside it and renamed.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from time import monotonic
from typing import Any

from kombu.transport import filesystem
from kombu.utils.json import dumps


class Channel(filesystem.Channel):
    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:
        # The oldest message is taken first, by its name; what is not named so is no message of the queue.
        message = Path(self.data_folder_out, f"{round(monotonic() * 1000)}_{uuid.uuid4()}.{queue}.msg")
        part = message.with_name(f"{uuid.uuid4()}.part")
        part.write_text(dumps(payload), encoding="utf-8")
        os.replace(part, message)


class Transport(filesystem.Transport):
    Channel = Channel
