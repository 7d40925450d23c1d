"""Failures that repeat: told once, then counted.

A key without permission fails for each of ten thousand files, and a program that retries fails for ever. One
line says all there is to say.

Threading: one lock, held for a look-up.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from cachetools import LRUCache

if TYPE_CHECKING:
    from collections.abc import Hashable

    from kallglotfs.clock import Clock

#: Seconds for which a failure has been told.
QUIET = 60.0
#: Different failures remembered.
MOST = 1000


class Repeats:
    """Knows what has been told already.

    Args:
        clock: what tells the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        #: When a failure was told last, and how often it has happened since.
        self._told: LRUCache[Hashable, tuple[float, int]] = LRUCache(MOST)

    def since_told(self, failure: Hashable) -> int | None:
        """Count a failure.

        Args:
            failure: what makes two of them the same.

        Returns:
            How many went untold since the last one that was told, if this one is to be told; None if not.
        """
        now = self._clock.now()
        with self._lock:
            told, count = self._told.get(failure, (float("-inf"), 0))
            if now - told < QUIET:
                self._told[failure] = (told, count + 1)
                return None
            self._told[failure] = (now, 0)
            return count
