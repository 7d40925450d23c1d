"""The API's JSON, read liberally: a field that is odd is a field that was not sent.

Only what cannot be done without (an object, an id where one is asked for) makes an answer unusable.
"""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    WrapValidator,
)

from kallglotfs.model import DEFAULT_FORMAT, Delivery, Recording, Session, Status, Transcript, Turn

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Bytes a recording may have; a larger number was not meant.
LARGEST = 2**50
#: The first moment that can be an end of retention; earlier ones are not meant.
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
#: The first year that is not meant: `9999` is how some say "never", and SQLite's numbers round it up.
FOREVER = 9999
#: Numbers from which a time of a turn is one in milliseconds.
MILLISECONDS = 1e11
#: A language as BCP 47 has it, in small letters; it stands in file names.
LANGUAGE = re.compile(r"(?=.{2,35}\Z)[a-z]{2,3}(-[a-z0-9]{1,8})*")
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


def _or_none(value: Any, validate: Any) -> Any:
    try:
        return validate(value)
    except ValidationError:
        return None


def _utc(value: Any) -> Any:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        value = datetime.fromtimestamp(value, UTC)
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return value


def _utc_or_none(value: Any) -> Any:
    try:
        found = _utc(value)
        return None if isinstance(found, datetime) and found.year >= FOREVER else found
    except (ValueError, OverflowError, OSError):
        return None


def _moment(value: Any) -> Any:
    """Return a time of a turn: epoch seconds of a date, or a number as it is (seconds from the beginning)."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            found = _utc_or_none(value)
            return None if found is None else found.timestamp()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value / 1000 if abs(value) >= MILLISECONDS else value
    except OverflowError:
        return None


def _words(value: Any) -> Any:
    """Return a text that can be written: for one broken character, what was said is not lost."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


def _objects(value: Any) -> list[Any]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _writable(text: str) -> str:
    # A lone surrogate can be neither stored nor stand in a name; UnicodeEncodeError is a ValueError.
    text.encode()
    return text


Lenient = WrapValidator(_or_none)
Text = Annotated[Annotated[str, AfterValidator(_writable)] | None, Lenient]
#: What SQLite can store; one odd number must not cost the whole list it stands in.
Whole = Annotated[Annotated[int, Field(ge=-(2**63), lt=2**63)] | None, Lenient]
Number = Annotated[Annotated[float, Field(allow_inf_nan=False)] | None, Lenient]
Words = Annotated[str | None, BeforeValidator(_words), Lenient]
Time = Annotated[datetime | None, BeforeValidator(_utc_or_none), Lenient]


class RecordingObject(BaseModel):
    """A recording as `GET /v1/recordings/{id}` and the lists send it."""

    model_config = ConfigDict(extra="ignore")

    id: Text = None
    session_id: Text = None
    channel: Text = None
    status: Text = None
    duration: Number = None
    format: Text = None
    size: Whole = None
    sample_rate: Whole = None
    bit_depth: Whole = None
    download_url: Text = None
    created_at: Time = None
    expires_at: Time = None

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
        size = self.size if self.size is not None and 0 <= self.size <= LARGEST else None
        return Recording(
            id=recording_id,
            session_id=self.session_id,
            channel=self.channel,
            duration=self.duration,
            status=_status(self.status),
            format=_format(self.format),
            size=size,
            sample_rate=self.sample_rate,
            bit_depth=self.bit_depth,
            created_at=self.created_at,
            expires_at=self.expires_at if self.expires_at and self.expires_at >= EARLIEST else None,
            delivery=delivery,
        )


class ListObject(BaseModel):
    """A page of a cursor-paginated list; items that are none are left out."""

    model_config = ConfigDict(extra="ignore")

    data: Annotated[list[RecordingObject], BeforeValidator(_objects)] = []
    has_more: Annotated[bool | None, Lenient] = None


class SessionObject(BaseModel):
    """A session as `GET /v1/sessions/{id}` and the list send it."""

    model_config = ConfigDict(extra="ignore")

    id: Text = None
    status: Text = None
    created_at: Time = None
    started_at: Time = None
    ended_at: Time = None

    def to_session(self) -> Session | None:
        """Return the value the rest of the package works with, None for one without an id."""
        if not self.id:
            return None
        return Session(self.id, self.status, self.created_at, self.started_at, self.ended_at)


class SessionListObject(BaseModel):
    """A page of the list of sessions."""

    model_config = ConfigDict(extra="ignore")

    data: Annotated[list[SessionObject], BeforeValidator(_objects)] = []
    has_more: Annotated[bool | None, Lenient] = None


class TranslationObject(BaseModel):
    """The translation of a turn."""

    model_config = ConfigDict(extra="ignore")

    language: Text = None
    text: Words = None


class TurnObject(BaseModel):
    """A turn of a transcript."""

    model_config = ConfigDict(extra="ignore")

    sequence: Whole = None
    speaker: Words = None
    language: Text = None
    text: Words = None
    translation: Annotated[TranslationObject | None, Lenient] = None
    timestamp: Annotated[Number, BeforeValidator(_moment)] = None

    def to_turn(self) -> Turn:
        """Return the value the rest of the package works with."""
        told = self.translation
        language = _language(told.language) if told else ""
        translations = ((language, told.text),) if told and language and told.text else ()
        return Turn(
            self.speaker or "", _language(self.language), self.text or "", translations, self.timestamp
        )


class TranscriptMetadata(BaseModel):
    """What a transcript says of itself."""

    model_config = ConfigDict(extra="ignore")

    duration_seconds: Number = None


class TranscriptObject(BaseModel):
    """A transcript as `GET /v1/sessions/{id}/transcript` sends it."""

    model_config = ConfigDict(extra="ignore")

    session_id: Text = None
    status: Text = None
    turns: Annotated[list[TurnObject], BeforeValidator(_objects)] = []
    metadata: Annotated[TranscriptMetadata | None, Lenient] = None

    def to_transcript(self) -> Transcript:
        """Return the value the rest of the package works with, its turns in the order of their numbers."""
        numbered = sorted(
            enumerate(self.turns), key=lambda each: each[0] if each[1].sequence is None else each[1].sequence
        )
        return Transcript(
            complete=(self.status or "").lower() == "completed",
            turns=tuple(turn.to_turn() for _, turn in numbered),
            duration=None if self.metadata is None else self.metadata.duration_seconds,
            session_id=self.session_id,
        )


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


class Reading:
    """Reads the documents of sessions, for who must not know of JSON."""

    @staticmethod
    def session(body: bytes) -> Session | None:
        """Return the session a body tells of, None where it tells of none."""
        found = _parsed(SessionObject, body)
        return None if found is None else found.to_session()

    @staticmethod
    def transcript(body: bytes) -> Transcript | None:
        """Return the transcript a body tells of, None where it is none."""
        found = _parsed(TranscriptObject, body)
        return None if found is None else found.to_transcript()


def _parsed(model: type[T], body: bytes) -> T | None:
    try:
        return parse(model, body)
    except ValueError:
        return None


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


def _language(text: str | None) -> str:
    """Return a language as file names have it; what cannot be one was not sent."""
    name = (text or "").strip().lower().replace("_", "-")
    return name if LANGUAGE.fullmatch(name) else ""


def _status(text: str | None) -> Status:
    """Return the status; a word we do not know is tried like a ready recording, the download decides."""
    try:
        return Status((text or Status.READY).lower())
    except ValueError:
        return Status.READY
