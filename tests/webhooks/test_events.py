"""What a delivery's body means."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kallglotfs.catalog.intake import Event, RecordingChanged, SessionEnded, TranscriptReady
from kallglotfs.errors import BadResponse
from kallglotfs.model import Delivery, Recording, Status
from kallglotfs.vfs.naming import is_recording_id, is_session_id
from kallglotfs.webhooks.events import EventReader

READER = EventReader(is_recording_id, is_session_id)
MOMENT = "2026-03-01T10:00:00Z"
SECONDS = datetime(2026, 3, 1, 10, tzinfo=UTC).timestamp()


def read(kind: object, subject: object, **others: object) -> Event:
    """Read an event as the service sends it."""
    envelope = {"id": "evt_1", "type": kind, "api_version": "x", "created_at": MOMENT, "data": subject}
    return READER.read(json.dumps(envelope | others).encode())


def recording(subject: dict[str, Any], kind: str = "recording.ready") -> RecordingChanged:
    """Read an event about a recording."""
    change = read(kind, subject).change
    assert isinstance(change, RecordingChanged)
    return change


def test_a_ready_recording_is_read_with_all_that_is_told() -> None:
    """The object is the one that the API shows."""
    told = {
        "id": "rec_1",
        "object": "recording",
        "session_id": "sess_1",
        "channel": "agent",
        "status": "ready",
        "duration": 12.5,
        "format": "wav",
        "size": 4711,
        "sample_rate": 8000,
        "bit_depth": 16,
        "download_url": "https://storage/rec_1.wav?signature=x",
        "created_at": "2026-03-01T09:00:00Z",
        "expires_at": "2027-03-01T09:00:00Z",
    }
    assert read("recording.ready", told) == Event(
        "evt_1",
        RecordingChanged(
            Recording(
                "rec_1",
                session_id="sess_1",
                channel="agent",
                duration=12.5,
                status=Status.READY,
                format="wav",
                size=4711,
                sample_rate=8000,
                bit_depth=16,
                created_at=datetime(2026, 3, 1, 9, tzinfo=UTC),
                expires_at=datetime(2027, 3, 1, 9, tzinfo=UTC),
                delivery=Delivery.SIGNED,
            )
        ),
        SECONDS,
    )


def test_the_type_says_what_a_recording_is() -> None:
    """Whatever the status beside it, which may be older."""
    assert recording({"id": "rec_1", "status": "processing"}).recording.status is Status.READY
    assert recording({"id": "rec_1", "status": "ready"}, "recording.failed").recording.status is Status.FAILED


@pytest.mark.parametrize(
    ("url", "delivery"),
    [
        (None, Delivery.UNKNOWN),
        (7, Delivery.UNKNOWN),
        ("", Delivery.UNKNOWN),
        ("http://[", Delivery.UNKNOWN),
        ("/v1/recordings/rec_1/audio", Delivery.STREAMED),
        ("https://api/v1/recordings/rec_1/audio", Delivery.UNKNOWN),
        ("/elsewhere", Delivery.UNKNOWN),
        ("https://storage/rec_1.mp3?signature=x", Delivery.SIGNED),
    ],
)
def test_the_url_tells_the_generation(url: object, delivery: Delivery) -> None:
    """Where it is plain; the rest is left to the first request."""
    assert recording({"id": "rec_1", "download_url": url}).recording.delivery is delivery


def test_what_is_odd_was_not_told() -> None:
    """Nothing that the catalog could not keep, or that would make a bad file name, gets that far."""
    odd = {
        "id": "rec_1",
        "session_id": "../../etc",
        "channel": "\ud800",
        "duration": float("inf"),
        "format": "../x",
        "size": -1,
        "sample_rate": 10**30,
        "bit_depth": -5,
        "created_at": "soon",
        "expires_at": 10**30,
    }
    assert recording(odd) == RecordingChanged(Recording("rec_1"))
    assert recording({"id": "rec_1"}) == RecordingChanged(Recording("rec_1"), tells_format=False)


def test_an_ended_session_is_read() -> None:
    """Its end is the event's time where it is not told."""
    told = {"id": "sess_1", "created_at": "2026-03-01T09:00:00Z", "phone_number": "+49 30 1"}
    assert read("session.ended", told).change == SessionEnded("sess_1", SECONDS - 3600, SECONDS)
    told["ended_at"] = "2026-03-01T09:30:00Z"
    assert read("session.ended", told).change == SessionEnded("sess_1", SECONDS - 3600, SECONDS - 1800)


def test_a_ready_transcript_is_its_sessions() -> None:
    """Its own id is another's; where it has none, the object may be the session."""
    for told in ({"id": "tr_1", "session_id": "sess_1"}, {"id": "sess_1"}):
        assert read("transcript.ready", told).change == TranscriptReady("sess_1")


@pytest.mark.parametrize("kind", ["session.created", "recording.read", "x", "Recording.Ready"])
def test_another_type_changes_nothing(kind: str) -> None:
    """Whatever it is about."""
    assert read(kind, {"id": "rec_1"}) == Event("evt_1", None, SECONDS)
    assert read(kind, None) == Event("evt_1", None, SECONDS)


def test_without_a_time_an_event_has_none() -> None:
    """Its receiver knows when it came."""
    assert read("x", None, created_at=None).happened_at is None
    assert read("x", None, created_at="never").happened_at is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe{}",
        b"null",
        b"[]",
        b'"evt_1"',
        b"{}",
        b"[" * 100_000,
        b'{"id": "evt_1"}',
        b'{"type": "x"}',
        b'{"id": "", "type": "x"}',
        b'{"id": 7, "type": "x"}',
        b'{"id": "evt_\\ud800", "type": "x"}',
        b'{"id": "evt_\\n", "type": "x"}',
        b'{"id": "%s", "type": "x"}' % (b"e" * 256),
        b'{"id": "evt_1", "type": 7}',
        b'{"id": %s, "type": "x"}' % (b"9" * 5000),
    ],
)
def test_what_is_no_event_is_refused(body: bytes) -> None:
    """In a few words that repeat none of it."""
    with pytest.raises(BadResponse) as caught:
        READER.read(body)
    assert str(caught.value) in ("not JSON", "not an event")
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("kind", ["recording.ready", "recording.failed", "session.ended", "transcript.ready"])
@pytest.mark.parametrize(
    "subject", [None, [], "rec_1", {}, {"id": None}, {"id": "rec_"}, {"id": "rec_../x"}, {"id": "sess_1/x"}]
)
def test_an_event_about_nothing_is_refused(kind: str, subject: object) -> None:
    """An id outside the grammar could not be a file's name."""
    with pytest.raises(BadResponse, match=r"^not about a (recording|session)$"):
        read(kind, subject)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "session_id", "status", "format", "size", "created_at", "download_url"]),
            inner,
        )
    ),
    max_leaves=8,
)


@given(kind=st.sampled_from(["recording.ready", "session.ended", "transcript.ready"]), subject=JSON, at=JSON)
def test_any_json_is_read_or_refused(kind: str, subject: Any, at: Any) -> None:
    """Whatever is in it, there is no other exception."""
    with contextlib.suppress(BadResponse):
        read(kind, subject, created_at=at)
