"""A delivery's body, read liberally: only what cannot be done without makes it unusable."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from kallglotfs.catalog.intake import Change, Event, RecordingChanged, SessionEnded, TranscriptReady
from kallglotfs.errors import BadResponse
from kallglotfs.model import Delivery, Status
from kallglotfs.remote.fields import Text, Time  # noqa: TC001 - pydantic looks them up
from kallglotfs.remote.schema import RecordingObject, parse

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

#: Characters of an event's id or type; a longer one was not meant.
LONGEST = 255

_STATUSES = {"recording.ready": Status.READY, "recording.failed": Status.FAILED}


class _Envelope(BaseModel):
    """What each event comes in."""

    model_config = ConfigDict(extra="ignore")

    id: Text = None
    type: Text = None
    created_at: Time = None
    data: Any = None


class _Recording(RecordingObject):
    recording_id: Text = None


class _Session(BaseModel):
    """A session, or an object of one."""

    model_config = ConfigDict(extra="ignore")

    id: Text = None
    session_id: Text = None
    created_at: Time = None
    ended_at: Time = None


class EventReader:
    """Reads events.

    Args:
        is_recording: tells the form of a recording id.
        is_session: tells the form of a session id.
    """

    def __init__(self, is_recording: Callable[[str], bool], is_session: Callable[[str], bool]) -> None:
        self._is_recording = is_recording
        self._is_session = is_session

    def read(self, body: bytes) -> Event:
        """Return the event that a body holds; one of a type we have no use for changes nothing.

        Raises:
            BadResponse: it holds none: no JSON, no id, or not about anything. No message repeats any of it.
        """
        try:
            envelope = parse(_Envelope, body)
        except ValueError:
            raise BadResponse("not JSON") from None
        if envelope is None or not _is_name(envelope.id) or not _is_name(envelope.type):
            raise BadResponse("not an event")
        assert envelope.id is not None
        return Event(envelope.id, self._change(envelope), _seconds(envelope.created_at))

    def _change(self, envelope: _Envelope) -> Change | None:
        if envelope.type in _STATUSES:
            return self._recording(envelope.data, _STATUSES[envelope.type])
        if envelope.type == "session.ended":
            found = _object(_Session, envelope.data)
            ended_at = found.ended_at or envelope.created_at
            return SessionEnded(
                self._session_id(found.id, found.session_id), _seconds(found.created_at), _seconds(ended_at)
            )
        if envelope.type == "transcript.ready":
            found = _object(_Session, envelope.data)
            # A transcript's own id is not its session's.
            return TranscriptReady(self._session_id(found.session_id, found.id))
        return None

    def _recording(self, value: Any, status: Status) -> RecordingChanged:
        found = _object(_Recording, value)
        for recording_id in (found.id, found.recording_id):
            if recording_id is not None and self._is_recording(recording_id):
                break
        else:
            raise BadResponse("not about a recording")
        told = found.to_recording(recording_id, _delivery(found.download_url))
        recording = replace(
            told,
            status=status,
            # What the catalog cannot keep was not told; the sender would only send it again.
            session_id=told.session_id if told.session_id and self._is_session(told.session_id) else None,
        )
        return RecordingChanged(recording, tells_format=found.format is not None)

    def _session_id(self, *candidates: str | None) -> str:
        for text in candidates:
            if text is not None and self._is_session(text):
                return text
        raise BadResponse("not about a session")


def _object(model: type[Any], value: Any) -> Any:
    """Return an object of the given kind; what is none says nothing."""
    return model.model_validate(value if isinstance(value, dict) else {})


def _is_name(text: str | None) -> bool:
    return text is not None and 0 < len(text) <= LONGEST and text.isascii() and text.isprintable()


def _delivery(download_url: str | None) -> Delivery:
    """Return how a recording's bytes are handed out: generation 1 signs a URL, 2 names its own path."""
    if download_url is None:
        return Delivery.UNKNOWN
    try:
        parts = urlsplit(download_url)
    except ValueError:
        return Delivery.UNKNOWN
    own = parts.path.endswith("/audio")
    if parts.netloc and parts.scheme and not own:
        return Delivery.SIGNED
    return Delivery.STREAMED if own and not parts.netloc else Delivery.UNKNOWN


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
