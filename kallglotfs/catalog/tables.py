"""What stands in the catalog's file: its tables, and how a file of an earlier version is brought up to date.

User: `database.py`, which opens the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

#: Schema version, kept in `user_version`; 0 is a new file. One of an earlier version is brought up to date.
VERSION = 2

# The index holds all that `listed` and `count` filter and sort by. `expires_at` comes behind `id`: in front
# of it, a range of it would spoil the order by id that pages need.
_FIRST = """
CREATE TABLE recordings (
    id TEXT PRIMARY KEY, session_id TEXT, channel TEXT, duration REAL,
    status TEXT NOT NULL, format TEXT NOT NULL, size INTEGER, sample_rate INTEGER, bit_depth INTEGER,
    created_at REAL, expires_at REAL, delivery TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX recordings_status ON recordings (status, id, expires_at);
CREATE INDEX recordings_expiry ON recordings (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE renditions (
    recording_id TEXT, format TEXT, rate INTEGER, size INTEGER NOT NULL, etag TEXT, modified REAL NOT NULL,
    PRIMARY KEY (recording_id, format, rate)
) WITHOUT ROWID;
"""
# `status` stands first in `recordings_made`: behind the time, SQLite takes the index of all that are ready
# instead, and sorts.
# `listed_at` is when a session's recordings were last listed, `settled` that they need not be listed again.
# What `documents` tells of a session's JSON is kept in the cache, not here: it is what was said on the phone.
_SECOND = """
CREATE INDEX recordings_session ON recordings (session_id, id) WHERE session_id IS NOT NULL;
CREATE INDEX recordings_made ON recordings (status, created_at, id, expires_at) WHERE created_at IS NOT NULL;
CREATE TABLE sessions (
    id TEXT PRIMARY KEY, status TEXT, created_at REAL, started_at REAL, ended_at REAL, listed_at REAL,
    settled INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX sessions_unlisted ON sessions (id) WHERE listed_at IS NULL;
CREATE TABLE documents (
    session_id TEXT, kind TEXT, state TEXT NOT NULL, size INTEGER NOT NULL, languages TEXT NOT NULL,
    asked_at REAL NOT NULL, PRIMARY KEY (session_id, kind)
) WITHOUT ROWID;
CREATE TABLE events (
    id TEXT PRIMARY KEY, received_at REAL NOT NULL, subject TEXT, status TEXT, happened_at REAL
) WITHOUT ROWID;
CREATE INDEX events_received ON events (received_at);
CREATE INDEX events_subject ON events (subject, status, happened_at) WHERE subject IS NOT NULL;
CREATE TABLE sources (
    name TEXT PRIMARY KEY, position TEXT NOT NULL, last_run REAL, last_error TEXT NOT NULL,
    found INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE forgotten (id TEXT PRIMARY KEY, forgotten_at REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX forgotten_when ON forgotten (forgotten_at);
"""
#: What leads from each version to the next.
_STEPS = (_FIRST, _SECOND)
_PROBES = tuple(
    f"SELECT 1 FROM {table} LIMIT 1"  # noqa: S608 - our own tables
    for table in ("recordings", "renditions", "sessions", "documents", "events", "sources", "forgotten")
)


def migrate(connection: sqlite3.Connection) -> int:
    """Bring the tables up to date.

    Returns:
        The version that the file has now: larger than `VERSION` where a newer kallglotfs wrote it.

    Raises:
        sqlite3.Error: as SQLite says.
    """
    if _version(connection) < VERSION:
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            # Read again: another process may have been faster.
            for step in _STEPS[_version(connection) :]:
                for statement in step.split(";\n"):
                    connection.execute(statement)
            if _version(connection) < VERSION:
                connection.execute(f"PRAGMA user_version = {VERSION}")
    return _version(connection)


def probe(connection: sqlite3.Connection) -> None:
    """Look at every table once.

    Raises:
        sqlite3.Error: one is damaged, or not what it should be.
    """
    for statement in _PROBES:
        connection.execute(statement).fetchall()


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
