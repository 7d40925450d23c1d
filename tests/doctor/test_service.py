"""What the service's answers mean, one by one."""

from __future__ import annotations

import pytest

from kallglotfs.doctor import service
from kallglotfs.doctor.contact import Heard
from kallglotfs.doctor.finding import Level
from kallglotfs.errors import BadResponse, KallglotError, NotFound, TimedOut
from kallglotfs.model import Delivery, Recording
from kallglotfs.remote.witness import Answer

JSON = "application/json"


def heard(
    status: int,
    error: KallglotError | None = None,
    *,
    kind: str = JSON,
    ahead: float | None = 0.2,
    left: str = "",
) -> Heard:
    """Return what was heard in one answer."""
    answer = Answer(status, kind, ahead, "60" if left else "", left, None)
    return Heard((answer,), error, None)


@pytest.mark.parametrize(
    ("said", "level", "words"),
    [
        (heard(404), Level.OK, "accepted"),
        (heard(404, NotFound("gone")), Level.OK, "accepted"),
        (heard(404, kind="text/html"), Level.FAILURE, "not the Kallglot API"),
        (heard(200, kind="text/html"), Level.FAILURE, "not the Kallglot API"),
        (heard(200, BadResponse("no JSON")), Level.FAILURE, "not the Kallglot API"),
        (heard(200, TimedOut("slow")), Level.FAILURE, "not answered in time"),
        (heard(502, kind="text/html"), Level.FAILURE, "in trouble itself"),
        (Heard((), TimedOut("no answer"), None), Level.FAILURE, "not answered"),
        (Heard((), BadResponse("x: TLS failed"), None), Level.FAILURE, "TLS failed"),
        (Heard((), BadResponse("x: the proxy cannot be used"), None), Level.FAILURE, "the proxy cannot"),
    ],
)
def test_the_key(said: Heard, level: Level, words: str) -> None:
    """An answer that is not the API's is not taken for an accepted key."""
    found = service.key(said, 90)
    assert (found.level, words in found.found) == (level, True), found


def test_the_rate_limit() -> None:
    """One that is used up is a warning."""
    assert service.limit(heard(404)).level is Level.OK
    assert "59 of 60" in service.limit(heard(404, left="59")).found
    assert service.limit(heard(404, left="0")).level is Level.WARNING


@pytest.mark.parametrize(
    ("ahead", "webhooks", "level", "words"),
    [
        (None, False, Level.SKIPPED, "did not tell"),
        (29.0, True, Level.OK, "within 29 s"),
        (-90.0, True, Level.WARNING, "90 seconds ahead of"),
        (600.0, False, Level.WARNING, "10 minutes behind"),
        (600.0, True, Level.FAILURE, "every webhook is refused"),
        (-3 * 86400.0, False, Level.WARNING, "3 days ahead of"),
    ],
)
def test_the_clock(ahead: float | None, webhooks: bool, level: Level, words: str) -> None:  # noqa: FBT001
    """What is off by five minutes costs every webhook, and nothing of the reading."""
    found = service.clock(heard(404, ahead=ahead), webhooks=webhooks)
    assert (found.level, words in found.found) == (level, True), found


def test_the_generation() -> None:
    """Told by a recording alone."""
    assert service.generation(heard(404)).level is Level.SKIPPED
    for delivery, words in (
        (Delivery.SIGNED, "1: "),
        (Delivery.STREAMED, "2: "),
        (Delivery.UNKNOWN, "not tell"),
    ):
        found = service.generation(Heard((), None, Recording("rec_x", delivery=delivery)))
        assert words in found.found


def test_a_storage_whose_recording_is_gone_says_nothing_of_the_storage() -> None:
    """Another one has to be named."""

    def gone(_: Recording) -> bool:
        raise NotFound("rec_x: the storage answers 404 to a fresh URL")

    found = service.storage(Recording("rec_x"), gone)
    assert found.level is Level.SKIPPED
    assert "--recording" in found.found
