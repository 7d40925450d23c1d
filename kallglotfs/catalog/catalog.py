"""What is known of recordings: from the store where it suffices, else asked for once.

Threading: called on many threads; the caches of the last seconds have a lock of their own, held for
look-ups only.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Protocol

from cachetools import LRUCache, TTLCache

from kallglotfs.clock import Deadline
from kallglotfs.errors import NoSuchFormat, NotFound, SystemFault
from kallglotfs.model import Recording, Rendition, RenditionFacts, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kallglotfs.clock import Clock
    from kallglotfs.patience import Executor, Patience

log = logging.getLogger(__name__)

#: Seconds an unknown id stays unknown without asking again.
UNKNOWN_FOR = 10.0
#: Seconds a rendition stays away that the storage has not got: it may be a fault, and soon be over.
MISSING_FOR = 2.0
#: Seconds a recording in processing is taken to be still so.
PROCESSING_FOR = 5.0
#: Recordings kept in memory although the store could not take them.
MOST_RECENT = 10_000
#: Names remembered as unknown.
MOST_UNKNOWN = 100_000


class Store(Protocol):
    """What is kept over restarts: `catalog.store.CatalogStore`."""

    def recording(self, recording_id: str) -> Recording | None:
        """Return a recording, None when it was never seen."""

    def save(self, recordings: Iterable[Recording]) -> int:
        """Add or update recordings."""

    def forget_unready(self, recording_id: str) -> None:
        """Remove a recording, unless it is ready."""

    def listed(self, now: float, start: str = "") -> Iterator[Recording]:
        """Stream the ready, unexpired recordings, from an id on."""

    def made(self, now: float, since: float, until: float) -> Iterator[Recording]:
        """Stream those of a span of time, by time."""

    def next_made(self, now: float, since: float) -> float | None:
        """Return the time of the first one made at `since` or later."""

    def count(self, now: float) -> int:
        """Count them."""

    def total_bytes(self) -> int:
        """Return the bytes of all known native recordings."""

    def facts(self, rendition: Rendition) -> RenditionFacts | None:
        """Return what the storage confirmed of a rendition."""

    def save_facts(self, rendition: Rendition, facts: RenditionFacts) -> None:
        """Keep what the storage confirmed."""

    def forget_facts(self, rendition: Rendition) -> None:
        """Forget what the storage confirmed."""


class Lookup(Protocol):
    """Who is asked: `remote.service.KallglotService`."""

    def look_up(self, rendition: Rendition, deadline: Deadline) -> Recording:
        """Ask the service what a recording is."""


class Catalog:
    """Answers what is known of a recording, asking the service where it has to.

    Args:
        store: what is kept.
        lookup: who is asked.
        executor: runs the asking, so that its caller can give up.
        clock: what tells the time.
        timeout: seconds the asking may take.
        gone: told the id of a recording that is no more.
    """

    def __init__(
        self,
        store: Store,
        lookup: Lookup,
        executor: Executor,
        clock: Clock,
        timeout: float,
        gone: Callable[[str], None],
    ) -> None:
        self._store = store
        self._lookup = lookup
        self._executor = executor
        self._clock = clock
        self._timeout = timeout
        self._gone = gone
        self._lock = threading.Lock()
        self._unknown: TTLCache[str, str] = TTLCache(MOST_UNKNOWN, UNKNOWN_FOR, timer=clock.now)
        self._missing: TTLCache[Rendition, str] = TTLCache(MOST_UNKNOWN, MISSING_FOR, timer=clock.now)
        self._over: LRUCache[str, None] = LRUCache(MOST_RECENT)
        #: Answers that could not be written (a full disk) are not asked for again at every call.
        self._recent: LRUCache[str, Recording] = LRUCache(MOST_RECENT)
        self._recent_facts: LRUCache[Rendition, RenditionFacts] = LRUCache(MOST_RECENT)
        self._processing: TTLCache[str, None] = TTLCache(MOST_UNKNOWN, PROCESSING_FOR, timer=clock.now)

    def recording(self, rendition: Rendition, patience: Patience) -> Recording:
        """Return the recording behind a name.

        Args:
            rendition: the name asked for.
            patience: how to wait, where the service has to be asked.

        Raises:
            NotFound: there is none, or its retention is over.
            KallglotError: as the service says.
        """
        recording = self.known(rendition.recording_id)
        if recording is None or self._is_outdated(recording):
            recording = self._ask(rendition, patience)
        if recording.status is Status.FAILED:
            raise NotFound(f"{recording.id}: processing failed")
        if recording.expires_at is not None and recording.expires_at.timestamp() <= self._clock.wall():
            self._let_go(recording.id)
            raise NotFound(f"{recording.id}: its retention is over")
        return recording

    def _let_go(self, recording_id: str) -> None:
        with self._lock:
            done = recording_id in self._over
            self._over[recording_id] = None
        if not done:
            self._gone(recording_id)

    def known(self, recording_id: str) -> Recording | None:
        """Return what is known of a recording without asking anybody."""
        recording = self._store.recording(recording_id)
        if recording is None:
            with self._lock:
                recording = self._recent.get(recording_id)
        return recording

    def listed(self, start: str = "") -> Iterator[Recording]:
        """Stream the recordings a listing shows, from an id on: known, ready, unexpired."""
        return self._store.listed(self._clock.wall(), start)

    def made(self, since: float, until: float) -> Iterator[Recording]:
        """Stream the listed recordings made from `since` to before `until` (epoch seconds), by time."""
        return self._store.made(self._clock.wall(), since, until)

    def next_made(self, since: float) -> float | None:
        """Return the time of the first listed recording made at `since` (epoch seconds) or later."""
        return self._store.next_made(self._clock.wall(), since)

    def is_listed(self, recording: Recording) -> bool:
        """Tell whether a listing shows a recording: ready, and its retention not over."""
        expires = recording.expires_at
        return recording.status is Status.READY and (
            expires is None or expires.timestamp() > self._clock.wall()
        )

    def count(self) -> int:
        """Return how many `listed` gives."""
        return self._store.count(self._clock.wall())

    def total_bytes(self) -> int:
        """Return the bytes of all known native recordings."""
        return self._store.total_bytes()

    def facts(self, rendition: Rendition) -> RenditionFacts | None:
        """Return what the storage confirmed of a rendition, None when it was never asked.

        Raises:
            NotFound: the rendition was found missing moments ago.
        """
        with self._lock:
            reason = self._missing.get(rendition)
            recent = self._recent_facts.get(rendition)
        if reason is not None:
            raise NotFound(reason)
        return self._store.facts(rendition) or recent

    def confirm(self, rendition: Rendition, facts: RenditionFacts) -> None:
        """Keep what the storage said of a rendition."""
        known = self._store.facts(rendition)
        if known is None or known.validator != facts.validator:
            self._write(
                lambda: self._store.save_facts(rendition, facts),
                lambda: self._recent_facts.update({rendition: facts}),
            )

    def doubt(self, rendition: Rendition) -> None:
        """Forget what the storage said of a rendition: it says otherwise now."""
        with self._lock:
            self._recent_facts.pop(rendition, None)
        self._write(lambda: self._store.forget_facts(rendition))

    def missing(self, rendition: Rendition, reason: str) -> None:
        """Remember for a moment that the storage has not got a rendition."""
        with self._lock:
            self._missing[rendition] = reason
        self._gone(rendition.recording_id)

    def noted(self, recording_id: str) -> None:
        """Take note that another source has written something newer: what was kept for a moment is over."""
        with self._lock:
            self._unknown.pop(recording_id, None)
            self._processing.pop(recording_id, None)
            self._recent.pop(recording_id, None)
            self._over.pop(recording_id, None)
            for rendition in [each for each in self._missing if each.recording_id == recording_id]:
                self._missing.pop(rendition, None)

    def _is_outdated(self, recording: Recording) -> bool:
        if recording.status is not Status.PROCESSING:
            return False
        with self._lock:
            return recording.id not in self._processing

    def _ask(self, rendition: Rendition, patience: Patience) -> Recording:
        key = rendition.recording_id
        with self._lock:
            reason = self._unknown.get(key) or self._missing.get(rendition)
        if reason is not None:
            raise NotFound(reason)
        deadline = Deadline(self._clock, self._timeout)
        future = self._executor.submit(lambda: self._lookup.look_up(rendition, deadline))
        try:
            recording = patience.wait(future, deadline)
        except NoSuchFormat as error:
            with self._lock:
                self._missing[rendition] = str(error)
            raise
        except NotFound as error:
            if self._store.recording(key) is not None:
                self._write(lambda: self._store.forget_unready(key))
            if (ready := self._ready_meanwhile(key)) is not None:
                return ready
            with self._lock:
                self._unknown[key] = str(error)
                self._recent.pop(key, None)
            self._gone(key)
            raise
        self._write(lambda: self._store.save([recording]), lambda: self._recent.update({key: recording}))
        if recording.status is Status.PROCESSING:
            if (ready := self._ready_meanwhile(key)) is not None:
                return ready
            with self._lock:
                self._processing[key] = None
        return recording

    def _ready_meanwhile(self, recording_id: str) -> Recording | None:
        """Return a recording that became known as ready while the service was asked: that answer is older."""
        known = self._store.recording(recording_id)
        return known if known is not None and known.status is Status.READY else None

    def _write(self, write: Callable[[], object], instead: Callable[[], object] | None = None) -> None:
        """Write to the store; where a full or read-only disk refuses, remember it in memory."""
        try:
            write()
        except SystemFault as error:
            log.warning("the catalog cannot be written: %s", error)
            if instead is not None:
                with self._lock:
                    instead()
