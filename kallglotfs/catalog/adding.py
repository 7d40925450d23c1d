"""Naming recordings to the catalog: by their own ids, or by their session's.

Used by `kallglotfs add`, in a process of its own: a mount on the same catalog shows the result at once.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from kallglotfs.clock import Deadline
from kallglotfs.errors import BadResponse, KeyRefused, NotFound, NotPermitted, NotReady
from kallglotfs.model import DEFAULT_FORMAT, Recording, Rendition, Status
from kallglotfs.urgency import Urgency

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kallglotfs.clock import Clock

#: Recordings of a session written at once.
BATCH = 100


class Result(enum.Enum):
    """What became of one id."""

    ADDED = "added"
    KNOWN = "already known"
    UNKNOWN = "unknown"
    BAD = "not an id"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one id, how many recordings were new by it, and how many had no id that can be one."""

    text: str
    result: Result
    added: int = 0
    reason: str = ""
    skipped: int = 0


class Store(Protocol):
    """What is written to: `catalog.store.CatalogStore`."""

    def recording(self, recording_id: str) -> Recording | None:
        """Return a recording, None when it was never seen."""

    def save(self, recordings: Iterable[Recording]) -> int:
        """Add or update; returns how many were new."""


class Service(Protocol):
    """Who is asked: `remote.service.KallglotService`."""

    def look_up(self, rendition: Rendition, deadline: Deadline) -> Recording:
        """Ask what a recording is."""

    def session_recordings(self, session_id: str, deadline: Deadline) -> Iterator[Recording]:
        """List a session's recordings."""


class Adder:
    """Adds ids to a catalog.

    Args:
        store: the catalog's store.
        service: who knows what an id is.
        is_recording: tells the form of a recording id.
        is_session: tells the form of a session id.
        clock: what tells the time.
        timeout: seconds per request.
    """

    def __init__(
        self,
        store: Store,
        service: Service,
        is_recording: Callable[[str], bool],
        is_session: Callable[[str], bool],
        clock: Clock,
        timeout: float,
    ) -> None:
        self._store = store
        self._service = service
        self._is_recording = is_recording
        self._is_session = is_session
        self._clock = clock
        self._timeout = timeout

    def set_timeout(self, seconds: float) -> None:
        """Change what a request that begins from now on may take."""
        self._timeout = seconds

    def add(self, text: str) -> Outcome:
        """Add one id.

        Returns:
            What became of it; a bad or unknown one is an outcome, no error.

        Raises:
            KeyRefused, Unreachable, TimedOut: nothing else will work either.
            SystemFault: the catalog cannot be written.
        """
        try:
            if self._is_recording(text):
                return self._add_recording(text)
            if self._is_session(text):
                return self._add_session(text)
        except KeyRefused:
            raise
        except NotFound as error:
            return Outcome(text, Result.UNKNOWN, reason=str(error).removeprefix(f"{text}: "))
        except (NotPermitted, NotReady, BadResponse) as error:
            return Outcome(text, Result.FAILED, reason=str(error).removeprefix(f"{text}: "))
        return Outcome(text, Result.BAD)

    def _add_recording(self, recording_id: str) -> Outcome:
        known = self._store.recording(recording_id)
        if known is not None and known.status is not Status.PROCESSING:
            return Outcome(recording_id, Result.KNOWN)
        recording = self._service.look_up(Rendition(recording_id, DEFAULT_FORMAT), self._deadline())
        new = self._store.save([recording])
        return Outcome(recording_id, Result.ADDED if new else Result.KNOWN, new)

    def _add_session(self, session_id: str) -> Outcome:
        batch: list[Recording] = []
        new = skipped = 0
        for recording in self._service.session_recordings(session_id, self._deadline()):
            if self._is_recording(recording.id):
                batch.append(recording)
            else:
                skipped += 1
            if len(batch) == BATCH:
                new += self._store.save(batch)
                batch = []
        new += self._store.save(batch)
        return Outcome(session_id, Result.ADDED if new else Result.KNOWN, new, skipped=skipped)

    def _deadline(self) -> Deadline:
        return Deadline(self._clock, self._timeout, Urgency.BACKGROUND)
