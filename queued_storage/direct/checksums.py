"""Checksums as S3 spells them."""

from __future__ import annotations

import base64
import zlib
from typing import Any


def crc32(body: Any) -> str:
    return base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
