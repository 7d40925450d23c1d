"""Files whose content is made when they are opened: whole, or as a stream as they are read.

Threading: a stream is read under a lock of its own.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    #: Begins a stream from its beginning.
    Begin = Callable[[], Iterator[bytes]]

#: Bytes behind the reader that a stream keeps: the kernel may ask for two places at once.
KEPT = 1024 * 1024


class Made:
    """The content of one open file.

    Args:
        content: all of it, or what begins a stream of it. Whoever reads a stream backwards has it made anew.
    """

    def __init__(self, content: bytes | Begin) -> None:
        self._lock = threading.Lock()
        self._begin = content if callable(content) else None
        self._stream: Iterator[bytes] = iter(())
        self._held = b"" if callable(content) else content
        #: Where in the file the bytes that are held begin.
        self._start = 0
        if self._begin is not None:
            self._stream = self._begin()

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes at `offset`, fewer only at the end."""
        if self._begin is None:
            return self._held[offset : offset + length]
        with self._lock:
            if offset < self._start:
                self._stream, self._held, self._start = self._begin(), b"", 0
            self._advance(offset + length)
            found = self._held[offset - self._start :][:length] if offset >= self._start else b""
            passed = offset - KEPT - self._start
            if passed > 0:
                self._held, self._start = self._held[passed:], self._start + passed
            return found

    def _advance(self, stop: int) -> None:
        parts = [self._held]
        end = self._start + len(self._held)
        while end < stop:
            part = next(self._stream, b"")
            if not part:
                break
            parts.append(part)
            end += len(part)
        self._held = b"".join(parts)
