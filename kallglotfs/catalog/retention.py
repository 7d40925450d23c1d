"""When a recording is no more, or somebody wants it forgotten, what there is of it goes: blocks and pages.

A recording is no more when its retention is over, which the catalog knows beforehand, or when the service
says so (404, 410). A deletion that nobody tells of is noticed at the next contact: asking costs requests.

It goes in this order: open files turn stale, blocks are destroyed, the kernel's pages are dropped. What was
on its way meanwhile (a fetch that ends, a read that is answered) may leave something behind, so all of it is
done again `AGAIN` seconds later; so is what failed, for as long as it fails.

Threading: one daemon thread, the only one that drops pages: the kernel may have to wait there for a read that
is under way, so a callback that did it could wait for itself. It sleeps until the next recording's end, at
most `INTERVAL`, since clocks are set and `add` runs in another process. `gone` and `doubt` are called on any
thread; blocks are destroyed on theirs. The lock is a leaf.
"""

from __future__ import annotations

import heapq
import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cachetools import TTLCache

from kallglotfs.errors import KallglotError, NoSuchFormat, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from kallglotfs.clock import Clock
    from kallglotfs.model import Recording, Rendition
    from kallglotfs.patience import Executor

log = logging.getLogger(__name__)

#: Seconds between two looks at the catalog, at the most: what is over is destroyed within a minute.
INTERVAL = 50.0
#: Least seconds between two looks.
LEAST = 0.2
#: Seconds after which the same is done again: a fetch that was under way has ended by then, or will have.
AGAIN = (2.0, 30.0)
#: Seconds a recording that still exists is not asked for again because one format of it is missing.
VERIFIED_FOR, MOST_VERIFIED = 60.0, 10_000


class Store(Protocol):
    """What is asked: `catalog.store.CatalogStore`."""

    def expired(self, since: float, until: float) -> list[str]:
        """Return the ids whose retention ended in between."""

    def forgotten(self, since: float) -> list[tuple[str, float]]:
        """Return what was to be forgotten after a moment, and when."""

    def next_expiry(self, since: float) -> float | None:
        """Return when the next retention ends."""

    def recording(self, recording_id: str) -> Recording | None:
        """Return a recording, None when it was never seen."""

    def forget(self, recording_id: str) -> None:
        """Remove a recording and its facts."""


@dataclass(frozen=True, slots=True)
class Remains:
    """How to take away what there is of a recording.

    Attributes:
        end: turns open files stale; returns the paths of which the kernel may have pages.
        paths: returns these paths alone.
        destroy: destroys its blocks; tells whether all are gone.
        drop_pages: has the kernel drop its pages of a path.
    """

    end: Callable[[str], list[str]]
    paths: Callable[[str], list[str]]
    destroy: Callable[[str], bool]
    drop_pages: Callable[[str], None]


class Retention:
    """Takes away what there is of recordings that are no more.

    Args:
        store: what is known.
        remains: what is taken away.
        look_up: asks the service what a recording is; raises `NotFound`.
        executor: runs the asking.
        clock: what tells the time.
    """

    def __init__(
        self,
        store: Store,
        remains: Remains,
        look_up: Callable[[Rendition], Recording],
        executor: Executor,
        clock: Clock,
    ) -> None:
        self._store = store
        self._remains = remains
        self._look_up = look_up
        self._executor = executor
        self._clock = clock
        self._seen = 0.0
        self._forgotten = clock.wall() - INTERVAL
        self._changed = threading.Condition()
        self._ended = False
        #: When to do what again: time, number, id, its paths, and how often it has been done.
        self._due: list[tuple[float, int, str, list[str], int]] = []
        self._number = 0
        self._verified: TTLCache[str, None] = TTLCache(MOST_VERIFIED, VERIFIED_FOR, timer=clock.now)
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)

    def start(self) -> None:
        """Look now, and whenever a retention ends."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def gone(self, recording_id: str) -> None:
        """Take away what there is of a recording that is no more."""
        paths = self._remains.end(recording_id)
        self._remains.destroy(recording_id)
        self._plan(self._clock.now(), recording_id, paths, 0)

    def doubt(self, rendition: Rendition) -> None:
        """Find out whether a recording is gone of which the storage has not got a format.

        It may be the format, a fault, or the recording: what is cached is destroyed only once the service
        says that it is gone. Costs one request a minute, on another thread: else a recording that was deleted
        while it was known would be listed for ever.
        """
        recording_id = rendition.recording_id
        with self._changed:
            if recording_id in self._verified or self._ended:
                return
            self._verified[recording_id] = None
        self._executor.submit(lambda: self._verify(recording_id))

    def look(self) -> None:
        """Let go of what has ended since the last look."""
        now = self._clock.theirs()
        for recording_id in self._store.expired(self._seen, now):
            log.info("%s: its retention is over, what was cached of it is destroyed", recording_id)
            self.gone(recording_id)
        for each, moment in self._store.forgotten(self._forgotten):
            log.info("%s: forgotten by request, what was cached of it is destroyed", each)
            self.gone(each)
            self._forgotten = moment
        # A clock that is set back looks at the same days again: harmless.
        self._seen = now

    def _verify(self, recording_id: str) -> None:
        known = self._store.recording(recording_id)
        if known is None:
            return
        try:
            self._look_up(known.native())
        except NoSuchFormat:
            return
        except NotFound as error:
            log.info("%s: what was cached of it is destroyed", error)
            try:
                self._store.forget(recording_id)
            except KallglotError as problem:
                log.debug("the catalog cannot be written: %s", problem)
            self.gone(recording_id)
        except KallglotError as error:
            log.debug("%s: whether it is gone cannot be found out: %s", recording_id, error)
            with self._changed:
                self._verified.pop(recording_id, None)

    def _plan(self, when: float, recording_id: str, paths: list[str], times: int) -> None:
        with self._changed:
            self._number += 1
            heapq.heappush(self._due, (when, self._number, recording_id, paths, times))
            self._changed.notify_all()

    def _run(self) -> None:
        while not self._ended:
            try:
                self.look()
                self._take_away()
                self._wait()
            except Exception:
                # Whatever it was, what ends later must still be taken away.
                log.exception("unexpected failure while looking for recordings that are no more")
                self._clock.sleep(INTERVAL)

    def _take_away(self) -> None:
        """Do what is due: at first the pages, later everything once more."""
        while True:
            with self._changed:
                if self._ended or not self._due or self._due[0][0] > self._clock.now():
                    return
                _, _, recording_id, paths, times = heapq.heappop(self._due)
            destroyed = self._remains.destroy(recording_id) if times else True
            for path in paths:
                self._remains.drop_pages(path)
            if times < len(AGAIN):
                self._plan(self._clock.now() + AGAIN[times], recording_id, paths, times + 1)
            elif not destroyed:
                self._plan(self._clock.now() + AGAIN[-1], recording_id, paths, times)

    def _wait(self) -> None:
        """Sleep until something is due, or ends."""
        ends = self._store.next_expiry(self._seen)
        pause = INTERVAL if ends is None else ends - self._clock.theirs()
        with self._changed:
            if self._due:
                pause = min(pause, self._due[0][0] - self._clock.now())
            if not self._ended:
                self._changed.wait(min(max(pause, LEAST), INTERVAL))
