"""Content that says which save it is of, and shows by itself whether it is whole."""

from __future__ import annotations

import hashlib
import random

DIGEST = hashlib.sha256().digest_size


def make(op: str, size: int) -> bytes:
    """Return the one content that belongs to this operation, of about this size."""
    head = f"chaos {op} {size}\n".encode()
    whole = head + random.Random(op).randbytes(max(size - len(head) - DIGEST, 0))
    return whole + hashlib.sha256(whole).digest()


def op_of(data: bytes) -> str | None:
    """Return the operation whose content this is; None where bytes are missing, or of several contents."""
    words = data[:200].partition(b"\n")[0].split(b" ")
    if len(words) != 3 or words[0] != b"chaos" or hashlib.sha256(data[:-DIGEST]).digest() != data[-DIGEST:]:
        return None
    return words[1].decode()
