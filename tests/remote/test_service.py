"""Finding recordings and leases: both generations and cut-down installations, requests counted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from kallglotfs.errors import BadResponse, KeyRefused, NotFound, NotPermitted, NotReady, RateLimited
from kallglotfs.model import Delivery, Recording, Rendition, Status
from scripted import Asked, reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Wired

MP3, WAV = Rendition("rec_1", "mp3"), Rendition("rec_1", "wav")


def error(status: int, code: str = "x", **headers: str) -> bytes:
    """Return a refusal in the service's envelope."""
    body = {"error": {"type": "t", "code": code, "message": "m", "request_id": "req_1"}}
    return reply(status, json.dumps(body).encode(), **headers)


def metadata(**fields: object) -> bytes:
    """Return a recording object."""
    return reply(
        200, json.dumps({"id": "rec_1", "status": "ready", "format": "mp3", "size": 5, **fields}).encode()
    )


def routes(**answers: bytes) -> Callable[[Asked], bytes]:
    """Answer by the last part of the path; `metadata` is the recording itself."""

    def answer(asked: Asked) -> bytes:
        parts = asked.path.split("/")
        return answers.get(parts[4] if len(parts) > 4 else "metadata", error(404))

    return answer


def test_metadata_brings_the_native_lease_along(wired: Wired) -> None:
    """One request for both."""
    url = f"{wired.storage_server.origin}/x.mp3?signature=S&expires=99999999999"
    wired.api_server.answer = routes(metadata=metadata(download_url=url))
    found = wired.service.look_up(MP3, wired.deadline())
    assert (found.size, found.delivery) == (5, Delivery.SIGNED)
    assert wired.broker.current(MP3, wired.deadline()).url.reveal() == url
    assert wired.api_server.paths() == ["/v1/recordings/rec_1"]


def test_a_302_that_declares_the_files_length_is_not_waited_for(wired: Wired) -> None:
    """The trap of the reference: a length without a body."""
    wired.api_server.answer = routes(
        download=reply(302, Location="http://s/x?signature=S", Content_Length="9999999")
    )
    lease = wired.broker.current(MP3, wired.deadline(2))
    assert lease.url.reveal() == "http://s/x?signature=S"
    assert not lease.metered


def test_where_only_download_answers_one_request_is_enough_after_the_first(wired: Wired) -> None:
    """The missing route is paid for once per run."""
    wired.api_server.answer = routes(download=reply(302, Location="http://s/x?signature=S"))
    wired.service.look_up(MP3, wired.deadline())
    found = wired.service.look_up(Rendition("rec_2", "wav"), wired.deadline())
    assert found == Recording("rec_2", delivery=Delivery.SIGNED)
    assert wired.api_server.paths() == [
        "/v1/recordings/rec_1",
        "/v1/recordings/rec_1/download?format=mp3",
        "/v1/recordings/rec_2/download?format=wav",
    ]
    wired.broker.current(Rendition("rec_2", "wav"), wired.deadline())
    assert len(wired.api_server.asked) == 3


def test_a_scope_that_allows_only_download_is_the_same(wired: Wired) -> None:
    """403 on the metadata route says nothing of the recording."""
    wired.api_server.answer = routes(
        metadata=error(403, "insufficient_permissions"), download=reply(302, Location="http://s/x")
    )
    assert wired.service.look_up(MP3, wired.deadline()).id == "rec_1"


def test_once_metadata_has_answered_its_404_is_final(wired: Wired) -> None:
    """An unknown id costs one request."""
    wired.api_server.answer = lambda asked: metadata() if asked.path.endswith("rec_1") else error(404)
    wired.service.look_up(MP3, wired.deadline())
    with pytest.raises(NotFound):
        wired.service.look_up(Rendition("rec_2", "mp3"), wired.deadline())
    assert wired.api_server.paths() == ["/v1/recordings/rec_1", "/v1/recordings/rec_2"]


def test_generation_2_is_told_by_its_relative_url(wired: Wired) -> None:
    """The lease is the API's own route and costs nothing to get."""
    wired.api_server.answer = routes(
        metadata=metadata(download_url="/v1/recordings/rec_1/audio", format="wav")
    )
    found = wired.service.look_up(MP3, wired.deadline())
    assert found.delivery is Delivery.STREAMED
    assert found.native() == MP3
    lease = wired.broker.current(MP3, wired.deadline())
    assert lease.metered
    assert lease.url.reveal() == f"{wired.api_server.origin}/v1/recordings/rec_1/audio"
    assert len(wired.api_server.asked) == 1


def test_generation_2_converts_nothing(wired: Wired) -> None:
    """Another format is not there, and asking for it costs nothing."""
    wired.known["rec_1"] = Recording("rec_1", delivery=Delivery.STREAMED)
    with pytest.raises(NotFound):
        wired.service.lease(WAV, wired.deadline())
    assert wired.api_server.asked == []


def test_a_missing_download_route_is_learned_from_metadata(wired: Wired) -> None:
    """Recordings known from a list do not say how they are delivered; two requests find out, once."""
    wired.known |= {"rec_1": Recording("rec_1"), "rec_2": Recording("rec_2")}
    wired.api_server.answer = routes(metadata=metadata(download_url="/v1/recordings/rec_1/audio"))
    assert wired.service.lease(MP3, wired.deadline()).metered
    assert wired.service.lease(Rendition("rec_2", "mp3"), wired.deadline()).metered
    assert wired.api_server.paths() == ["/v1/recordings/rec_1/download?format=mp3", "/v1/recordings/rec_1"]


@pytest.mark.parametrize(
    "location", ["//evil.example/v1/recordings/x/audio", "https://evil.example/v1/recordings/x"]
)
def test_a_foreign_url_never_gets_the_key(wired: Wired, location: str) -> None:
    """It is a storage URL at the most."""
    wired.api_server.answer = routes(metadata=metadata(download_url=location))
    assert wired.service.look_up(MP3, wired.deadline()).delivery is Delivery.SIGNED
    assert not wired.broker.current(MP3, wired.deadline()).metered


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (402, NotPermitted),
        (403, NotPermitted),
        (404, NotFound),
        (409, NotReady),
        (410, NotFound),
        (422, NotFound),
    ],
)
def test_refusals_mean_what_the_contract_says(wired: Wired, status: int, kind: type[Exception]) -> None:
    """Each status of the error table."""
    wired.api_server.answer = lambda _: error(status)
    with pytest.raises(kind):
        wired.service.lease(MP3, wired.deadline())


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"<html>", b'{"id": 5', b"null", b"\xff\xfe", b"{}", b"[" * 200_000]
)
def test_metadata_that_is_garbled_is_an_error_and_teaches_nothing(wired: Wired, body: bytes) -> None:
    """It is no 404: the recording and the route may be there, and a moment later they are."""
    wired.api_server.answer = routes(metadata=reply(200, body), download=reply(302, Location="http://s/x"))
    with pytest.raises(BadResponse):
        wired.service.look_up(MP3, wired.deadline(1))
    wired.api_server.answer = routes(metadata=metadata(format="wav"))
    assert wired.service.look_up(MP3, wired.deadline()).format == "wav"


def test_a_body_that_is_garbled_once_is_asked_for_again(wired: Wired) -> None:
    """Like any other hiccup."""
    answers = [reply(200, b'{"id": "rec_1", "sta'), metadata()]
    wired.api_server.answer = lambda _: answers.pop(0)
    assert wired.service.look_up(MP3, wired.deadline()).size == 5


@pytest.mark.parametrize(
    ("sent", "understood"),
    [
        ("WAV", "wav"),
        ("audio/mpeg", "mp3"),
        (" ogg ", "ogg"),
        ("../x", "mp3"),
        ("mp3.gz", "mp3"),
        ("a\nb", "mp3"),
        ("x" * 300, "mp3"),
        ("flac", "flac"),
        ("s\ud800x", "mp3"),
    ],
)
def test_a_format_is_always_one_that_a_name_can_end_in(wired: Wired, sent: str, understood: str) -> None:
    """Whatever the service says; one odd row must not spoil a listing."""
    wired.api_server.answer = routes(metadata=metadata(format=sent, session_id="s\ud800x"))
    assert wired.service.look_up(MP3, wired.deadline()).format == understood


@pytest.mark.parametrize(("size", "understood"), [(2**63, None), (-1, None), (10**30, None), (0, 0), (7, 7)])
def test_a_size_that_cannot_be_is_one_that_was_not_sent(wired: Wired, size: int, understood: int) -> None:
    """The storage tells it then."""
    wired.api_server.answer = routes(metadata=metadata(size=size, expires_at=0))
    found = wired.service.look_up(MP3, wired.deadline())
    assert (found.size, found.expires_at) == (understood, None)


def test_a_native_format_that_is_never_converted_to_is_renewed_by_its_metadata(wired: Wired) -> None:
    """`/download` would refuse it; one request either way."""
    flac = Rendition("rec_1", "flac")
    wired.api_server.answer = routes(metadata=metadata(format="flac", download_url="http://s/x?signature=S"))
    assert wired.service.lease(flac, wired.deadline()).url.reveal() == "http://s/x?signature=S"
    assert wired.api_server.paths() == ["/v1/recordings/rec_1"]


def test_a_missing_download_route_is_learned_once(wired: Wired) -> None:
    """Where the metadata has a signed URL, renewals cost one request from the second on."""
    wired.api_server.answer = routes(metadata=metadata(download_url="http://s/x?signature=S"))
    for _ in range(3):
        wired.service.lease(MP3, wired.deadline())
    assert wired.api_server.paths() == ["/v1/recordings/rec_1/download?format=mp3"] + 3 * [
        "/v1/recordings/rec_1"
    ]


def test_a_location_may_be_relative(wired: Wired) -> None:
    """RFC 9110, 10.2.2."""
    wired.api_server.answer = routes(download=reply(302, Location="/files/x?signature=S"))
    lease = wired.broker.current(MP3, wired.deadline())
    assert lease.url.reveal() == f"{wired.api_server.origin}/files/x?signature=S"
    assert not lease.metered


def test_an_answer_of_409_to_the_metadata_is_a_recording_in_processing(wired: Wired) -> None:
    """It can be looked at, and becomes a file by itself."""
    wired.api_server.answer = lambda _: error(409)
    assert wired.service.look_up(MP3, wired.deadline()).status is Status.PROCESSING


def test_items_of_a_list_that_are_none_are_passed_over(wired: Wired) -> None:
    """And a list that runs in a circle ends."""
    page = {"data": [None, {"id": "rec_1"}, 7, {"id": None}], "has_more": True}
    wired.api_server.answer = lambda _: reply(200, json.dumps(page).encode())
    found = list(wired.service.session_recordings("sess_1", wired.deadline()))
    assert [each.id for each in found] == ["rec_1"]
    assert len(wired.api_server.asked) == 2


def test_odd_fields_are_fields_that_were_not_sent(wired: Wired) -> None:
    """Be liberal, never crash."""
    wired.api_server.answer = routes(
        metadata=metadata(
            size="many",
            duration=None,
            created_at="yesterday",
            expires_at=1e30,
            status="Ready",
            channel=7,
            format=None,
        )
    )
    found = wired.service.look_up(MP3, wired.deadline())
    assert (found.size, found.created_at, found.expires_at, found.status) == (None, None, None, Status.READY)


def test_a_5xx_is_tried_again_and_a_429_is_waited_for(wired: Wired) -> None:
    """Neither reaches the user."""
    answers = [error(503), None, error(429, Retry_After="1"), metadata()]
    wired.api_server.answer = lambda _: answers.pop(0)
    assert wired.service.look_up(MP3, wired.deadline()).id == "rec_1"
    assert answers == []


def test_a_429_beyond_the_throttle_timeout_ends_at_once(wired: Wired) -> None:
    """Not one more request is made."""
    wired.api_server.answer = lambda _: error(429, Retry_After="1000")
    with pytest.raises(RateLimited):
        wired.service.look_up(MP3, wired.deadline())
    assert len(wired.api_server.asked) == 1


def test_a_rotated_key_is_read_again_and_used(wired: Wired) -> None:
    """No remount, one extra request."""

    def answer(asked: Asked) -> bytes:
        if asked.headers["authorization"] == "Bearer sk_test_new":
            return metadata()
        wired.key = "sk_test_new"
        return error(401, "revoked_api_key")

    wired.api_server.answer = answer
    assert wired.service.look_up(MP3, wired.deadline()).id == "rec_1"
    assert len(wired.api_server.asked) == 2


def test_a_refused_key_costs_one_request_and_then_none(wired: Wired) -> None:
    """Until it changes, or half a minute has passed."""
    wired.api_server.answer = lambda _: error(401)
    for _ in range(3):
        with pytest.raises(KeyRefused):
            wired.service.look_up(MP3, wired.deadline())
    assert len(wired.api_server.asked) == 1


def test_a_sessions_recordings_are_paged_through(wired: Wired) -> None:
    """By the cursor, until the service says there is no more."""

    def answer(asked: Asked) -> bytes:
        after = asked.query.get("starting_after")
        ids = {None: ["rec_1", "rec_2"], "rec_2": ["rec_3"]}[after]
        items = [{"id": each, "status": "ready", "created_at": "2026-03-01T00:00:00Z"} for each in ids]
        return reply(200, json.dumps({"object": "list", "data": items, "has_more": after is None}).encode())

    wired.api_server.answer = answer
    found = list(wired.service.session_recordings("sess_1", wired.deadline()))
    assert [each.id for each in found] == ["rec_1", "rec_2", "rec_3"]


def test_a_list_that_never_ends_is_left(wired: Wired) -> None:
    """A page that does not move on is the last."""
    item = {"id": "rec_1", "status": "ready"}
    wired.api_server.answer = lambda _: reply(200, json.dumps({"data": [item], "has_more": True}).encode())
    assert len(list(wired.service.session_recordings("sess_1", wired.deadline()))) == 1
    assert len(wired.api_server.asked) == 2


def test_an_endless_answer_is_cut_off(wired: Wired) -> None:
    """Memory stays bounded."""
    wired.api_server.answer = lambda _: reply(200, b"[" * 5_000_000)
    with pytest.raises(BadResponse):
        wired.service.look_up(MP3, wired.deadline())
