"""What is known of sessions: their recordings and documents, asked for once where that suffices.

A session that is over and whose recordings are all there is never listed again; a completed transcript is
never asked for again. What may still change is asked for anew when somebody looks, at growing distances.

Threading: called on many threads; one request per session and kind is under way at a time.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from cachetools import TTLCache

from kallglotfs.catalog.asking import Asking
from kallglotfs.catalog.freshness import SOONEST, is_past, is_settled
from kallglotfs.catalog.session_store import State, Told
from kallglotfs.clock import Deadline
from kallglotfs.errors import BadResponse, KallglotError, NotFound, NotPermitted, SystemFault
from kallglotfs.model import Recording, Session, Status, Transcript

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kallglotfs.catalog.session_store import SessionStore
    from kallglotfs.clock import Clock
    from kallglotfs.patience import Executor, Patience

log = logging.getLogger(__name__)

#: What the log counts as one kind of event: while the service is away, each session of thousands is one.
STALE = {"kind": "shown as it was"}

#: Kinds of documents.
SESSION, TRANSCRIPT = "session", "transcript"
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

    def session_document(self, session_id: str, kind: str, deadline: Deadline) -> bytes:
        """Return the JSON of a session or of its transcript."""


class Reading(Protocol):
    """Who reads JSON: `remote.session_schema.Reading`."""

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
        if self._is_due(session_id) and not (known and self._asking.has_failed((session_id, ""))):
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
        self._asking.ask_here(
            (session_id, ""), lambda deadline: self._fetch_list(session_id, deadline), deadline
        )
        return len(self.known_recordings(session_id))

    def known_recordings(self, session_id: str) -> list[Recording]:
        """Return what `recordings` returns, without asking anybody."""
        kept = self._recordings.of_session(self._clock.wall(), session_id)
        if kept:
            return kept
        with self._lock:
            return list(self._unsaved.get(session_id, ()))

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
        kept = self._kept(session_id, kind)
        if kept is not None:
            return kept

        def work(deadline: Deadline) -> bytes:
            # Looked at again, as in `_list`.
            return self._kept(session_id, kind) or self._fetch(session_id, kind, deadline)

        told = self._store.told(session_id, kind)
        known = told is not None and told.state is not State.MISSING
        stale = self._shelf.get(session_id, kind, told.size) if told is not None and known else None
        if stale is not None and self._asking.has_failed((session_id, kind)):
            return stale
        try:
            return self._asking.ask((session_id, kind), work, self._deadline(patience), patience)
        except (NotFound, NotPermitted):
            raise
        except KallglotError as error:
            if stale is None:
                raise
            log.info("%s: the %s is shown as it was: %s", session_id, kind, error, extra=STALE)
            return stale

    def _kept(self, session_id: str, kind: str) -> bytes | None:
        """Return a document that need not be asked for, None for one that has to be.

        Raises:
            NotFound: there is none.
        """
        told = self._store.told(session_id, kind)
        if told is None or self._is_stale(session_id, told):
            return None
        if told.state is State.MISSING:
            raise NotFound(f"{session_id}: no {kind}")
        return self._shelf.get(session_id, kind, told.size)

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
                log.info("%s: listed without its transcript: %s", session_id, error, extra=STALE)
            told = self._store.told(session_id, TRANSCRIPT) or told
        return None if told is None or told.state is State.MISSING else told.languages

    def due(self, session_id: str) -> int:
        """Return how many requests it takes now to list a session and to have its documents."""
        kinds = sum(self._is_wanted(session_id, kind) for kind in (SESSION, TRANSCRIPT))
        return int(self._is_due(session_id)) + kinds

    def is_complete(self, session_id: str, kind: str) -> bool:
        """Tell whether a document is known that will not change any more."""
        told = self._store.told(session_id, kind)
        return told is not None and told.state is State.COMPLETE

    def _is_wanted(self, session_id: str, kind: str) -> bool:
        try:
            return self._kept(session_id, kind) is None
        except NotFound:
            return False

    def has_session_document(self, session_id: str) -> bool:
        """Tell whether there may be a session document, without asking anybody."""
        told = self._store.told(session_id, SESSION)
        return told is None or told.state is not State.MISSING

    def _is_due(self, session_id: str) -> bool:
        with self._lock:
            if session_id in self._unsaved:
                return False
        found = self._store.listing(session_id)
        if found is None or found.listed_at is None:
            return True
        if found.settled:
            return False
        return self._is_past(session_id, found.listed_at)

    def _is_stale(self, session_id: str, told: Told) -> bool:
        if told.state is State.COMPLETE:
            return False
        return self._is_past(session_id, told.asked_at)

    def _is_past(self, session_id: str, asked_at: float) -> bool:
        return is_past(self._clock.wall(), asked_at, self._newest(session_id))

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

        self._asking.ask((session_id, ""), work, self._deadline(patience), patience)

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
                self._write(lambda: self._store.listed(session_id, self._clock.wall(), settled=False))
            raise
        now = self._clock.wall()
        # What the list leaves out it may leave out of every item: they are this session's.
        found = [_of(session_id, each) for each in found]
        if not self._write(lambda: self._recordings.save(found)):
            shown = [each for each in {each.id: each for each in found}.values() if _is_shown(each)]
            with self._lock:
                self._unsaved[session_id] = shown
        known = self._store.listing(session_id)
        ended = known is not None and known.session.status == "ended"
        settled = is_settled(now, found, self._newest(session_id), ended=ended)
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
        """Return whether a document will not change any more, and a transcript's languages.

        Raises:
            BadResponse: it is another session's: what others have said is not shown here.
        """
        if kind == TRANSCRIPT:
            transcript = self._reading.transcript(body)
            if transcript is None:
                return False, ()
            if transcript.session_id not in (None, session_id):
                raise BadResponse(f"{session_id}: the answer is another session's transcript")
            return transcript.complete, transcript.languages()
        session = self._reading.session(body)
        if session is None:
            return False, ()
        if session.id != session_id:
            raise BadResponse(f"{session_id}: the answer is another session")
        self._write(lambda: self._store.save([session]))
        return session.status == "ended", ()

    @staticmethod
    def _write(write: Callable[[], object]) -> bool:
        """Write to the store and tell whether that was possible; a full disk costs no more than requests."""
        try:
            write()
        except SystemFault as error:
            log.warning("the catalog cannot be written: %s", error)
            return False
        return True


def _is_shown(recording: Recording) -> bool:
    return recording.status is not Status.FAILED


def _of(session_id: str, recording: Recording) -> Recording:
    return recording if recording.session_id else replace(recording, session_id=session_id)
