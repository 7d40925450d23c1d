"""The API's JSON of sessions and transcripts, read liberally as that of recordings is (`schema.py`)."""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict

from kallglotfs.model import Session, Transcript, Turn
from kallglotfs.remote.fields import Lenient, Moment, Ordinal, Seconds, Text, Time, Word, Words
from kallglotfs.remote.schema import parse

T = TypeVar("T")

#: A language as BCP 47 has it, in small letters; it stands in file names.
LANGUAGE = re.compile(r"(?=.{2,35}\Z)[a-z]{2,3}(-[a-z0-9]{1,8})*")


def _objects(value: Any) -> list[Any]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


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


def _language(text: str | None) -> str:
    """Return a language as file names have it; what cannot be one was not sent."""
    name = (text or "").strip().lower().replace("_", "-")
    return name if LANGUAGE.fullmatch(name) else ""
