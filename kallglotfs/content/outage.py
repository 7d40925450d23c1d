"""A disk that does not work: when to try again, and how to tell once.

Users: `disk.py` and `block_writer.py`.

Threading: one lock, a leaf; it is not held while the log is written to.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kallglotfs.clock import Clock
    from kallglotfs.errors import ConfigError

log = logging.getLogger(__name__)

#: Seconds until the next try: at first, and at the most. Each time it fails again, twice as long: what passes
#: is over soon, and what lasts costs a try a minute.
FIRST_PAUSE, PAUSE = 1.0, 60.0
#: Seconds within which one warning is enough: a disk at the edge of being full works now and then.
QUIET = 3600.0


class Outage:
    """Knows whether one kind of work with the disk fails.

    Args:
        clock: what tells the time.
        work: what blocks cannot be, for the log.
    """

    def __init__(self, clock: Clock, work: str) -> None:
        self._clock = clock
        self._work = work
        self._lock = threading.Lock()
        self._again = 0.0
        self._pause = FIRST_PAUSE
        self._warned: float | None = None
        #: It failed when it was tried last.
        self.active = False
        #: Why, in the system's words.
        self.reason = ""

    def may_try(self) -> bool:
        """Tell whether it works as far as we know, or it is time to see whether it does."""
        return not self.active or self._clock.now() >= self._again

    def failed(self, reason: str) -> None:
        """Note that it does not work; warn where that is news.

        Args:
            reason: the system's words, without a name or a path.
        """
        now = self._clock.now()
        with self._lock:
            # What many threads find out at once is one failure.
            if now >= self._again:
                self._again = now + self._pause
                self._pause = min(2 * self._pause, PAUSE)
            news, self.active, self.reason = not self.active, True, reason
            loud = news and (self._warned is None or now - self._warned >= QUIET)
            if loud:
                self._warned = now
        if news:
            level = logging.WARNING if loud else logging.INFO
            log.log(level, "cache_dir: blocks cannot be %s (%s); going on without", self._work, reason)

    def worked(self) -> None:
        """Note that it works."""
        if not self.active:
            return
        with self._lock:
            news, self.active = self.active, False
            self._again, self._pause = 0.0, FIRST_PAUSE
        if news:
            log.info("cache_dir: blocks can be %s again", self._work)


def reason(error: OSError | ConfigError) -> str:
    """Return what went wrong, without the path."""
    return str((error.strerror or type(error).__name__) if isinstance(error, OSError) else error)
