"""How far each source of the catalog has come, kept over restarts, and what became of its last run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kallglotfs.catalog.database import Database


@dataclass(frozen=True, slots=True)
class SourceState:
    """A source as it was left.

    Attributes:
        position: where it goes on, in its own words.
        last_run: epoch seconds, None for never.
        last_error: "" where the last run went well.
        found: recordings and sessions it has brought in all.
    """

    position: str = ""
    last_run: float | None = None
    last_error: str = ""
    found: int = 0


class SourceStore:
    """Reads and writes the states of sources.

    Args:
        database: the catalog's file.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def state(self, name: str) -> SourceState:
        """Return how a source was left."""
        rows = self._database.rows(
            "SELECT position, last_run, last_error, found FROM sources WHERE name = ?", (name,)
        )
        return SourceState(*rows[0]) if rows else SourceState()

    def save(self, name: str, state: SourceState) -> None:
        """Keep how a source was left.

        Raises:
            SystemFault: the file cannot be written.
        """
        row = (name, state.position, state.last_run, state.last_error, state.found)
        self._database.write(
            lambda connection: connection.execute(
                "INSERT OR REPLACE INTO sources VALUES (?, ?, ?, ?, ?)", row
            )
        )
