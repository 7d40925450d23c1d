"""Extended attributes: what is known of a recording, readable with `getfattr`. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from kallglotfs.model import Recording, Rendition

#: MIME types of the formats the service names; others are `audio/<format>`.
MIME_TYPES = {"mp3": "audio/mpeg", "wav": "audio/wav", "ogg": "audio/ogg"}
_PREFIX = "user.kallglot."
#: Every attribute a file can have; others need no look-up.
NAMES = frozenset(
    {"user.mime_type"}
    | {
        _PREFIX + name
        for name in (
            "id",
            "session",
            "channel",
            "duration",
            "status",
            "format",
            "sample_rate",
            "created_at",
            "expires_at",
        )
    }
)


def attributes_of(recording: Recording, rendition: Rendition) -> dict[str, bytes]:
    """Return the extended attributes of a file; what is not known is left out.

    Args:
        recording: what the service says.
        rendition: what the file shows of it.
    """
    rate = rendition.rate or (recording.sample_rate if rendition.format == recording.format else None)
    values = {
        "id": recording.id,
        "session": recording.session_id,
        "channel": recording.channel,
        "duration": None if recording.duration is None else f"{recording.duration:g}",
        "status": recording.status.value,
        "format": rendition.format,
        "sample_rate": None if rate is None else str(rate),
        "created_at": _iso(recording.created_at),
        "expires_at": _iso(recording.expires_at),
    }
    found = {_PREFIX + name: value.encode() for name, value in values.items() if value is not None}
    found["user.mime_type"] = MIME_TYPES.get(rendition.format, f"audio/{rendition.format}").encode()
    return found


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")
