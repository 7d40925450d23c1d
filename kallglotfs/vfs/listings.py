"""Open directories: each a stream of entries that goes on where the kernel left off.

A directory of a million names is never held in memory: what an open directory keeps is a place in a stream.
Offsets are counts of entries. Whoever seeks back (`rewinddir`, `seekdir`) has the stream begun anew and
passed over up to there.

Threading: one lock for the table; an open directory is read under a lock of its own, since its stream asks
the catalog on the way.
"""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING

from kallglotfs.errors import BadHandle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kallglotfs.model import Entry


class Listing:
    """One open directory.

    Args:
        begin: begins the stream of entries.
    """

    def __init__(self, begin: Callable[[], Iterator[Entry]]) -> None:
        self._begin = begin
        self._lock = threading.Lock()
        self._stream: Iterator[Entry] = iter(())
        #: How many entries have been taken from the stream, the last one, and whether it has begun at all.
        self._taken = -1
        self._last: Entry | None = None

    def read(self, offset: int) -> Iterator[tuple[Entry, int]]:
        """Yield entries behind an offset, each with the offset behind itself, until the reader has enough.

        An entry for which the reader had no room is yielded again when it comes back.

        Raises:
            KallglotError: as the branch says.
        """
        with self._lock:
            if self._last is not None and offset == self._taken - 1:
                yield self._last, self._taken
            elif offset != self._taken:
                self._restart(offset)
            while (entry := self._next()) is not None:
                self._taken += 1
                self._last = entry
                yield entry, self._taken
            self._last = None

    def _next(self) -> Entry | None:
        try:
            return next(self._stream, None)
        except Exception:
            # A stream that broke is at its end for good: whoever asks again must not take that for the
            # directory's.
            self._taken, self._last = -1, None
            raise

    def _restart(self, offset: int) -> None:
        self._last, self._taken = None, -1
        self._stream = self._begin()
        self._taken = sum(1 for _ in itertools.islice(self._stream, offset))


class Listings:
    """Gives open directories their numbers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._open: dict[int, Listing] = {}

    def add(self, begin: Callable[[], Iterator[Entry]]) -> int:
        """Take up a newly opened directory."""
        with self._lock:
            number = next(self._numbers)
            self._open[number] = Listing(begin)
            return number

    def get(self, number: int) -> Listing:
        """Return an open directory.

        Raises:
            BadHandle: it is not open.
        """
        with self._lock:
            listing = self._open.get(number)
        if listing is None:
            raise BadHandle(f"directory handle {number} is not open")
        return listing

    def remove(self, number: int) -> None:
        """Close a directory."""
        with self._lock:
            self._open.pop(number, None)
