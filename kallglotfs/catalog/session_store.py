"""Sessions and what is told of their documents, in the catalog's file.

Threading: any thread, any time; see `database.py`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kallglotfs.catalog.recording_rows import moment
from kallglotfs.model import Session

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from kallglotfs.catalog.database import Database

#: Session ids read at once by a listing.
PAGE = 1000

_COLUMNS = "id, status, created_at, started_at, ended_at"
_UPSERT = """
INSERT INTO sessions (id, status, created_at, started_at, ended_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    status = coalesce(excluded.status, status), created_at = coalesce(excluded.created_at, created_at),
    started_at = coalesce(excluded.started_at, started_at), ended_at = coalesce(excluded.ended_at, ended_at)
"""
# Both halves come in order from an index, so that a page costs a page.
_LISTED = """
SELECT id FROM (SELECT id FROM sessions WHERE id > ? ORDER BY id LIMIT ?)
UNION
SELECT session_id FROM
    (SELECT DISTINCT session_id FROM recordings WHERE session_id > ? ORDER BY session_id LIMIT ?)
ORDER BY 1 LIMIT ?
"""


class State(enum.StrEnum):
    """What is known of a document."""

    #: It will not change any more.
    COMPLETE = "complete"
    #: It may have changed by now.
    OPEN = "open"
    #: There is none.
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Listing:
    """When a session's recordings were listed.

    Attributes:
        session: what is known of it.
        listed_at: epoch seconds, None for never.
        settled: whether they need not be listed again.
    """

    session: Session
    listed_at: float | None
    settled: bool


@dataclass(frozen=True, slots=True)
class Told:
    """What is known of a session's document.

    Attributes:
        size: bytes.
        languages: into which a transcript has been translated.
        asked_at: when the service was asked, epoch seconds.
    """

    state: State
    size: int
    languages: tuple[str, ...]
    asked_at: float


class SessionStore:
    """Reads and writes sessions. Reading never fails: a file that cannot be read knows nothing.

    Args:
        database: the catalog's file.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def listing(self, session_id: str) -> Listing | None:
        """Return what is known of a session, None when it was never seen by itself."""
        rows = self._database.rows(
            f"SELECT {_COLUMNS}, listed_at, settled FROM sessions WHERE id = ?",  # noqa: S608 - our own columns
            (session_id,),
        )
        return Listing(_session(rows[0]), rows[0][5], bool(rows[0][6])) if rows else None

    def save(self, sessions: Iterable[Session]) -> int:
        """Add or update sessions; what a new value leaves out is kept.

        Returns:
            How many were new.

        Raises:
            SystemFault: the file cannot be written.
        """
        rows = [
            (each.id, each.status, _stamp(each.created_at), _stamp(each.started_at), _stamp(each.ended_at))
            for each in sessions
        ]

        def work(connection: sqlite3.Connection) -> int:
            known = sum(
                connection.execute("SELECT 1 FROM sessions WHERE id = ?", (key,)).fetchone() is not None
                for key in {row[0] for row in rows}
            )
            connection.executemany(_UPSERT, rows)
            return len({row[0] for row in rows}) - known

        return self._database.write(work)

    def listed(self, session_id: str, moment: float, *, settled: bool) -> None:
        """Take note that a session's recordings were listed.

        Args:
            session_id: whose.
            moment: epoch seconds.
            settled: whether they need not be listed again.

        Raises:
            SystemFault: the file cannot be written.
        """
        self._database.write(
            lambda connection: connection.execute(
                "INSERT INTO sessions (id, listed_at, settled) VALUES (?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET listed_at = excluded.listed_at, settled = excluded.settled",
                (session_id, moment, settled),
            )
        )

    def ids(self) -> Iterator[str]:
        """Stream the ids of all sessions that are known, by themselves or by a recording, in order."""
        start = ""
        while True:
            rows = self._database.rows(_LISTED, (start, PAGE, start, PAGE, PAGE))
            yield from (row[0] for row in rows)
            if len(rows) < PAGE:
                return
            start = rows[-1][0]

    def has_recordings(self, session_id: str) -> bool:
        """Tell whether a known recording is of this session."""
        return bool(
            self._database.rows("SELECT 1 FROM recordings WHERE session_id = ? LIMIT 1", (session_id,))
        )

    def unlisted(self, after: str = "") -> str | None:
        """Return the first session behind an id whose recordings were never listed."""
        rows = self._database.rows(
            "SELECT id FROM sessions WHERE listed_at IS NULL AND id > ? ORDER BY id LIMIT 1", (after,)
        )
        return rows[0][0] if rows else None

    def told(self, session_id: str, kind: str) -> Told | None:
        """Return what is known of a session's document, None when the service was never asked."""
        rows = self._database.rows(
            "SELECT state, size, languages, asked_at FROM documents WHERE session_id = ? AND kind = ?",
            (session_id, kind),
        )
        if not rows:
            return None
        state, size, languages, asked_at = rows[0]
        known = State(state) if state in set(State) else State.OPEN
        return Told(known, size, tuple(filter(None, languages.split(" "))), asked_at)

    def save_told(self, session_id: str, kind: str, told: Told) -> None:
        """Keep what the service told of a document.

        Raises:
            SystemFault: the file cannot be written.
        """
        row = (session_id, kind, told.state.value, told.size, " ".join(told.languages), told.asked_at)
        self._database.write(
            lambda connection: connection.execute(
                "INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?, ?, ?)", row
            )
        )

    def forget(self, session_id: str) -> None:
        """Remove a session and what is known of its documents.

        Raises:
            SystemFault: the file cannot be written.
        """

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM sessions WHERE id = ?", (session_id,))
            connection.execute("DELETE FROM documents WHERE session_id = ?", (session_id,))

        self._database.write(work)


def _stamp(time: datetime | None) -> float | None:
    return None if time is None else time.timestamp()


def _session(row: tuple[Any, ...]) -> Session:
    times = (None if value is None else moment(value) for value in row[2:5])
    return Session(row[0], row[1], *times)
