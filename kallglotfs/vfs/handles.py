"""The table of open files.

Threading: one lock, held for look-ups only.
"""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING

from kallglotfs.errors import BadHandle

if TYPE_CHECKING:
    from kallglotfs.content.reader import Content


class Handles:
    """Gives open files their numbers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._open: dict[int, Content] = {}

    def add(self, content: Content) -> int:
        """Return the number of a newly opened file."""
        with self._lock:
            number = next(self._numbers)
            self._open[number] = content
        return number

    def get(self, number: int) -> Content:
        """Return an open file.

        Raises:
            BadHandle: it is not open.
        """
        with self._lock:
            content = self._open.get(number)
        if content is None:
            raise BadHandle(f"file handle {number} is not open")
        return content

    def remove(self, number: int) -> Content | None:
        """Close a file; returns its content when nobody else has that rendition open."""
        with self._lock:
            content = self._open.pop(number, None)
            if content is None:
                return None
            shared = any(other.rendition == content.rendition for other in self._open.values())
        return None if shared else content

    def count(self) -> int:
        """Return how many files are open."""
        with self._lock:
            return len(self._open)
