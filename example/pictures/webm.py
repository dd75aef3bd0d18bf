"""A WebM file from still pictures, without any video encoder.

A lossy WebP holds one VP8 key frame, and a WebM of VP8 is such frames in a row: what Pillow compresses is put there as
it is. Every frame being a key frame, the file is larger than it need be, and a player can begin anywhere.
"""

import struct
from collections.abc import Iterable, Sequence
from io import BytesIO

from PIL import Image


def webm(frames: Iterable[Image.Image], rate: int, quality: int = 70) -> bytes:
    """Make a film of pictures of one size, ``rate`` of them a second."""
    pictures = iter(frames)
    first = next(pictures)
    coded = [_key_frame(first, quality), *(_key_frame(picture, quality) for picture in pictures)]
    clusters = [_cluster(coded[start : start + rate], start, rate) for start in range(0, len(coded), rate)]
    info = _element(
        "1549A966",
        _number("2AD7B1", 1_000_000),  # one tick is a millisecond
        _text("4D80", "album"),
        _text("5741", "album"),
        _element("4489", _float64(len(coded) * 1000 / rate)),
    )
    size = _element("E0", _number("B0", first.width), _number("BA", first.height))
    track = _element("AE", _number("D7", 1), _number("73C5", 1), _number("83", 1), _text("86", "V_VP8"), size)
    tracks = _element("1654AE6B", track)
    head = _element(
        "1A45DFA3",
        _number("4286", 1),
        _number("42F7", 1),
        _number("42F2", 4),
        _number("42F3", 8),
        _text("4282", "webm"),
        _number("4287", 2),
        _number("4285", 2),
    )
    before = info + tracks
    return head + _element("18538067", before, _cues(clusters, len(before)), *clusters)


def _key_frame(picture: Image.Image, quality: int) -> bytes:
    content = BytesIO()
    picture.convert("RGB").save(content, "WEBP", quality=quality, method=0)
    webp = content.getvalue()
    # RIFF, size, WEBP, then chunks; a lossy picture without alpha has this one first.
    if webp[12:16] != b"VP8 ":
        raise ValueError("Pillow has made a WebP of another kind than the simple lossy one.")
    return webp[20 : 20 + int.from_bytes(webp[16:20], "little")]


def _cluster(frames: Sequence[bytes], start: int, rate: int) -> bytes:
    """Put a second of frames together: each with its time within the cluster, and the mark of a key frame."""
    blocks = (
        _element("A3", b"\x81", (number * 1000 // rate).to_bytes(2, "big"), b"\x80", frame)
        for number, frame in enumerate(frames)
    )
    return _element("1F43B675", _number("E7", start * 1000 // rate), *blocks)


def _cues(clusters: Sequence[bytes], offset: int) -> bytes:
    """Make the index by which a player finds a second: where each cluster is, counted from the segment's start."""
    made = b""
    while True:
        points, place = [], offset + len(made)
        for second, cluster in enumerate(clusters):
            where = _element("B7", _number("F7", 1), _number("F1", place, 8))
            points.append(_element("BB", _number("B3", second * 1000), where))
            place += len(cluster)
        index = _element("1C53BB6B", *points)
        if len(index) == len(made):
            return index
        made = index  # its own length moves what it tells of


def _element(identifier: str, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return bytes.fromhex(identifier) + (len(content) | 1 << 56).to_bytes(8, "big") + content


def _number(identifier: str, value: int, length: int = 0) -> bytes:
    return _element(identifier, value.to_bytes(length or max(1, (value.bit_length() + 7) // 8), "big"))


def _text(identifier: str, value: str) -> bytes:
    return _element(identifier, value.encode())


def _float64(value: float) -> bytes:
    return struct.pack(">d", value)
