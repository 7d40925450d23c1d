"""What is known of sessions: their recordings and documents, asked for once where that suffices.

A session that is over and whose recordings are all there is never listed again; a completed transcript is
never asked for again. What may still change is asked for anew when somebody looks, at growing distances.

Threading: called on many threads; one request per session and kind is under way at a time.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from cachetools import TTLCache

from kallglotfs.catalog.session_store import State, Told
from kallglotfs.clock import Deadline
from kallglotfs.errors import KallglotError, NotFound, NotPermitted, SystemFault
from kallglotfs.model import Recording, Session, Status, Transcript
from kallglotfs.single_flight import SingleFlight

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

    from kallglotfs.catalog.session_store import SessionStore
    from kallglotfs.clock import Clock
    from kallglotfs.patience import Executor, Patience

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Kinds of documents.
SESSION, TRANSCRIPT = "session", "transcript"
#: Seconds before what may have changed is asked for again, at least and at most; between, a part of its age.
SOONEST, LATEST = 15.0, 3600.0
AGE_PART = 0.25
#: Seconds after which a session of which nothing is under way will not change any more.
SETTLED_AFTER = 86400.0
#: The same for one of which the service says that it has ended: recordings are made within minutes.
ENDED_AFTER = 900.0
#: Seconds a refusal answers for its session.
REFUSED_FOR = 2.0
#: Refusals remembered.
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

    def session_document(self, session_id: str, kind: str, deadline: Deadline) -> bytes:
        """Return the JSON of a session or of its transcript."""


class Reading(Protocol):
    """Who reads JSON: `remote.schema`."""

    def session(self, body: bytes) -> Session | None:
        """Return the session a body tells of."""

    def transcript(self, body: bytes) -> Transcript | None:
        """Return the transcript a body tells of."""


class Shelf(Protocol):
    """Where documents are kept: `content.documents.Documents`."""

    def get(self, session_id: str, kind: str, size: int) -> bytes | None:
        """Return a document that is kept."""

    def put(self, session_id: str, kind: str, body: bytes, *, lasting: bool) -> None:
        """Keep a document, for good where it will not change any more."""

    def destroy(self, session_id: str) -> None:
        """Let go of a session's documents."""


class Sessions:
    """Answers what is known of a session, asking the service where it has to.

    Args:
        store: what is kept of sessions.
        recordings: where recordings are kept.
        lookup: who is asked.
        reading: who understands the answers.
        shelf: where documents are kept.
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
        reading: Reading,
        shelf: Shelf,
        executor: Executor,
        clock: Clock,
        timeout: float,
        is_recording: Callable[[str], bool],
    ) -> None:
        self._store = store
        self._recordings = recordings
        self._lookup = lookup
        self._reading = reading
        self._shelf = shelf
        self._executor = executor
        self._clock = clock
        self._timeout = timeout
        self._is_recording = is_recording
        self._lock = threading.Lock()
        self._refused: TTLCache[Hashable, KallglotError] = TTLCache(MOST, REFUSED_FOR, timer=clock.now)
        self._flights: SingleFlight[object] = SingleFlight()

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
        if self._is_due(session_id):
            try:
                self._list(session_id, patience)
            except KallglotError as error:
                if not self._store.has_recordings(session_id):
                    raise
                log.info("%s: shown as it was, it cannot be listed: %s", session_id, error)
        return self._recordings.of_session(self._clock.wall(), session_id)

    def list_now(self, session_id: str, deadline: Deadline) -> int:
        """List a session's recordings on this thread, whether that is due or not.

        Returns:
            How many recordings of it are known now.

        Raises:
            KallglotError: as the service says.
        """
        self._flights.run((session_id, ""), lambda: self._fetch_list(session_id, deadline), deadline)
        return len(self.known_recordings(session_id))

    def known_recordings(self, session_id: str) -> list[Recording]:
        """Return what `recordings` returns, without asking anybody."""
        return self._recordings.of_session(self._clock.wall(), session_id)

    def document(self, session_id: str, kind: str, patience: Patience) -> bytes:
        """Return the JSON of a session or of its transcript.

        Args:
            session_id: whose.
            kind: `SESSION` or `TRANSCRIPT`.
            patience: how to wait.

        Raises:
            NotFound: there is none.
            KallglotError: as the service says.
        """
        told = self._store.told(session_id, kind)
        if told is not None and not self._is_stale(session_id, told):
            if told.state is State.MISSING:
                raise NotFound(f"{session_id}: no {kind}")
            kept = self._shelf.get(session_id, kind, told.size)
            if kept is not None:
                return kept
        return self._ask(
            (session_id, kind), lambda deadline: self._fetch(session_id, kind, deadline), patience
        )

    def transcript(self, session_id: str, patience: Patience) -> Transcript:
        """Return what was said.

        Raises:
            NotFound: there is no transcript, or none that can be read.
            KallglotError: as the service says.
        """
        found = self._reading.transcript(self.document(session_id, TRANSCRIPT, patience))
        if found is None:
            raise NotFound(f"{session_id}: the transcript cannot be read")
        return found

    def languages(self, session_id: str, patience: Patience) -> tuple[str, ...] | None:
        """Return the languages a transcript has been translated into, None when there is no transcript.

        What the service cannot be asked for is not there; that is logged, and a listing goes on without.
        """
        told = self._store.told(session_id, TRANSCRIPT)
        if told is None or self._is_stale(session_id, told):
            try:
                self.document(session_id, TRANSCRIPT, patience)
            except NotFound:
                return None
            except NotPermitted as error:
                log.debug("%s: no transcript: %s", session_id, error)
                return None
            except KallglotError as error:
                log.info("%s: listed without its transcript: %s", session_id, error)
            told = self._store.told(session_id, TRANSCRIPT) or told
        return None if told is None or told.state is State.MISSING else told.languages

    def has_session_document(self, session_id: str) -> bool:
        """Tell whether there may be a session document, without asking anybody."""
        told = self._store.told(session_id, SESSION)
        return told is None or told.state is not State.MISSING

    def _is_due(self, session_id: str) -> bool:
        found = self._store.listing(session_id)
        if found is None or found.listed_at is None:
            return True
        if found.settled:
            return False
        return self._clock.wall() - found.listed_at >= self._pause(session_id, found.listed_at)

    def _is_stale(self, session_id: str, told: Told) -> bool:
        if told.state is State.COMPLETE:
            return False
        return self._clock.wall() - told.asked_at >= self._pause(session_id, told.asked_at)

    def _pause(self, session_id: str, asked_at: float) -> float:
        """Return after how many seconds an answer of `asked_at` is worth another question."""
        newest = self._newest(session_id)
        age = SOONEST if newest is None else asked_at - newest
        return min(LATEST, max(SOONEST, age * AGE_PART))

    def _newest(self, session_id: str) -> float | None:
        """Return the time of the last thing that is known to have happened in a session, epoch seconds."""
        found = self._store.listing(session_id)
        moments = [each.created_at for each in self.known_recordings(session_id)]
        if found is not None:
            moments += [found.session.created_at, found.session.ended_at]
        return max((moment.timestamp() for moment in moments if moment is not None), default=None)

    def _list(self, session_id: str, patience: Patience) -> None:
        self._ask((session_id, ""), lambda deadline: self._fetch_list(session_id, deadline), patience)

    def _ask(self, key: Hashable, work: Callable[[Deadline], T], patience: Patience) -> T:
        with self._lock:
            refused = self._refused.get(key)
        if refused is not None:
            raise refused.with_traceback(None)
        deadline = Deadline(self._clock, self._timeout)

        def lead() -> object:
            try:
                return work(deadline)
            except KallglotError as error:
                with self._lock:
                    self._refused[key] = error
                raise

        future = self._executor.submit(lambda: self._flights.run(key, lead, deadline))
        return patience.wait(future, deadline)  # type: ignore[return-value] # one key, one kind of answer

    def _fetch_list(self, session_id: str, deadline: Deadline) -> None:
        found = [
            recording
            for recording in self._lookup.session_recordings(session_id, deadline)
            if self._is_recording(recording.id)
        ]
        now = self._clock.wall()
        # What the list leaves out it may leave out of every item: they are this session's.
        self._write(lambda: self._recordings.save(_of(session_id, each) for each in found))
        known = self._store.listing(session_id)
        ended = known is not None and known.session.status == "ended"
        newest = self._newest(session_id)
        settled = (
            bool(found)
            and newest is not None
            and now - newest > (ENDED_AFTER if ended else SETTLED_AFTER)
            and all(each.status is not Status.PROCESSING for each in found)
        )
        self._write(lambda: self._store.listed(session_id, now, settled=settled))

    def _fetch(self, session_id: str, kind: str, deadline: Deadline) -> bytes:
        now = self._clock.wall()
        try:
            body = self._lookup.session_document(session_id, kind, deadline)
        except NotFound:
            self._write(lambda: self._store.save_told(session_id, kind, Told(State.MISSING, 0, (), now)))
            raise
        complete, languages = self._understood(session_id, kind, body)
        state = State.COMPLETE if complete else State.OPEN
        self._shelf.put(session_id, kind, body, lasting=complete)
        self._write(lambda: self._store.save_told(session_id, kind, Told(state, len(body), languages, now)))
        return body

    def _understood(self, session_id: str, kind: str, body: bytes) -> tuple[bool, tuple[str, ...]]:
        """Return whether a document will not change any more, and a transcript's languages."""
        if kind == TRANSCRIPT:
            transcript = self._reading.transcript(body)
            if transcript is None:
                return False, ()
            return transcript.complete, transcript.languages()
        session = self._reading.session(body)
        if session is None or session.id != session_id:
            return False, ()
        self._write(lambda: self._store.save([session]))
        return session.status == "ended", ()

    @staticmethod
    def _write(write: Callable[[], object]) -> None:
        """Write to the store; a disk that is full or read-only costs no more than another request."""
        try:
            write()
        except SystemFault as error:
            log.warning("the catalog cannot be written: %s", error)


def _of(session_id: str, recording: Recording) -> Recording:
    return recording if recording.session_id else replace(recording, session_id=session_id)
