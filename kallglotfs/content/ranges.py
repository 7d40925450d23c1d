"""Arithmetic of byte ranges and the headers that carry them. Pure.

Ranges are half-open (`start` is in, `stop` is not); only the header is inclusive (RFC 9110, 14.1).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_CONTENT_RANGE = re.compile(r"bytes\s+(?:(\d{1,19})-(\d{1,19})|\*)/(\d{1,19}|\*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ContentRange:
    """A parsed `Content-Range`: the half-open range sent (None when unsatisfied) and the total size."""

    start: int | None
    stop: int | None
    total: int | None


def parse_content_range(header: str | None) -> ContentRange | None:
    """Parse a `Content-Range` header (RFC 9110, 14.4).

    Returns:
        The range, or None when the header is missing or makes no sense.
    """
    match = _CONTENT_RANGE.fullmatch((header or "").strip())
    if match is None:
        return None
    first, last, size = match.groups()
    total = None if size == "*" else int(size)
    if first is None:
        return ContentRange(None, None, total)
    start, stop = int(first), int(last) + 1
    if stop <= start or (total is not None and stop > total):
        return None
    return ContentRange(start, stop, total)


def range_header(start: int, stop: int | None) -> str:
    """Return the `Range` value for the bytes from `start` to before `stop` (to the end when None)."""
    return f"bytes={start}-" if stop is None else f"bytes={start}-{stop - 1}"


def clamp(offset: int, length: int, size: int) -> range:
    """Return the part of `length` bytes at `offset` that lies inside a file of `size` bytes."""
    start = min(max(offset, 0), size)
    return range(start, max(start, min(offset + length, size)))


def blocks_of(part: range, block_size: int) -> range:
    """Return the indices of the blocks that hold the bytes of `part`."""
    if not part:
        return range(0)
    return range(part.start // block_size, (part.stop - 1) // block_size + 1)


def block_count(size: int, block_size: int) -> int:
    """Return how many blocks a file of `size` bytes has."""
    return -(-size // block_size)


def block_range(index: int, block_size: int, size: int) -> range:
    """Return the bytes of block `index` in a file of `size` bytes; the last one is shorter."""
    return range(index * block_size, min((index + 1) * block_size, size))
