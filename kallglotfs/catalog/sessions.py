"""What is known of sessions and of their recordings, asked for once where that suffices.

A session that is over and whose recordings are all there is never listed again. What may still change is
asked for anew when somebody looks, at growing distances.

Threading: called on many threads; one request per session is under way at a time.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from cachetools import TTLCache

from kallglotfs.catalog.asking import STALE, Asking
from kallglotfs.catalog.freshness import SOONEST, is_past, is_settled
from kallglotfs.catalog.writing import written
from kallglotfs.clock import Deadline
from kallglotfs.errors import KallglotError, NotFound
from kallglotfs.model import Recording, Session, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kallglotfs.catalog.session_store import SessionStore
    from kallglotfs.clock import Clock
    from kallglotfs.patience import Executor, Patience

log = logging.getLogger(__name__)

#: Lists remembered that could not be written.
MOST = 10_000


class Recordings(Protocol):
    """Where recordings are kept: `catalog.store.CatalogStore`."""

    def save(self, recordings: Iterable[Recording]) -> int:
        """Add or update recordings."""

    def of_session(self, now: float, session_id: str) -> list[Recording]:
        """Return the recordings of a session that are ready or in processing."""


class Lookup(Protocol):
    """Who is asked: `remote.service.KallglotService`."""

    def session_recordings(self, session_id: str, deadline: Deadline) -> Iterator[Recording]:
        """List a session's recordings."""


class Sessions:
    """Answers what is known of a session, asking the service where it has to.

    Args:
        store: what is kept of sessions.
        recordings: where recordings are kept.
        lookup: who is asked.
        executor: runs the asking, so that its caller can give up.
        clock: what tells the time.
        timeout: seconds the asking may take.
        is_recording: tells the form of a recording id.
    """

    def __init__(
        self,
        store: SessionStore,
        recordings: Recordings,
        lookup: Lookup,
        executor: Executor,
        clock: Clock,
        timeout: float,
        is_recording: Callable[[str], bool],
    ) -> None:
        self._store = store
        self._recordings = recordings
        self._lookup = lookup
        self._asking = Asking(executor, clock)
        self._clock = clock
        self._timeout = timeout
        self._is_recording = is_recording
        self._lock = threading.Lock()
        #: Lists that could not be written (a full disk): shown all the same, and not asked for at every look.
        self._unsaved: TTLCache[str, list[Recording]] = TTLCache(MOST, SOONEST, timer=clock.now)

    def set_timeout(self, seconds: float) -> None:
        """Change what asking may take that begins from now on."""
        self._timeout = seconds

    def ids(self) -> Iterator[str]:
        """Stream the ids of the known sessions, in order."""
        return self._store.ids()

    def enter(self, session_id: str, patience: Patience) -> Session:
        """Return a session that exists; one that is not known yet costs the request that lists it.

        Raises:
            NotFound: there is none.
            KallglotError: as the service says.
        """
        found = self._store.listing(session_id)
        if found is None and not self._store.has_recordings(session_id):
            self._list(session_id, patience)
            found = self._store.listing(session_id)
        return found.session if found is not None else Session(session_id)

    def recordings(self, session_id: str, patience: Patience) -> list[Recording]:
        """Return a session's recordings that are ready or in processing, listed anew where that is due.

        Raises:
            NotFound: there is no such session.
            KallglotError: nothing is known of it, and the service cannot be asked.
        """
        found = self._store.listing(session_id)
        listed = found is not None and found.listed_at is not None
        known = listed or self._store.has_recordings(session_id)
        if self._is_due(session_id) and not (known and self._asking.has_failed(session_id)):
            try:
                self._list(session_id, patience)
            except KallglotError as error:
                if not known:
                    raise
                log.info("%s: shown as it was, it cannot be listed: %s", session_id, error, extra=STALE)
        return self.known_recordings(session_id)

    def list_now(self, session_id: str, deadline: Deadline) -> int:
        """List a session's recordings on this thread, whether that is due or not.

        Returns:
            How many recordings of it are known now.

        Raises:
            KallglotError: as the service says.
        """
        self._asking.ask_here(session_id, lambda deadline: self._fetch_list(session_id, deadline), deadline)
        return len(self.known_recordings(session_id))

    def known_recordings(self, session_id: str) -> list[Recording]:
        """Return what `recordings` returns, without asking anybody."""
        kept = self._recordings.of_session(self._clock.wall(), session_id)
        if kept:
            return kept
        with self._lock:
            return list(self._unsaved.get(session_id, ()))

    def due(self, session_id: str) -> int:
        """Return how many requests it takes now to list a session."""
        return int(self._is_due(session_id))

    def is_past(self, session_id: str, asked_at: float) -> bool:
        """Tell whether an answer of `asked_at`, epoch seconds, is worth another question by now."""
        return is_past(self._clock.wall(), asked_at, self._newest(session_id))

    def _is_due(self, session_id: str) -> bool:
        with self._lock:
            if session_id in self._unsaved:
                return False
        found = self._store.listing(session_id)
        if found is None or found.listed_at is None:
            return True
        if found.settled:
            return False
        return self.is_past(session_id, found.listed_at)

    def _newest(self, session_id: str) -> float | None:
        """Return the time of the last thing that is known to have happened in a session, epoch seconds."""
        found = self._store.listing(session_id)
        moments = [each.created_at for each in self.known_recordings(session_id)]
        if found is not None:
            moments += [found.session.created_at, found.session.ended_at]
        return max((moment.timestamp() for moment in moments if moment is not None), default=None)

    def _list(self, session_id: str, patience: Patience) -> None:
        def work(deadline: Deadline) -> None:
            # Looked at again: who waited for its turn may find that another has asked meanwhile.
            if self._is_due(session_id):
                self._fetch_list(session_id, deadline)

        self._asking.ask(session_id, work, self._deadline(patience), patience)

    def _deadline(self, patience: Patience) -> Deadline:
        return Deadline(self._clock, self._timeout, caller=patience.caller())

    def _fetch_list(self, session_id: str, deadline: Deadline) -> None:
        try:
            found = [
                recording
                for recording in self._lookup.session_recordings(session_id, deadline)
                if self._is_recording(recording.id)
            ]
        except NotFound:
            # A session that is known by other ways: not asked for again before that is due.
            if self._store.listing(session_id) is not None or self._store.has_recordings(session_id):
                written(lambda: self._store.listed(session_id, self._clock.wall(), settled=False))
            raise
        now = self._clock.wall()
        # What the list leaves out it may leave out of every item: they are this session's.
        found = [_of(session_id, each) for each in found]
        if not written(lambda: self._recordings.save(found)):
            shown = [each for each in {each.id: each for each in found}.values() if _is_shown(each)]
            with self._lock:
                self._unsaved[session_id] = shown
        known = self._store.listing(session_id)
        ended = known is not None and known.session.status == "ended"
        settled = is_settled(now, found, self._newest(session_id), ended=ended)
        written(lambda: self._store.listed(session_id, now, settled=settled))


def _is_shown(recording: Recording) -> bool:
    return recording.status is not Status.FAILED


def _of(session_id: str, recording: Recording) -> Recording:
    return recording if recording.session_id else replace(recording, session_id=session_id)
