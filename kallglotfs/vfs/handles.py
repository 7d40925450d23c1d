"""The table of open files, and what the kernel's page cache may do with each.

The page cache is one per file, not per version. So it is kept over opens as long as the version is the one
its pages are of, dropped when another version is opened, and passed by while two versions are open at once:
neither may ever be served the other's pages.

Threading: one lock, held for look-ups only.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cachetools import LRUCache

from kallglotfs.errors import BadHandle, ContentChanged
from kallglotfs.vfs.made import Made

if TYPE_CHECKING:
    from kallglotfs.content.reader import Content
    from kallglotfs.model import Rendition, Validator

#: Files whose pages' version is remembered, about 300 bytes each; a forgotten one is read again.
MOST_REMEMBERED = 100_000


@dataclass(frozen=True, slots=True)
class Opened:
    """A newly opened file.

    Attributes:
        number: by which it is read and closed.
        keep_cache: whether the kernel may keep the pages it has of the file.
        direct_io: whether the kernel must neither use nor fill its pages.
    """

    number: int
    keep_cache: bool
    direct_io: bool


class Handles:
    """Gives open files their numbers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._open: dict[int, Content | Made] = {}
        self._users: Counter[Rendition] = Counter()
        #: The versions of which the kernel has pages, by recording.
        self._paged: LRUCache[str, dict[Rendition, Validator]] = LRUCache(MOST_REMEMBERED)
        #: Whether every file that was ever opened is remembered.
        self._all_known = True
        #: Open files whose recording is no more.
        self._stale: set[int] = set()
        #: The size by which the kernel knows a path; it reads no further, whatever is opened there.
        self._shown: LRUCache[str, int] = LRUCache(MOST_REMEMBERED)

    def add(self, content: Content) -> Opened:
        """Take up a newly opened file."""
        rendition, validator = content.rendition, content.validator
        with self._lock:
            number = next(self._numbers)
            versions = self._paged.get(rendition.recording_id, {})
            paged = versions.get(rendition)
            in_use = paged is not None and self._users[rendition] > 0
            self._open[number] = content
            self._users[rendition] += 1
            if paged == validator:
                return Opened(number, keep_cache=True, direct_io=False)
            if in_use:
                return Opened(number, keep_cache=True, direct_io=True)
            # A file that was never opened has no pages to drop. Dropping waits for pages on their way: of two
            # who open a new file at once, one would wait in `open` for what the other reads.
            fresh = paged is None and self._all_known
            self._all_known &= len(self._paged) < MOST_REMEMBERED
            self._paged[rendition.recording_id] = {**versions, rendition: validator}
            return Opened(number, keep_cache=fresh, direct_io=False)

    def add_made(self, made: Made) -> Opened:
        """Take up a file whose content is made; its pages would be of use to nobody."""
        with self._lock:
            number = next(self._numbers)
            self._open[number] = made
        return Opened(number, keep_cache=False, direct_io=True)

    def show(self, path: str, size: int) -> None:
        """Take note of the size that the kernel is told of a path."""
        with self._lock:
            self._shown[path] = size

    def is_shown(self, path: str, size: int) -> bool:
        """Tell whether the kernel knows a path by this size, as far as is remembered."""
        with self._lock:
            return bool(self._shown.get(path, size) == size)

    def get(self, number: int) -> Content | Made:
        """Return an open file.

        Raises:
            BadHandle: it is not open.
            ContentChanged: its recording is no more.
        """
        with self._lock:
            content = self._open.get(number)
            stale = number in self._stale
        if content is None:
            raise BadHandle(f"file handle {number} is not open")
        if stale:
            raise ContentChanged("the recording is no more")
        return content

    def end(self, recording_id: str) -> list[Rendition]:
        """Turn a recording's open files stale for good: it is no more.

        Returns:
            The renditions of which the kernel may have pages.
        """
        with self._lock:
            open_files = [
                number
                for number, content in self._open.items()
                if not isinstance(content, Made) and content.rendition.recording_id == recording_id
            ]
            self._stale.update(open_files)
            return list(self._paged.get(recording_id, ()))

    def paged(self, recording_id: str) -> list[Rendition]:
        """Return the renditions of which the kernel may have pages."""
        with self._lock:
            return list(self._paged.get(recording_id, ()))

    def remove(self, number: int) -> Content | None:
        """Close a file; returns its content when nobody else has that rendition open."""
        with self._lock:
            self._stale.discard(number)
            content = self._open.pop(number, None)
            if content is None or isinstance(content, Made):
                return None
            self._users[content.rendition] -= 1
            if self._users[content.rendition]:
                return None
            del self._users[content.rendition]
        return content

    def count(self) -> int:
        """Return how many files are open."""
        with self._lock:
            return len(self._open)
