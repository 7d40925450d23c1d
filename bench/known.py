"""A catalog of many recordings, written straight into its file: no service lists a million in a minute."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kallglotfs.catalog.store import CatalogStore, catalog_path
from kallglotfs.clock import Clock
from kallglotfs.config.names import DEFAULT_PROFILE

if TYPE_CHECKING:
    from pathlib import Path

#: Recordings of a session and of a day.
PER_SESSION, PER_DAY = 3, 250
#: When the newest was made.
NEWEST = datetime(2026, 3, 2, 12, tzinfo=UTC)
SIZE = 16_000
_DAY = 86_400


def recording_id(number: int) -> str:
    """Return the id of a recording; ids do not come in the order of time."""
    return f"rec_{number * 2_654_435_761 % 2**32:08X}N{number}"


def day_of(number: int) -> tuple[str, str, str]:
    """Return year, month and day of a recording."""
    moment = datetime.fromtimestamp(_made(number), UTC)
    return f"{moment:%Y}", f"{moment:%m}", f"{moment:%d}"


def fill(state: Path, api_url: str, count: int) -> None:
    """Write a catalog of `count` recordings for the default profile.

    Args:
        state: the state directory.
        api_url: the service.
        count: how many.
    """
    path = catalog_path(state, DEFAULT_PROFILE, api_url)
    CatalogStore(path, Clock()).close()
    connection = sqlite3.connect(path)
    try:
        with connection:
            connection.executemany(
                "INSERT INTO recordings (id, session_id, channel, duration, status, format, size, "
                "created_at, delivery) VALUES (?, ?, 'mixed', 41.0, 'ready', 'mp3', ?, ?, 'signed')",
                (
                    (recording_id(each), f"sess_S{each // PER_SESSION}", SIZE + each, _made(each))
                    for each in range(count)
                ),
            )
    finally:
        connection.close()


def _made(number: int) -> float:
    return NEWEST.timestamp() - number // PER_DAY * _DAY - number % PER_DAY
