"""The API's JSON of recordings, lists and refusals, read liberally: what is odd was not sent (`fields.py`).

Only what cannot be done without (an object, an id where one is asked for) makes an answer unusable. What was
passed over is named in the result (`odd`, `skipped`), for whoever counts.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, PrivateAttr, TypeAdapter, ValidationError, model_validator

from kallglotfs.model import DEFAULT_FORMAT, Delivery, Recording, Status
from kallglotfs.remote.fields import Bits, Hertz, Lenient, Seconds, Size, Text, Time, Url, Word

T = TypeVar("T")

FORMAT_NAME = re.compile(r"[a-z0-9]{2,8}")
MIME_FORMATS = {
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/ogg": "ogg",
    "audio/vorbis": "ogg",
}
#: Statuses that mean: there was a recording, there is none any more.
GONE = frozenset({"deleted", "expired", "purged"})


class RecordingObject(BaseModel):
    """A recording as `GET /v1/recordings/{id}` and the lists send it."""

    model_config = ConfigDict(extra="ignore")

    id: Word = None
    session_id: Word = None
    channel: Word = None
    status: Text = None
    duration: Seconds = None
    format: Text = None
    size: Size = None
    sample_rate: Hertz = None
    bit_depth: Bits = None
    download_url: Url = None
    created_at: Time = None
    expires_at: Time = None
    _odd: tuple[str, ...] = PrivateAttr(())

    @model_validator(mode="wrap")
    @classmethod
    def _note_odd(cls, value: Any, validate: Any) -> Any:
        found = validate(value)
        if isinstance(value, dict):
            # Names of fields are ours, never what was sent.
            sent = [name for name in cls.model_fields if value.get(name) is not None]
            found._odd = tuple(name for name in sent if getattr(found, name) is None)  # noqa: SLF001 - its own
        return found

    @property
    def odd(self) -> tuple[str, ...]:
        """The fields that were sent and passed over."""
        return self._odd

    @property
    def says_nothing(self) -> bool:
        """Tell whether this is some other object."""
        return not self.model_dump(exclude_none=True)

    @property
    def gone(self) -> bool:
        """Tell whether the service keeps only the name."""
        return (self.status or "").lower() in GONE

    def to_recording(self, recording_id: str, delivery: Delivery) -> Recording:
        """Return the value the rest of the package works with."""
        return Recording(
            id=recording_id,
            session_id=self.session_id,
            channel=self.channel,
            duration=self.duration,
            status=_status(self.status),
            format=_format(self.format),
            size=self.size,
            sample_rate=self.sample_rate,
            bit_depth=self.bit_depth,
            created_at=self.created_at,
            expires_at=self.expires_at,
            delivery=delivery,
        )


class ListObject(BaseModel):
    """A page of a cursor-paginated list; items that are none are left out."""

    model_config = ConfigDict(extra="ignore")

    data: list[RecordingObject] = []
    has_more: Annotated[bool | None, Lenient] = None
    #: Items that are no objects.
    skipped: int = 0

    @model_validator(mode="before")
    @classmethod
    def _pick(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        sent = value.get("data")
        items = sent if isinstance(sent, list) else []
        objects = [item for item in items if isinstance(item, dict)]
        skipped = len(items) - len(objects) + (sent is not None and not isinstance(sent, list))
        return {"data": objects, "has_more": value.get("has_more"), "skipped": skipped}


class ErrorObject(BaseModel):
    """The inside of the error envelope."""

    model_config = ConfigDict(extra="ignore")

    type: Text = None
    code: Text = None
    request_id: Text = None


class ErrorEnvelope(BaseModel):
    """The body of a refusal."""

    model_config = ConfigDict(extra="ignore")

    error: ErrorObject


def parse(model: type[T], body: bytes) -> T | None:
    """Return `body` as `model`, None when it is not one.

    Raises:
        ValueError: it is not even JSON.
    """
    try:
        # Not pydantic's own parser: that gives up a whole body for one lone surrogate in it.
        return TypeAdapter(model).validate_python(json.loads(body))
    except ValidationError:
        return None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def parse_error(body: bytes) -> ErrorObject | None:
    """Return the inside of the error envelope, None when `body` is none."""
    try:
        found = parse(ErrorEnvelope, body)
    except ValueError:
        return None
    return None if found is None else found.error


def _format(text: str | None) -> str:
    """Return the format as file names have it; what cannot be one was not sent."""
    name = (text or "").strip().lower()
    name = MIME_FORMATS.get(name, name)
    return name if FORMAT_NAME.fullmatch(name) else DEFAULT_FORMAT


def _status(text: str | None) -> Status:
    """Return the status; a word we do not know is tried like a ready recording, the download decides."""
    try:
        return Status((text or Status.READY).lower())
    except ValueError:
        return Status.READY
