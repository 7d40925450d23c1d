"""What is known, kept in SQLite over restarts.

Users: the mount's catalog, and `kallglotfs add` in another process on the same file.

Threading: any thread, any time; see `database.py`, which also says what becomes of a damaged file.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING

from kallglotfs.catalog.database import Database
from kallglotfs.catalog.recording_rows import CREATED, SELECT, UPSERT, recording_of, row_of
from kallglotfs.model import Recording, Rendition, RenditionFacts, Status, Validator

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from kallglotfs.clock import Clock

#: Recordings read at once by a listing: no cursor stays open between pages.
PAGE = 1000
FIRST_PAGE = 20
#: Seconds for which mounts are told what to forget; a later one begins without.
REMEMBERED = 86400.0


def catalog_path(state_dir: Path, profile: str, api_url: str) -> Path:
    """Return the catalog's file: one per profile and service, so that two companies never mix.

    Args:
        state_dir: the setting.
        profile: the profile's name.
        api_url: the service.
    """
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", profile)[:64]
    # A name that had to be changed may have become another profile's, so it is told apart by the digest.
    told_apart = api_url if safe == profile else f"{profile}\0{api_url}"
    digest = sha256(told_apart.encode(errors="surrogateescape")).hexdigest()[:8]
    return state_dir / f"{safe}-{digest}.sqlite"


class CatalogStore:
    """Recordings and what the storage confirmed of their renditions.

    Reading never fails: a file that cannot be read knows nothing.

    Args:
        path: the database file; its directory is made 0700, itself 0600.
        clock: names a damaged file that is moved aside.

    Raises:
        ConfigError: the directory cannot be used, or a newer version wrote the file.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._database = Database(path, clock)

    @property
    def database(self) -> Database:
        """The file, for those who keep other tables in it."""
        return self._database

    def recording(self, recording_id: str) -> Recording | None:
        """Return a recording, None when it was never seen."""
        rows = self._database.rows(f"{SELECT} WHERE id = ?", (recording_id,))
        return recording_of(rows[0]) if rows else None

    def save(self, recordings: Iterable[Recording]) -> int:
        """Add or update recordings; what a new value leaves out is kept.

        Returns:
            How many were new.

        Raises:
            SystemFault: the file cannot be written.
        """
        rows = [row_of(recording) for recording in recordings]
        keys = {row[0] for row in rows}
        if not rows:
            return 0

        def work(connection: sqlite3.Connection) -> int:
            known = sum(
                connection.execute("SELECT 1 FROM recordings WHERE id = ?", (key,)).fetchone() is not None
                for key in keys
            )
            connection.executemany(UPSERT, rows)
            return len(keys) - known

        return self._database.write(work)

    def forget(self, recording_id: str) -> None:
        """Remove a recording and its facts.

        Raises:
            SystemFault: the file cannot be written.
        """

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM recordings WHERE id = ?", (recording_id,))
            connection.execute("DELETE FROM renditions WHERE recording_id = ?", (recording_id,))

        self._database.write(work)

    def forget_unready(self, recording_id: str) -> None:
        """Remove a recording, unless it is ready: it may have become so while the service was asked.

        Raises:
            SystemFault: the file cannot be written.
        """

        def work(connection: sqlite3.Connection) -> None:
            removed = connection.execute(
                "DELETE FROM recordings WHERE id = ? AND status <> ?", (recording_id, Status.READY.value)
            )
            if removed.rowcount:
                connection.execute("DELETE FROM renditions WHERE recording_id = ?", (recording_id,))

        self._database.write(work)

    def listed(self, now: float, start: str = "") -> Iterator[Recording]:
        """Stream the ready, unexpired recordings by id.

        Args:
            now: seconds since the epoch.
            start: the id to begin with, whether it is there or not.
        """
        # Small pages first: who wants a few that follow one id takes no more.
        page = FIRST_PAGE if start else PAGE
        compared = ">="
        while True:
            rows = self._database.rows(
                f"{SELECT} WHERE status = ? AND id {compared} ? AND (expires_at IS NULL OR expires_at > ?) "
                "ORDER BY id LIMIT ?",
                (Status.READY.value, start, now, page),
            )
            yield from map(recording_of, rows)
            if len(rows) < page:
                return
            start, compared, page = rows[-1][0], ">", PAGE

    def made(self, now: float, since: float, until: float) -> Iterator[Recording]:
        """Stream the ready, unexpired recordings made from `since` to before `until`, by time and id.

        Args:
            now: seconds since the epoch, as the others.
            since: the first moment.
            until: the moment behind the last.
        """
        place = (since, "")
        while True:
            rows = self._database.rows(
                f"{SELECT} WHERE (created_at, id) > (?, ?) AND created_at < ? AND status = ? "
                "AND (expires_at IS NULL OR expires_at > ?) ORDER BY created_at, id LIMIT ?",
                (*place, until, Status.READY.value, now, PAGE),
            )
            yield from map(recording_of, rows)
            if len(rows) < PAGE:
                return
            place = (rows[-1][CREATED], rows[-1][0])

    def next_made(self, now: float, since: float) -> float | None:
        """Return the time of the first ready, unexpired recording made at `since` or later.

        Args:
            now: seconds since the epoch, as the others.
            since: the first moment.
        """
        rows = self._database.rows(
            "SELECT created_at FROM recordings WHERE created_at >= ? AND status = ? "
            "AND (expires_at IS NULL OR expires_at > ?) ORDER BY created_at LIMIT 1",
            (since, Status.READY.value, now),
        )
        return float(rows[0][0]) if rows else None

    def of_session(self, now: float, session_id: str) -> list[Recording]:
        """Return the recordings of a session that are ready and unexpired, or in processing, by id."""
        rows = self._database.rows(
            f"{SELECT} WHERE session_id = ? AND status <> ? AND (expires_at IS NULL OR expires_at > ?) "
            "ORDER BY id",
            (session_id, Status.FAILED.value, now),
        )
        return [recording_of(row) for row in rows]

    def everything(self) -> Iterator[Recording]:
        """Stream all recordings by id, whatever became of them."""
        start = ""
        while True:
            rows = self._database.rows(f"{SELECT} WHERE id > ? ORDER BY id LIMIT ?", (start, PAGE))
            yield from map(recording_of, rows)
            if len(rows) < PAGE:
                return
            start = rows[-1][0]

    def count(self, now: float) -> int:
        """Return how many recordings `listed` gives."""
        rows = self._database.rows(
            "SELECT count(*) FROM recordings WHERE status = ? AND (expires_at IS NULL OR expires_at > ?)",
            (Status.READY.value, now),
        )
        return int(rows[0][0]) if rows else 0

    def total_bytes(self) -> int:
        """Return the bytes of all known native recordings."""
        rows = self._database.rows("SELECT coalesce(sum(size), 0) FROM recordings")
        return int(rows[0][0]) if rows else 0

    def expired(self, since: float, until: float) -> list[str]:
        """Return the ids of the recordings whose retention ended in between.

        Args:
            since: seconds since the epoch, not included.
            until: included.
        """
        rows = self._database.rows(
            "SELECT id FROM recordings WHERE expires_at > ? AND expires_at <= ?", (since, until)
        )
        return [row[0] for row in rows]

    def next_expiry(self, since: float) -> float | None:
        """Return when the next retention ends, None where none is known.

        Args:
            since: seconds since the epoch, not included.
        """
        # Not `min()`, for which SQLite would look at all that end later.
        rows = self._database.rows(
            "SELECT expires_at FROM recordings WHERE expires_at > ? ORDER BY expires_at LIMIT 1", (since,)
        )
        return float(rows[0][0]) if rows else None

    def ids_of_session(self, session_id: str) -> list[str]:
        """Return the ids of all recordings of a session, whatever their status."""
        rows = self._database.rows("SELECT id FROM recordings WHERE session_id = ?", (session_id,))
        return [row[0] for row in rows]

    def note_forgotten(self, ids: list[str], moment: float) -> None:
        """Tell the mounts on this catalog to let go of ids.

        Args:
            ids: of recordings and sessions.
            moment: epoch seconds.

        Raises:
            SystemFault: the file cannot be written.
        """
        rows = [(each, moment) for each in ids]

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM forgotten WHERE forgotten_at < ?", (moment - REMEMBERED,))
            connection.executemany("INSERT OR REPLACE INTO forgotten VALUES (?, ?)", rows)

        self._database.write(work)

    def forgotten(self, since: float) -> list[tuple[str, float]]:
        """Return what was to be forgotten after a moment (epoch seconds), and when."""
        return self._database.rows(
            "SELECT id, forgotten_at FROM forgotten WHERE forgotten_at > ? ORDER BY forgotten_at", (since,)
        )

    def processing(self) -> list[str]:
        """Return the ids of the recordings that were still being processed."""
        rows = self._database.rows(
            "SELECT id FROM recordings WHERE status = ? ORDER BY id", (Status.PROCESSING.value,)
        )
        return [row[0] for row in rows]

    def facts(self, rendition: Rendition) -> RenditionFacts | None:
        """Return what the storage confirmed of a rendition."""
        rows = self._database.rows(
            "SELECT size, etag, modified FROM renditions WHERE recording_id = ? AND format = ? AND rate = ?",
            _key(rendition),
        )
        return RenditionFacts(Validator(rows[0][0], rows[0][1]), rows[0][2]) if rows else None

    def renditions(self, recording_id: str) -> list[tuple[Rendition, RenditionFacts]]:
        """Return what the storage confirmed of a recording, by format and rate."""
        rows = self._database.rows(
            "SELECT format, rate, size, etag, modified FROM renditions WHERE recording_id = ? "
            "ORDER BY format, rate",
            (recording_id,),
        )
        return [
            (Rendition(recording_id, row[0], row[1]), RenditionFacts(Validator(row[2], row[3]), row[4]))
            for row in rows
        ]

    def save_facts(self, rendition: Rendition, facts: RenditionFacts) -> None:
        """Keep what the storage confirmed.

        Raises:
            SystemFault: the file cannot be written.
        """
        row = (*_key(rendition), facts.validator.size, facts.validator.etag, facts.modified)
        self._database.write(
            lambda connection: connection.execute(
                "INSERT OR REPLACE INTO renditions VALUES (?, ?, ?, ?, ?, ?)", row
            )
        )

    def forget_facts(self, rendition: Rendition) -> None:
        """Forget what the storage confirmed.

        Raises:
            SystemFault: the file cannot be written.
        """
        self._database.write(
            lambda connection: connection.execute(
                "DELETE FROM renditions WHERE recording_id = ? AND format = ? AND rate = ?", _key(rendition)
            )
        )

    def close(self) -> None:
        """Close the file. Reading gives nothing after it, and writing is refused."""
        self._database.close()


def _key(rendition: Rendition) -> tuple[str, str, int]:
    return (rendition.recording_id, rendition.format, rendition.rate)
