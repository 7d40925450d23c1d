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
from kallglotfs.errors import Interrupted, KeyRefused, NoSuchFormat, NotFound, NotPermitted, SystemFault
from kallglotfs.model import Recording, Rendition, RenditionFacts, Status
from kallglotfs.refusals import Refusals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kallglotfs.clock import Clock
    from kallglotfs.patience import Executor, Patience

log = logging.getLogger(__name__)

#: Seconds an unknown id stays unknown without asking again, at first and when it is asked for over and over:
#: a 404 may be a fault that is soon over, but a program that looks every second must not cost the budget.
UNKNOWN_FOR, UNKNOWN_AT_MOST = 1.0, 60.0
#: The same for a rendition that the storage has not got.
MISSING_FOR, MISSING_AT_MOST = 1.0, 30.0
#: The same for one that the service refuses to show us: scope, account, credits.
FORBIDDEN_FOR, FORBIDDEN_AT_MOST = 1.0, 30.0
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
        absent: told what the storage has not got, or the service gives no way to.
    """

    def __init__(
        self,
        store: Store,
        lookup: Lookup,
        executor: Executor,
        clock: Clock,
        timeout: float,
        gone: Callable[[str], None],
        absent: Callable[[Rendition], None],
    ) -> None:
        self._store = store
        self._lookup = lookup
        self._executor = executor
        self._clock = clock
        self._timeout = timeout
        self._gone = gone
        self._absent = absent
        #: Whether it has been said that the store takes nothing.
        self._unwritable = False
        self._lock = threading.Lock()
        self._unknown: Refusals[str] = Refusals(clock, UNKNOWN_FOR, UNKNOWN_AT_MOST, MOST_UNKNOWN)
        self._missing: Refusals[str] = Refusals(clock, MISSING_FOR, MISSING_AT_MOST, MOST_UNKNOWN)
        self._forbidden: Refusals[NotPermitted] = Refusals(
            clock, FORBIDDEN_FOR, FORBIDDEN_AT_MOST, MOST_UNKNOWN
        )
        self._over: LRUCache[str, None] = LRUCache(MOST_RECENT)
        #: Answers that could not be written (a full disk) are not asked for again at every call.
        self._recent: LRUCache[str, Recording] = LRUCache(MOST_RECENT)
        self._recent_facts: LRUCache[Rendition, RenditionFacts] = LRUCache(MOST_RECENT)
        self._processing: TTLCache[str, None] = TTLCache(MOST_UNKNOWN, PROCESSING_FOR, timer=clock.now)

    def set_timeout(self, seconds: float) -> None:
        """Change what asking may take that begins from now on."""
        self._timeout = seconds

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
        if recording.expires_at is not None and recording.expires_at.timestamp() <= self._clock.theirs():
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
        return self._store.listed(self._clock.theirs(), start)

    def made(self, since: float, until: float) -> Iterator[Recording]:
        """Stream the listed recordings made from `since` to before `until` (epoch seconds), by time."""
        return self._store.made(self._clock.theirs(), since, until)

    def next_made(self, since: float) -> float | None:
        """Return the time of the first listed recording made at `since` (epoch seconds) or later."""
        return self._store.next_made(self._clock.theirs(), since)

    def is_listed(self, recording: Recording) -> bool:
        """Tell whether a listing shows a recording: ready, and its retention not over."""
        expires = recording.expires_at
        return recording.status is Status.READY and (
            expires is None or expires.timestamp() > self._clock.theirs()
        )

    def count(self) -> int:
        """Return how many `listed` gives."""
        return self._store.count(self._clock.theirs())

    def total_bytes(self) -> int:
        """Return the bytes of all known native recordings."""
        return self._store.total_bytes()

    def facts(self, rendition: Rendition) -> RenditionFacts | None:
        """Return what the storage confirmed of a rendition, None when it was never asked.

        Raises:
            NotFound: the rendition was found missing moments ago.
        """
        reason = self._missing.get(rendition)
        with self._lock:
            recent = self._recent_facts.get(rendition)
        if reason is not None:
            raise NotFound(reason)
        return self._store.facts(rendition) or recent

    def confirm(self, rendition: Rendition, facts: RenditionFacts) -> None:
        """Keep what the storage said of a rendition."""
        self._missing.clear(rendition)
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
        self._missing.add(rendition, reason)
        self._absent(rendition)

    def noted(self, recording_id: str) -> None:
        """Take note that another source has written something newer: what was kept for a moment is over."""
        with self._lock:
            self._processing.pop(recording_id, None)
            self._recent.pop(recording_id, None)
            self._over.pop(recording_id, None)
        self._unknown.clear(recording_id)
        self._forbidden.clear(recording_id)
        self._missing.clear_all(lambda rendition: rendition.recording_id == recording_id)

    def _is_outdated(self, recording: Recording) -> bool:
        if recording.status is not Status.PROCESSING:
            return False
        with self._lock:
            return recording.id not in self._processing

    def _ask(self, rendition: Rendition, patience: Patience) -> Recording:
        self._recall(rendition)
        key = rendition.recording_id
        deadline = Deadline(self._clock, self._timeout, caller=patience.caller())
        future = self._executor.submit(lambda: self._lookup.look_up(rendition, deadline))
        try:
            recording = patience.wait(future, deadline)
        except Interrupted:
            deadline.call_off()
            raise
        except KeyRefused:
            # That is not about this recording, and it is known elsewhere when to ask again.
            raise
        except NotPermitted as error:
            self._forbidden.add(key, error)
            raise
        except NoSuchFormat as error:
            self._missing.add(rendition, str(error))
            raise
        except NotFound as error:
            return self._lost(key, error)
        return self._learned(recording)

    def _recall(self, rendition: Rendition) -> None:
        """Raise what was answered a moment ago."""
        reason = self._unknown.get(rendition.recording_id) or self._missing.get(rendition)
        if reason is not None:
            raise NotFound(reason)
        forbidden = self._forbidden.get(rendition.recording_id)
        if forbidden is not None:
            raise forbidden.with_traceback(None)

    def _lost(self, key: str, error: NotFound) -> Recording:
        """Take note that the service knows no such recording; return it if it has told so meanwhile."""
        if self._store.recording(key) is not None:
            self._write(lambda: self._store.forget_unready(key))
        if (ready := self._ready_meanwhile(key)) is not None:
            return ready
        self._unknown.add(key, str(error))
        with self._lock:
            self._recent.pop(key, None)
        self._gone(key)
        raise error

    def _learned(self, recording: Recording) -> Recording:
        """Keep what the service has answered; return what is true now."""
        key = recording.id
        self._unknown.clear(key)
        self._forbidden.clear(key)
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
            self._unwritable = False
        except SystemFault as error:
            level = logging.DEBUG if self._unwritable else logging.WARNING
            log.log(level, "the catalog cannot be written: %s; going on without", error)
            self._unwritable = True
            if instead is not None:
                with self._lock:
                    instead()
