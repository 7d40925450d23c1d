"""Answering a request for bytes, with or without a range (RFC 9110, 14)."""

from __future__ import annotations

import re

from kallglotfs.demo.wire import Answer

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def serve_bytes(content: bytes, headers: dict[str, str], asked: str | None) -> Answer:
    """Return 200 with everything, 206 with a part, or 416.

    Args:
        content: the whole file.
        headers: sent whatever the status.
        asked: the Range header; one that makes no sense counts as none.
    """
    size = len(content)
    match = _RANGE.fullmatch(asked.replace(" ", "")) if asked else None
    if match is None or match.groups() == ("", ""):
        return Answer(200, headers, content)
    first, last = match.groups()
    start = int(first) if first else max(0, size - int(last))
    stop = min(int(last) + 1, size) if first and last else size
    if start >= size or stop <= start:
        return Answer(416, headers | {"Content-Range": f"bytes */{size}"})
    part = {"Content-Range": f"bytes {start}-{stop - 1}/{size}", "Accept-Ranges": "bytes"}
    return Answer(206, headers | part, memoryview(content)[start:stop])
