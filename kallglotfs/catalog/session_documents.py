"""The documents of sessions, their own and their transcripts, asked for once where that suffices.

A completed transcript is never asked for again. What may still change is asked for anew when somebody looks,
at growing distances.

Threading: called on many threads; one request per session and kind is under way at a time.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from kallglotfs.catalog.asking import STALE, Asking
from kallglotfs.catalog.session_store import State, Told
from kallglotfs.catalog.writing import written
from kallglotfs.clock import Deadline
from kallglotfs.errors import BadResponse, KallglotError, NotFound, NotPermitted

if TYPE_CHECKING:
    from collections.abc import Callable

    from kallglotfs.catalog.session_store import SessionStore
    from kallglotfs.clock import Clock
    from kallglotfs.model import Session, Transcript
    from kallglotfs.patience import Executor, Patience

log = logging.getLogger(__name__)

#: Kinds of documents.
SESSION, TRANSCRIPT = "session", "transcript"


class Lookup(Protocol):
    """Who is asked: `remote.service.KallglotService`."""

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


class SessionDocuments:
    """Answers with documents of sessions, asking the service where it has to.

    Args:
        store: what is kept of sessions.
        lookup: who is asked.
        reading: who understands the answers.
        shelf: where documents are kept.
        is_past: tells whether an answer of a moment, epoch seconds, is worth another question to a session.
        executor: runs the asking, so that its caller can give up.
        clock: what tells the time.
        timeout: seconds the asking may take.
    """

    def __init__(
        self,
        store: SessionStore,
        lookup: Lookup,
        reading: Reading,
        shelf: Shelf,
        is_past: Callable[[str, float], bool],
        executor: Executor,
        clock: Clock,
        timeout: float,
    ) -> None:
        self._store = store
        self._lookup = lookup
        self._reading = reading
        self._shelf = shelf
        self._is_past = is_past
        self._asking = Asking(executor, clock)
        self._clock = clock
        self._timeout = timeout

    def set_timeout(self, seconds: float) -> None:
        """Change what asking may take that begins from now on."""
        self._timeout = seconds

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
            # Looked at again: who waited for its turn may find that another has asked meanwhile.
            return self._kept(session_id, kind) or self._fetch(session_id, kind, deadline)

        told = self._store.told(session_id, kind)
        known = told is not None and told.state is not State.MISSING
        stale = self._shelf.get(session_id, kind, told.size) if told is not None and known else None
        if stale is not None and self._asking.has_failed((session_id, kind)):
            return stale
        deadline = Deadline(self._clock, self._timeout, caller=patience.caller())
        try:
            return self._asking.ask((session_id, kind), work, deadline, patience)
        except (NotFound, NotPermitted):
            raise
        except KallglotError as error:
            if stale is None:
                raise
            log.info("%s: the %s is shown as it was: %s", session_id, kind, error, extra=STALE)
            return stale

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
        """Return how many requests it takes now to have the documents of a session."""
        return sum(self._is_wanted(session_id, kind) for kind in (SESSION, TRANSCRIPT))

    def is_complete(self, session_id: str, kind: str) -> bool:
        """Tell whether a document is known that will not change any more."""
        told = self._store.told(session_id, kind)
        return told is not None and told.state is State.COMPLETE

    def has_session_document(self, session_id: str) -> bool:
        """Tell whether there may be a session document, without asking anybody."""
        told = self._store.told(session_id, SESSION)
        return told is None or told.state is not State.MISSING

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

    def _is_wanted(self, session_id: str, kind: str) -> bool:
        try:
            return self._kept(session_id, kind) is None
        except NotFound:
            return False

    def _is_stale(self, session_id: str, told: Told) -> bool:
        if told.state is State.COMPLETE:
            return False
        return self._is_past(session_id, told.asked_at)

    def _fetch(self, session_id: str, kind: str, deadline: Deadline) -> bytes:
        now = self._clock.wall()
        try:
            body = self._lookup.session_document(session_id, kind, deadline)
        except NotFound:
            written(lambda: self._store.save_told(session_id, kind, Told(State.MISSING, 0, (), now)))
            raise
        complete, languages = self._understood(session_id, kind, body)
        state = State.COMPLETE if complete else State.OPEN
        self._shelf.put(session_id, kind, body, lasting=complete)
        written(lambda: self._store.save_told(session_id, kind, Told(state, len(body), languages, now)))
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
        written(lambda: self._store.save([session]))
        return session.status == "ended", ()
