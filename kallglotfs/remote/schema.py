"""The API's JSON, read liberally: a field that is odd is a field that was not sent.

Only what cannot be done without (an object, an id where one is asked for) makes an answer unusable. What was
passed over is named in the result (`odd`, `skipped`), for whoever counts.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    TypeAdapter,
    ValidationError,
    WrapValidator,
    model_validator,
)

from kallglotfs.model import DEFAULT_FORMAT, Delivery, Recording, Session, Status, Transcript, Turn

T = TypeVar("T")

#: Bytes a recording may have; a larger number was not meant.
LARGEST = 2**50
#: Seconds a call may last; Hz and bits it may be recorded at.
LONGEST, MOST_HERTZ, MOST_BITS = 366 * 86400.0, 10_000_000, 1024
#: The moments that a recording's times can be between; others are not meant.
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
#: Characters of ids and channels, which are shown, kept and made into names.
WORD = re.compile(r"[A-Za-z0-9_.:-]{1,100}")
#: Characters of other texts; longer ones are not meant.
MOST_TEXT = 200
#: Characters of a URL, four times what a signed one has.
MOST_URL = 16_384
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


def _no_truth(value: Any) -> Any:
    """Refuse what Python takes for 0 and 1."""
    if isinstance(value, bool):
        raise ValueError("no number")  # noqa: TRY004 - pydantic wants this one
    return value


def _word(value: str) -> str:
    if not WORD.fullmatch(value):
        raise ValueError("no word")
    return value


def _plausible(value: datetime) -> datetime:
    if not EARLIEST <= value <= LATEST:
        raise ValueError("not meant")
    return value


def _utc(value: Any) -> Any:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        value = datetime.fromtimestamp(value, UTC)
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    raise ValueError("no time")


def _utc_or_none(value: Any) -> Any:
    try:
        return _utc(value)
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


Lenient = WrapValidator(_or_none)
Text = Annotated[Annotated[str, Field(max_length=MOST_TEXT)] | None, Lenient]
Word = Annotated[Annotated[str, AfterValidator(_word)] | None, Lenient]
Url = Annotated[Annotated[str, Field(max_length=MOST_URL)] | None, Lenient]
_Number = BeforeValidator(_no_truth)
Size = Annotated[Annotated[int, _Number, Field(ge=0, le=LARGEST)] | None, Lenient]
Hertz = Annotated[Annotated[int, _Number, Field(ge=0, le=MOST_HERTZ)] | None, Lenient]
Bits = Annotated[Annotated[int, _Number, Field(ge=0, le=MOST_BITS)] | None, Lenient]
Seconds = Annotated[Annotated[float, _Number, Field(ge=0, le=LONGEST, allow_inf_nan=False)] | None, Lenient]
Time = Annotated[
    Annotated[datetime, AfterValidator(_plausible)] | None, BeforeValidator(_utc_or_none), Lenient
]
#: What was said: of any length.
Words = Annotated[str | None, BeforeValidator(_words), Lenient]
#: A turn's place; any whole number will do.
Ordinal = Annotated[Annotated[int, _Number] | None, Lenient]
#: A turn's time.
Moment = Annotated[Annotated[float, Field(allow_inf_nan=False)] | None, BeforeValidator(_moment), Lenient]


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


class SessionObject(BaseModel):
    """A session as `GET /v1/sessions/{id}` and the list send it."""

    model_config = ConfigDict(extra="ignore")

    id: Word = None
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

    sequence: Ordinal = None
    speaker: Words = None
    language: Text = None
    text: Words = None
    translation: Annotated[TranslationObject | None, Lenient] = None
    timestamp: Moment = None

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

    duration_seconds: Seconds = None


class TranscriptObject(BaseModel):
    """A transcript as `GET /v1/sessions/{id}/transcript` sends it."""

    model_config = ConfigDict(extra="ignore")

    session_id: Word = None
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
