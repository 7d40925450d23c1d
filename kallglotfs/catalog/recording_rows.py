"""How a recording stands in its row of the catalog's file.

Users: the store of recordings, and whoever reads or writes one within a transaction of its own.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kallglotfs.model import Delivery, Recording, Status

if TYPE_CHECKING:
    import sqlite3

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
#: Where in a row stands when it was made.
CREATED = _COLUMNS.index("created_at")
# What a new answer leaves out stays as it was; status and format are always told. Nothing that is ready goes
# back to processing: such an answer is older than what is known.
UPSERT = f"""
INSERT INTO recordings ({", ".join(_COLUMNS)}) VALUES ({", ".join("?" * len(_COLUMNS))})
ON CONFLICT (id) DO UPDATE SET {
    ", ".join(
        f"{name} = coalesce(excluded.{name}, {name})"
        for name in _COLUMNS
        if name not in ("id", "status", "delivery")
    )
}, status = CASE WHEN status = '{Status.READY}' AND excluded.status = '{Status.PROCESSING}'
    THEN status ELSE excluded.status END
, delivery = CASE excluded.delivery WHEN '{Delivery.UNKNOWN}' THEN delivery ELSE excluded.delivery END
"""  # noqa: S608 - built of our own column names
#: To be followed by which.
SELECT = f"SELECT {', '.join(_COLUMNS)} FROM recordings"  # noqa: S608 - the same
_STATUS = {status.value: status for status in Status}
_DELIVERY = {delivery.value: delivery for delivery in Delivery}


def moment(stamp: float) -> datetime | None:
    """Return a moment that was written as a number, None for one that rounding has made impossible."""
    try:
        return datetime.fromtimestamp(stamp, UTC)
    except (ValueError, OverflowError):
        return None


def find(connection: sqlite3.Connection, recording_id: str) -> Recording | None:
    """Return a recording, within somebody's transaction."""
    row = connection.execute(f"{SELECT} WHERE id = ?", (recording_id,)).fetchone()
    return recording_of(row) if row else None


def upsert(connection: sqlite3.Connection, recording: Recording) -> None:
    """Add or update a recording as `CatalogStore.save` does, within somebody's transaction."""
    connection.execute(UPSERT, row_of(recording))


def row_of(recording: Recording) -> tuple[object, ...]:
    """Return the row of a recording, for `UPSERT`."""
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


def recording_of(row: tuple[Any, ...]) -> Recording:
    """Return the recording of a row; a word that another version wrote reads as the default."""
    # By position: a listing of a million spends most of its time here.
    recording_id, session_id, channel, duration, status, native, *sizes, created_at, expires_at, delivery = (
        row
    )
    size, sample_rate, bit_depth = sizes
    return Recording(
        recording_id,
        session_id,
        channel,
        duration,
        _STATUS.get(status, Status.READY),
        native,
        size,
        sample_rate,
        bit_depth,
        None if created_at is None else moment(created_at),
        None if expires_at is None else moment(expires_at),
        _DELIVERY.get(delivery, Delivery.UNKNOWN),
    )
