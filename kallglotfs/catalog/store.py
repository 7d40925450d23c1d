"""What is known, kept in SQLite over restarts.

Users: the mount's catalog, and `kallglotfs add` in another process on the same file.

Threading: one connection per thread, all closed by `close`. Processes share the file by WAL; a writer
waits up to five seconds for another.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sqlite3
import stat
import threading
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from kallglotfs.errors import ConfigError, SystemFault
from kallglotfs.model import Delivery, Recording, Rendition, RenditionFacts, Status, Validator

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from kallglotfs.clock import Clock

log = logging.getLogger(__name__)

#: Schema version, kept in `user_version`.
VERSION = 1
#: Seconds to wait for another process's write.
BUSY = 5.0
#: Recordings read at once by a listing: no cursor stays open between pages.
PAGE = 1000

_SCHEMA = """
CREATE TABLE recordings (
    id TEXT PRIMARY KEY, session_id TEXT, channel TEXT, duration REAL,
    status TEXT NOT NULL, format TEXT NOT NULL, size INTEGER, sample_rate INTEGER, bit_depth INTEGER,
    created_at REAL, expires_at REAL, delivery TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX recordings_status ON recordings (status, id);
CREATE TABLE renditions (
    recording_id TEXT, format TEXT, rate INTEGER, size INTEGER NOT NULL, etag TEXT, modified REAL NOT NULL,
    PRIMARY KEY (recording_id, format, rate)
) WITHOUT ROWID;
"""

_COLUMNS = (
    "id",
    "session_id",
    "channel",
    "duration",
    "status",
    "format",
    "size",
    "sample_rate",
    "bit_depth",
    "created_at",
    "expires_at",
    "delivery",
)
# What a new answer leaves out stays as it was; status and format are always told.
_UPSERT = f"""
INSERT INTO recordings ({", ".join(_COLUMNS)}) VALUES ({", ".join("?" * len(_COLUMNS))})
ON CONFLICT (id) DO UPDATE SET {
    ", ".join(
        f"{name} = coalesce(excluded.{name}, {name})" for name in _COLUMNS if name not in ("id", "delivery")
    )
}, delivery = CASE excluded.delivery WHEN '{Delivery.UNKNOWN}' THEN delivery ELSE excluded.delivery END
"""  # noqa: S608 - built of our own column names
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM recordings"  # noqa: S608 - the same


def catalog_path(state_dir: Path, profile: str, api_url: str) -> Path:
    """Return the catalog's file: one per profile and service, so that two companies never mix.

    Args:
        state_dir: the setting.
        profile: the profile's name.
        api_url: the service.
    """
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", profile)[:64]
    return state_dir / f"{safe}-{sha256(api_url.encode()).hexdigest()[:8]}.sqlite"


class CatalogStore:
    """Recordings and what the storage confirmed of their renditions.

    Args:
        path: the database file; its directory is made 0700, itself 0600.
        clock: names a damaged file that is moved aside.

    Raises:
        ConfigError: the directory cannot be used, or a newer version wrote the file.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._local = threading.local()
        self._lock = threading.Lock()
        self._connections: list[sqlite3.Connection] = []
        _prepare(path)
        try:
            self._create()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise ConfigError(f"state_dir: {path}: {error}") from None
            self.close()
            aside = path.with_name(f"{path.name}.corrupt-{int(clock.wall())}")
            log.warning("the catalog %s is damaged (%s): moved to %s, starting anew", path, error, aside.name)
            path.rename(aside)
            for suffix in ("-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            _prepare(path)
            self._create()

    def recording(self, recording_id: str) -> Recording | None:
        """Return a recording, None when it was never seen."""
        row = self._one(f"{_SELECT} WHERE id = ?", (recording_id,))
        return None if row is None else _recording(row)

    def save(self, recordings: Iterable[Recording]) -> int:
        """Add or update recordings; what a new value leaves out is kept.

        Returns:
            How many were new.

        Raises:
            SystemFault: the file cannot be written.
        """
        rows = [_row(recording) for recording in recordings]
        with self._writing() as connection:
            known = sum(
                connection.execute("SELECT 1 FROM recordings WHERE id = ?", row[:1]).fetchone() is not None
                for row in rows
            )
            connection.executemany(_UPSERT, rows)
        return len(rows) - known

    def forget(self, recording_id: str) -> None:
        """Remove a recording and its facts.

        Raises:
            SystemFault: the file cannot be written.
        """
        with self._writing() as connection:
            connection.execute("DELETE FROM recordings WHERE id = ?", (recording_id,))
            connection.execute("DELETE FROM renditions WHERE recording_id = ?", (recording_id,))

    def listed(self, now: float) -> Iterator[Recording]:
        """Stream the ready, unexpired recordings by id.

        Args:
            now: seconds since the epoch.
        """
        after = ""
        while True:
            rows = self._all(
                f"{_SELECT} WHERE status = ? AND id > ? AND (expires_at IS NULL OR expires_at > ?) "
                "ORDER BY id LIMIT ?",
                (Status.READY.value, after, now, PAGE),
            )
            yield from map(_recording, rows)
            if len(rows) < PAGE:
                return
            after = rows[-1][0]

    def count(self, now: float) -> int:
        """Return how many recordings `listed` gives."""
        row = self._one(
            "SELECT count(*) FROM recordings WHERE status = ? AND (expires_at IS NULL OR expires_at > ?)",
            (Status.READY.value, now),
        )
        return int(row[0]) if row else 0

    def total_bytes(self) -> int:
        """Return the bytes of all known native recordings."""
        row = self._one("SELECT coalesce(sum(size), 0) FROM recordings", ())
        return int(row[0]) if row else 0

    def facts(self, rendition: Rendition) -> RenditionFacts | None:
        """Return what the storage confirmed of a rendition."""
        row = self._one(
            "SELECT size, etag, modified FROM renditions WHERE recording_id = ? AND format = ? AND rate = ?",
            (rendition.recording_id, rendition.format, rendition.rate),
        )
        return None if row is None else RenditionFacts(Validator(row[0], row[1]), row[2])

    def save_facts(self, rendition: Rendition, facts: RenditionFacts) -> None:
        """Keep what the storage confirmed.

        Raises:
            SystemFault: the file cannot be written.
        """
        with self._writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO renditions VALUES (?, ?, ?, ?, ?, ?)",
                (
                    rendition.recording_id,
                    rendition.format,
                    rendition.rate,
                    facts.validator.size,
                    facts.validator.etag,
                    facts.modified,
                ),
            )

    def forget_facts(self, rendition: Rendition) -> None:
        """Forget what the storage confirmed.

        Raises:
            SystemFault: the file cannot be written.
        """
        with self._writing() as connection:
            connection.execute(
                "DELETE FROM renditions WHERE recording_id = ? AND format = ? AND rate = ?",
                (rendition.recording_id, rendition.format, rendition.rate),
            )

    def close(self) -> None:
        """Close every thread's connection."""
        with self._lock:
            connections, self._connections = self._connections, []
        for connection in connections:
            connection.close()
        self._local = threading.local()

    def _create(self) -> None:
        connection = self._connection()
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            self.close()
            raise ConfigError(f"{self._path}: written by a newer kallglotfs; use that, or another state_dir")
        if version == 0:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                # Another process may have been faster.
                if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
                    for statement in _SCHEMA.split(";\n"):
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version = {VERSION}")

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            # Closed by close(), which another thread calls.
            connection = sqlite3.connect(
                self._path, timeout=BUSY, check_same_thread=False, isolation_level=None
            )
            with self._lock:
                self._connections.append(connection)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            self._local.connection = connection
        return connection

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._connection()
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
        except sqlite3.Error as error:
            raise SystemFault(f"{self._path.name}: {error}") from None

    def _one(self, query: str, values: tuple[object, ...]) -> tuple[Any, ...] | None:
        rows = self._all(query, values)
        return rows[0] if rows else None

    def _all(self, query: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        """Return rows; a file that cannot be read knows nothing."""
        try:
            return self._connection().execute(query, values).fetchall()
        except sqlite3.Error as error:
            log.warning("the catalog cannot be read: %s", error)
            return []


def _prepare(path: Path) -> None:
    """Make directory and file private, refusing what is not ours."""
    folder = path.parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise ConfigError(f"state_dir: {folder}: must be a directory of your own")
        # SQLite gives -wal and -shm the same mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        path.chmod(0o600)
    except OSError as error:
        raise ConfigError(f"state_dir: {error.filename or folder}: {error.strerror}") from None


def _row(recording: Recording) -> tuple[object, ...]:
    return (
        recording.id,
        recording.session_id,
        recording.channel,
        recording.duration,
        recording.status.value,
        recording.format,
        recording.size,
        recording.sample_rate,
        recording.bit_depth,
        None if recording.created_at is None else recording.created_at.timestamp(),
        None if recording.expires_at is None else recording.expires_at.timestamp(),
        recording.delivery.value,
    )


def _recording(row: tuple[Any, ...]) -> Recording:
    values = dict(zip(_COLUMNS, row, strict=True))
    for name in ("created_at", "expires_at"):
        seconds = values[name]
        values[name] = datetime.fromtimestamp(seconds, UTC) if isinstance(seconds, float) else None
    status, delivery = str(values.pop("status")), str(values.pop("delivery"))
    return Recording(
        status=Status(status) if status in set(Status) else Status.READY,
        delivery=Delivery(delivery) if delivery in set(Delivery) else Delivery.UNKNOWN,
        **values,
    )
