"""Events that the service sends by itself: each is stored and takes effect in one transaction, once.

User: the webhook receiver. An event's id is kept for 30 days, so that one which is delivered again, also
after a restart, changes nothing. Events come in any order: of two about one recording, the later one in the
service's own time counts, and nothing that is ready goes back to processing.

Threading: any thread, any time.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kallglotfs.catalog.recording_rows import find, upsert
from kallglotfs.model import Recording, Status

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from kallglotfs.catalog.database import Database
    from kallglotfs.clock import Clock

#: Seconds an event's id is remembered. A signature is good for five minutes, and senders that sign each try
#: anew give up after days.
REMEMBERED_FOR = 30 * 86400.0
#: Seconds between two looks for ids that are older.
PRUNE_EVERY = 3600.0


@dataclass(frozen=True, slots=True)
class RecordingChanged:
    """A recording became ready, or failed.

    Attributes:
        recording: what was told of it; its status is `READY` or `FAILED`.
        tells_format: whether its format was told, or is the default.
    """

    recording: Recording
    tells_format: bool = True


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """A call is over: its recordings may be listed once more.

    Attributes:
        session_id: which.
        created_at: when it was made, epoch seconds; None where it was not told.
        ended_at: the same for its end.
    """

    session_id: str
    created_at: float | None = None
    ended_at: float | None = None


@dataclass(frozen=True, slots=True)
class TranscriptReady:
    """A session's transcript is complete: what is kept of an unfinished one is out of date."""

    session_id: str


Change = RecordingChanged | SessionEnded | TranscriptReady


@dataclass(frozen=True, slots=True)
class Event:
    """Something the service told by itself.

    Attributes:
        id: the same for each delivery of it.
        change: what it means for the catalog; None for a type we have no use for.
        happened_at: when, by the service's clock, epoch seconds; None where it was not told.
    """

    id: str
    change: Change | None = None
    happened_at: float | None = None


class Outcome(enum.Enum):
    """What became of an event."""

    STORED = "stored"
    DUPLICATE = "duplicate"


class Intake:
    """Takes events in.

    Args:
        database: the catalog's file.
        noted: told the ids of the recordings that events were about, once the catalog knows.
        clock: what tells the time.
    """

    def __init__(self, database: Database, noted: Callable[[str], None], clock: Clock) -> None:
        self._database = database
        self._noted = noted
        self._clock = clock
        self._pruned = 0.0

    def take(self, event: Event) -> Outcome:
        """Store an event; when this returns, it outlasts a power cut.

        Raises:
            SystemFault: the file cannot be written; the event is to be sent again.
        """
        now = self._clock.wall()
        happened = now if event.happened_at is None else min(event.happened_at, now)
        change = event.change
        told = change.recording if isinstance(change, RecordingChanged) else None
        row = (event.id, now, told and told.id, told and told.status.value, happened)
        prune = abs(now - self._pruned) >= PRUNE_EVERY

        def work(connection: sqlite3.Connection) -> Outcome:
            outdated = told is not None and _is_outdated(connection, told, happened)
            stored = connection.execute("INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?)", row)
            if stored.rowcount == 0:
                return Outcome.DUPLICATE
            if change is not None and not outdated:
                _apply(connection, change, happened)
            if prune:
                connection.execute("DELETE FROM events WHERE received_at < ?", (now - REMEMBERED_FOR,))
            return Outcome.STORED

        outcome = self._database.write(work)
        if prune:
            self._pruned = now
        if told is not None and outcome is Outcome.STORED:
            self._noted(told.id)
        # For a repeated delivery as well: the first may still wait for the disk.
        self._database.flush()
        return outcome


def _is_outdated(connection: sqlite3.Connection, told: Recording, happened: float) -> bool:
    """Tell whether a later event about the same recording is known; of two at one time, `ready` counts."""
    rows = connection.execute(
        "SELECT status, max(happened_at) FROM events WHERE subject = ? GROUP BY status", (told.id,)
    )
    latest: dict[str, float] = dict(rows.fetchall())
    ready, failed = (latest.get(status.value, float("-inf")) for status in (Status.READY, Status.FAILED))
    if told.status is Status.READY:
        return happened < max(ready, failed)
    return happened <= ready or happened < failed


def _apply(connection: sqlite3.Connection, change: Change, happened: float) -> None:
    if isinstance(change, RecordingChanged):
        _apply_recording(connection, change, happened)
    elif isinstance(change, SessionEnded):
        connection.execute(
            "INSERT INTO sessions (id, status, created_at, ended_at, settled) VALUES (?, 'ended', ?, ?, 0) "
            "ON CONFLICT (id) DO UPDATE SET status = 'ended', settled = 0, "
            "created_at = coalesce(excluded.created_at, created_at), "
            "ended_at = coalesce(excluded.ended_at, ended_at)",
            (change.session_id, change.created_at, change.ended_at),
        )
    else:
        connection.execute(
            "UPDATE documents SET state = 'open', asked_at = 0 "
            "WHERE session_id = ? AND kind = 'transcript' AND state <> 'complete'",
            (change.session_id,),
        )
        # A session that has a transcript is one that is known.
        connection.execute("INSERT OR IGNORE INTO sessions (id, settled) VALUES (?, 0)", (change.session_id,))


def _apply_recording(connection: sqlite3.Connection, change: RecordingChanged, happened: float) -> None:
    recording = change.recording
    # What is older than the user's wish to have it forgotten does not bring it back.
    forgotten = "SELECT 1 FROM forgotten WHERE id = ? AND forgotten_at >= ?"
    if connection.execute(forgotten, (recording.id, happened)).fetchone() is not None:
        return
    if not change.tells_format:
        known = find(connection, recording.id)
        if known is not None:
            recording = replace(recording, format=known.format)
    upsert(connection, recording)
