"""Letting go of recordings that somebody wants forgotten: what is known of them, and what is cached.

Used by `kallglotfs forget`, in a process of its own. A mount on the same catalog lists them no more at once,
and lets go of what it has in memory within a minute. A recording that is opened by its name, or listed by its
session again, is known again: the service still has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from kallglotfs.clock import Clock
    from kallglotfs.model import Recording


class Store(Protocol):
    """Where recordings are kept: `store.CatalogStore`."""

    def forget(self, recording_id: str) -> None:
        """Remove a recording and its facts."""

    def note_forgotten(self, ids: list[str], moment: float) -> None:
        """Tell the mounts."""

    def ids_of_session(self, session_id: str) -> list[str]:
        """Return the ids of all recordings of a session."""

    def recording(self, recording_id: str) -> Recording | None:
        """Return a recording, None when it was never seen."""


class SessionStore(Protocol):
    """Where sessions are kept: `session_store.SessionStore`."""

    def forget(self, session_id: str) -> None:
        """Remove a session and what is known of its documents."""


class Forgetter:
    """Forgets recordings and sessions.

    Args:
        recordings: where recordings are kept.
        sessions: where sessions are kept.
        destroy: removes what is cached under an id; tells whether all of it is gone.
        is_session: tells the form of a session id.
        clock: what tells the time.
    """

    def __init__(
        self,
        recordings: Store,
        sessions: SessionStore,
        destroy: Callable[[str], bool],
        is_session: Callable[[str], bool],
        clock: Clock,
    ) -> None:
        self._recordings = recordings
        self._sessions = sessions
        self._destroy = destroy
        self._is_session = is_session
        self._clock = clock

    def forget(self, text: str) -> tuple[int, bool]:
        """Forget a recording, or a session with all of its recordings.

        Returns:
            How many recordings were known, and whether everything cached is gone.

        Raises:
            SystemFault: the catalog cannot be written.
        """
        ids = self._recordings.ids_of_session(text) if self._is_session(text) else [text]
        known = sum(self._recordings.recording(each) is not None for each in ids)
        for each in ids:
            self._recordings.forget(each)
        if self._is_session(text):
            self._sessions.forget(text)
            ids.append(text)
        self._recordings.note_forgotten(ids, self._clock.wall())
        # Not all(): each is to be tried.
        return known, sum(not self._destroy(each) for each in ids) == 0
