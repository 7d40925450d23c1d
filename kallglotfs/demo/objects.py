"""The API's objects as JSON shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kallglotfs.demo.library import iso
from kallglotfs.demo.renditions import GENERATION_2_FORMAT, GENERATION_2_RATE
from kallglotfs.model import Status

if TYPE_CHECKING:
    from kallglotfs.demo.library import DemoRecording, DemoSession
    from kallglotfs.demo.service import Service

#: What a list item may leave out besides `size` and `download_url`.
LIST_FIELDS = (
    "id",
    "object",
    "session_id",
    "channel",
    "duration",
    "format",
    "status",
    "created_at",
    "expires_at",
)


async def recording_object(service: Service, row: DemoRecording, *, base: str) -> dict[str, Any]:
    """Return a recording as `GET /recordings/{id}` shows it.

    Args:
        service: whose knobs decide what is told.
        row: the recording.
        base: the API's path, such as `/v1`.
    """
    knobs = service.knobs
    second = knobs.generation == 2  # noqa: PLR2004 - the generations have no better names
    found: dict[str, Any] = {
        "id": row.id,
        "object": "recording",
        "session_id": row.session_id,
        "channel": row.channel,
        "status": str(row.status),
        "duration": round(row.duration, 2),
        "format": GENERATION_2_FORMAT if second else row.format,
        "sample_rate": GENERATION_2_RATE if second else row.sample_rate,
        "bit_depth": row.bit_depth,
        "created_at": iso(row.created_at),
        "expires_at": None if row.expires_at is None else iso(row.expires_at),
    }
    if row.status is not Status.READY:
        return found
    version = service.version(row)
    if knobs.metadata_has_size:
        found["size"] = len(await service.content(version))
    if knobs.metadata_has_download_url:
        found["download_url"] = f"{base}/recordings/{row.id}/audio" if second else service.issue_url(version)
    return found


async def list_item(service: Service, row: DemoRecording, *, base: str) -> dict[str, Any]:
    """Return a recording as lists show it."""
    knobs = service.knobs
    return {
        name: value
        for name, value in (await recording_object(service, row, base=base)).items()
        if name in LIST_FIELDS
        or (name == "size" and knobs.list_has_size)
        or (name == "download_url" and knobs.list_has_download_url)
    }


def transcript_object(session: DemoSession) -> dict[str, Any]:
    """Return a session's transcript."""
    languages = sorted({turn["language"] for turn in session.turns})
    ended = session.facts.get("status") == "ended"
    return {
        "id": session.id.replace("sess_", "trans_"),
        "object": "transcript",
        "session_id": session.id,
        "status": "completed" if ended else "in_progress",
        "turns": list(session.turns),
        "metadata": {
            "total_turns": len(session.turns),
            "duration_seconds": round(session.duration),
            "languages_detected": languages,
        },
    }
