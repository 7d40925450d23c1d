"""The recordings and sessions the service knows: the shipped calls and what tests add.

Threading: tests change it while the servers read; every step is a single dict operation or works on a copy.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kallglotfs.demo.sources import Voice
from kallglotfs.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kallglotfs.demo.sources import Source

VOICES = Path(__file__).parent / "voices"
#: All that is recorded is telephone sound.
NATIVE_RATE = 8000
BIT_DEPTH = 16
#: What the path of a recording may look like.
RECORDING_ID = re.compile(r"rec_[A-Za-z0-9]+")


@dataclass(frozen=True)
class DemoRecording:
    """One recording; a changed one is a new value.

    Attributes:
        channel: `agent`, `customer` or `mixed`.
        format: the native format.
        duration: seconds.
        created_at: aware UTC time.
        expires_at: end of retention, aware UTC time; None for never.
        modified: what storage says in Last-Modified.
        version: counts replacements of the content; part of the ETag.
    """

    id: str
    session_id: str
    source: Source
    channel: str = "mixed"
    status: Status = Status.READY
    format: str = "mp3"
    duration: float = 0.0
    created_at: datetime = datetime(2026, 3, 1, tzinfo=UTC)
    expires_at: datetime | None = None
    modified: datetime = datetime(2026, 3, 1, tzinfo=UTC)
    sample_rate: int = NATIVE_RATE
    bit_depth: int = BIT_DEPTH
    version: int = 0


@dataclass(frozen=True)
class DemoSession:
    """One call.

    Attributes:
        facts: the session object as the API shows it.
        turns: what was said, as the API shows it; empty when there is no transcript.
        duration: seconds.
    """

    id: str
    facts: dict[str, Any]
    turns: tuple[dict[str, Any], ...] = ()
    duration: float = 0.0

    @property
    def created_at(self) -> str:
        """When it was created, as the API writes it: such texts sort like the times."""
        return str(self.facts["created_at"])


class Library:
    """All recordings and sessions by id, to begin with the shipped ones."""

    def __init__(self) -> None:
        self._recordings: dict[str, DemoRecording] = {}
        self._sessions: dict[str, DemoSession] = {}
        self._load(json.loads((VOICES / "calls.json").read_text(encoding="utf-8")))

    def recordings(self, session_id: str | None = None) -> list[DemoRecording]:
        """Return all recordings, or a session's, newest first."""
        rows = [row for row in list(self._recordings.values()) if session_id in (None, row.session_id)]
        return sorted(rows, key=lambda row: (row.created_at, row.id), reverse=True)

    def sessions(self) -> list[DemoSession]:
        """Return all sessions, newest first."""
        rows = list(self._sessions.values())
        return sorted(rows, key=lambda row: (row.created_at, row.id), reverse=True)

    def find(self, recording_id: str) -> DemoRecording | None:
        """Return a recording, or None."""
        return self._recordings.get(recording_id)

    def find_session(self, session_id: str) -> DemoSession | None:
        """Return a session, or None."""
        return self._sessions.get(session_id)

    def add(self, recording: DemoRecording) -> None:
        """Add a recording, with a session of its own where its session is not known.

        Raises:
            ValueError: the id could not stand in a URL.
        """
        if not RECORDING_ID.fullmatch(recording.id):
            raise ValueError(f"not a recording id: {recording.id!r}")
        self._recordings[recording.id] = recording
        if recording.session_id not in self._sessions:
            moment = iso(recording.created_at)
            facts: dict[str, Any] = {
                "id": recording.session_id,
                "object": "session",
                "status": "ended",
                "mode": "transcription",
                "source_language": "en",
                "target_language": None,
                "phone_number": None,
                "metadata": {},
                "created_at": moment,
                "started_at": moment,
                "ended_at": moment,
            }
            self._sessions[recording.session_id] = DemoSession(recording.session_id, facts)

    def change(self, recording_id: str, **changes: Any) -> None:
        """Replace fields of a recording.

        Raises:
            KeyError: there is no such recording.
        """
        self._recordings[recording_id] = dataclasses.replace(self._recordings[recording_id], **changes)

    def remove(self, recording_id: str) -> None:
        """Delete a recording; its session stays.

        Raises:
            KeyError: there is no such recording.
        """
        del self._recordings[recording_id]

    def _load(self, calls: Iterable[dict[str, Any]]) -> None:
        for call in calls:
            facts: dict[str, Any] = {
                "id": call["id"],
                "object": "session",
                "status": "ended",
                **call["session"],
            }
            duration = call["seconds"] * call["repeats"]
            self._sessions[call["id"]] = DemoSession(call["id"], facts, tuple(call["turns"]), duration)
            for row in call["recordings"]:
                created = datetime.fromisoformat(facts["ended_at"])
                self.add(
                    DemoRecording(
                        id=row["id"],
                        session_id=call["id"],
                        source=Voice(VOICES / call["voice"], row["channel"], call["repeats"]),
                        channel=row["channel"],
                        format=row["format"],
                        duration=duration,
                        created_at=created,
                        modified=created,
                        expires_at=datetime.fromisoformat(call["expires_at"]),
                    )
                )


def iso(moment: datetime) -> str:
    """Return a time as the API writes it, to the second and with Z."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
