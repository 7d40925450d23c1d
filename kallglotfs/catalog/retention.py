"""When a recording's retention is over, or somebody wants it forgotten, what is cached of it goes.

Threading: one daemon thread that sleeps but for one indexed query a minute.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from kallglotfs.clock import Clock

log = logging.getLogger(__name__)

#: Seconds between two looks: what is over is destroyed within a minute.
INTERVAL = 50.0


class Store(Protocol):
    """What is asked: `catalog.store.CatalogStore`."""

    def expired(self, since: float, until: float) -> list[str]:
        """Return the ids whose retention ended in between."""

    def forgotten(self, since: float) -> list[tuple[str, float]]:
        """Return what was to be forgotten after a moment, and when."""


class Retention:
    """Looks for recordings whose retention has ended.

    Args:
        store: what is known.
        gone: told each id once.
        clock: what tells the time.
    """

    def __init__(self, store: Store, gone: Callable[[str], None], clock: Clock) -> None:
        self._store = store
        self._gone = gone
        self._clock = clock
        self._seen = 0.0
        self._forgotten = clock.wall() - INTERVAL
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)

    def start(self) -> None:
        """Look now, and every minute from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._ended.set()

    def look(self) -> None:
        """Let go of what has ended since the last look."""
        now = self._clock.wall()
        for recording_id in self._store.expired(self._seen, now):
            log.info("%s: its retention is over, what was cached of it is destroyed", recording_id)
            self._gone(recording_id)
        for each, moment in self._store.forgotten(self._forgotten):
            log.info("%s: forgotten by request, what was cached of it is destroyed", each)
            self._gone(each)
            self._forgotten = moment
        # A clock that is set back looks at the same days again: harmless.
        self._seen = now

    def _run(self) -> None:
        while not self._ended.is_set():
            self.look()
            self._ended.wait(INTERVAL)
