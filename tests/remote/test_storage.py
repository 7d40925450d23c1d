"""Ranges from the storage: nothing wrong is let in, leases are renewed once, secrets stay where they are."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest

from kallglotfs.errors import (
    BadResponse,
    ContentChanged,
    KallglotError,
    NotFound,
    NotPermitted,
    ServiceFault,
    Unreachable,
)
from kallglotfs.model import Lease, Recording, Rendition, Secret, Validator
from scripted import Asked, ranged, reply

if TYPE_CHECKING:
    from conftest import Wired
    from kallglotfs.clock import Deadline
    from kallglotfs.remote.body import Body

RENDITION = Rendition("rec_1", "mp3")
CONTENT = bytes(range(256)) * 40
PINNED = Validator(len(CONTENT), '"v1"')


@pytest.fixture(autouse=True)
def _signing(wired: Wired) -> None:
    """Let the API hand out a new signed URL at every request."""
    wired.api_server.answer = lambda _: reply(
        302, Location=f"{wired.storage_server.origin}/x.mp3?signature=CANARY{len(wired.api_server.asked)}"
    )
    wired.storage_server.answer = lambda asked: ranged(asked, CONTENT, ETag='"v1"')


def received(body: Body, deadline: Deadline) -> bytes:
    """Return all bytes of an open range."""
    target = memoryview(bytearray(body.stop - body.start))
    done = 0
    while done < len(target):
        done += body.fill(target[done:], deadline)
    return bytes(target)


def fetch(wired: Wired, start: int = 0, stop: int = 1000, expected: Validator | None = None) -> bytes:
    """Return the bytes of one range."""
    body = wired.storage.open(RENDITION, start, stop, expected, wired.deadline(3))
    try:
        return received(body, wired.deadline(3))
    finally:
        body.close()


def test_a_range_is_exact_and_carries_no_credential(wired: Wired) -> None:
    """GET, identity, no key, no cookie, If-Match of the pinned ETag."""
    assert fetch(wired, 100, 300, PINNED) == CONTENT[100:300]
    (asked,) = wired.storage_server.asked
    assert asked.method == "GET"
    assert asked.headers["accept-encoding"] == "identity"
    assert asked.headers["range"] == "bytes=100-299"
    assert asked.headers["if-match"] == '"v1"'
    assert not {"authorization", "x-api-key", "cookie"} & asked.headers.keys()


def test_a_cookie_that_is_set_is_not_sent_back(wired: Wired) -> None:
    """Neither session keeps any."""
    wired.storage_server.answer = lambda asked: ranged(asked, CONTENT, Set_Cookie="a=b")
    fetch(wired)
    fetch(wired)
    assert "cookie" not in wired.storage_server.asked[1].headers


def test_a_netrc_is_not_consulted(wired: Wired, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests would send its password to the storage, and in place of the key to the API."""
    netrc = f"{tmp_path}/netrc"
    with open(netrc, "w") as file:  # noqa: PTH123
        file.write("machine 127.0.0.1 login me password CANARY\n")
    monkeypatch.setenv("NETRC", netrc)
    fetch(wired)
    assert "authorization" not in wired.storage_server.asked[0].headers
    assert wired.api_server.asked[0].headers["authorization"] == "Bearer sk_test_good"


def test_a_weak_etag_is_compared_but_not_sent(wired: Wired) -> None:
    """If-Match with a weak ETag never matches."""
    wired.storage_server.answer = lambda asked: ranged(asked, CONTENT, ETag='W/"v2"')
    with pytest.raises(ContentChanged):
        fetch(wired, expected=Validator(len(CONTENT), 'W/"v1"'))
    assert "if-match" not in wired.storage_server.asked[0].headers


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_refused_url_is_renewed_once(wired: Wired, status: int) -> None:
    """One API request, and the read succeeds."""
    fetch(wired)
    wired.storage_server.answer = lambda asked: (
        reply(status) if asked.query["signature"] == "CANARY1" else ranged(asked, CONTENT)
    )
    assert fetch(wired) == CONTENT[:1000]
    assert len(wired.api_server.asked) == 2


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, NotPermitted), (401, NotPermitted), (403, NotPermitted), (404, NotFound), (410, NotFound)],
)
def test_a_refused_fresh_url_ends_it(wired: Wired, status: int, kind: type[KallglotError]) -> None:
    """No loop, and a second reader does not renew again."""
    wired.storage_server.answer = lambda _: reply(status)
    for _ in range(2):
        with pytest.raises(kind):
            fetch(wired)
    assert len(wired.api_server.asked) <= 3
    assert len(wired.storage_server.asked) <= 3


def test_a_storage_that_refuses_fresh_urls_costs_no_further_api_requests(wired: Wired) -> None:
    """For a moment the refused URL is all that is tried, and it is taken up again when it is accepted."""
    wired.storage_server.answer = lambda _: reply(403)
    for _ in range(5):
        with pytest.raises(NotPermitted):
            fetch(wired)
    assert len(wired.api_server.asked) == 2
    assert len(wired.storage_server.asked) == 6
    wired.storage_server.answer = lambda asked: ranged(asked, CONTENT)
    assert fetch(wired) == CONTENT[:1000]
    wired.clock.sleep(11)
    assert fetch(wired) == CONTENT[:1000]
    assert len(wired.api_server.asked) == 2


def test_a_storage_that_keeps_refusing_is_asked_with_a_new_url_ever_more_rarely(wired: Wired) -> None:
    """A program that tries once a second for two minutes costs ten API requests, not 120."""
    wired.storage_server.answer = lambda _: reply(403)
    moments = []
    for second in range(120):
        before = len(wired.api_server.asked)
        with pytest.raises(NotPermitted):
            fetch(wired)
        moments += [second] * (len(wired.api_server.asked) - before)
        wired.clock.sleep(1)
    assert len(moments) <= 10
    assert moments[:2] == [0, 0]
    # One fresh URL each time, not two: the one before was fresh as well.
    assert moments[2] == 1
    assert len(set(moments[1:])) == len(moments) - 1


def test_urls_that_were_bad_for_a_moment_are_replaced_within_two_seconds(wired: Wired) -> None:
    """The API signed wrongly: the first hold is over before anybody notices."""
    good = wired.api_server.answer
    wired.api_server.answer = lambda _: reply(302, Location=f"{wired.storage_server.origin}/bad?signature=x")
    wired.storage_server.answer = lambda asked: (
        reply(403) if asked.path == "/bad" else ranged(asked, CONTENT, ETag='"v1"')
    )
    with pytest.raises(NotPermitted):
        fetch(wired)
    wired.api_server.answer = good
    with pytest.raises(NotPermitted):
        fetch(wired)
    wired.clock.sleep(2)
    assert fetch(wired) == CONTENT[:1000]


def test_a_length_that_is_not_sent_is_that_of_the_metadata(wired: Wired) -> None:
    """An answer in chunks, or closed at its end, tells none."""
    lease = Lease(Secret(f"{wired.storage_server.origin}/x"), float("inf"), size=len(CONTENT))
    wired.broker.offer(RENDITION, lease)
    wired.storage_server.answer = lambda _: reply(200, CONTENT, Content_Length="", Connection="close")
    assert fetch(wired, stop=len(CONTENT)) == CONTENT


def test_a_page_in_the_place_of_a_file_never_becomes_one(wired: Wired) -> None:
    """A portal's 200, whatever it calls itself, is not of the size that the metadata states."""
    lease = Lease(Secret(f"{wired.storage_server.origin}/x"), float("inf"), size=len(CONTENT))
    for kind in ("text/html", "application/octet-stream"):
        wired.broker.offer(RENDITION, lease)
        wired.storage_server.answer = lambda _, kind=kind: reply(200, b"Sign in", Content_Type=kind)
        with pytest.raises(BadResponse):
            fetch(wired)


def test_a_renewal_that_returns_the_refused_url_ends_it(wired: Wired) -> None:
    """It would be refused again."""
    wired.api_server.answer = lambda _: reply(302, Location=f"{wired.storage_server.origin}/x?signature=same")
    wired.storage_server.answer = lambda _: reply(403)
    with pytest.raises(NotPermitted):
        fetch(wired)
    assert len(wired.storage_server.asked) == 1
    assert len(wired.api_server.asked) == 2


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (reply(206, CONTENT[:1000]), BadResponse),
        (reply(206, CONTENT[:1000], Content_Range="bytes 1-1000/10240"), BadResponse),
        (reply(206, CONTENT[:1001], Content_Range="bytes 0-1000/10240"), BadResponse),
        (reply(206, CONTENT[:1000], Content_Range="bytes 0-999/*"), BadResponse),
        (reply(206, CONTENT[:999], Content_Range="bytes 0-999/10240"), BadResponse),
        (reply(206, CONTENT[:1000], Content_Type="multipart/byteranges; boundary=x"), BadResponse),
        (reply(206, gzip.compress(CONTENT), Content_Encoding="gzip"), BadResponse),
        (reply(204), BadResponse),
        (reply(206, CONTENT[:1000], Content_Range="bytes 0-999/10241"), ContentChanged),
        (reply(206, CONTENT[:1000], Content_Range="bytes 0-999/10240", ETag='"v2"'), ContentChanged),
        (reply(200, CONTENT + b"x"), BadResponse),
        (reply(200, CONTENT + b"x", ETag='"v1"'), BadResponse),
        (reply(200, CONTENT + b"x", ETag='"v2"'), ContentChanged),
        (reply(200, CONTENT, ETag='"v2"'), ContentChanged),
        (reply(200, CONTENT, Content_Type="text/html; charset=utf-8"), BadResponse),
        (reply(200, CONTENT, Content_Type="application/xml"), BadResponse),
        (
            reply(
                206,
                CONTENT[:1000],
                Content_Length="",
                Transfer_Encoding="gzip, chunked",
                Content_Range="bytes 0-999/10240",
            ),
            BadResponse,
        ),
        *(
            (
                reply(206, CONTENT[:1000], Content_Range="bytes 0-999/10240", Content_Encoding=name),
                BadResponse,
            )
            for name in ("br", "deflate", "x-gzip", "zstd", "identity, gzip")
        ),
        (reply(412), ContentChanged),
        (reply(416, Content_Range="bytes */5"), ContentChanged),
    ],
)
def test_an_answer_that_is_not_what_was_asked_is_refused(
    wired: Wired, answer: bytes, kind: type[KallglotError]
) -> None:
    """Before a byte of it is used."""
    wired.storage_server.answer = lambda _: answer
    with pytest.raises(kind):
        fetch(wired, 0, 1000, PINNED)


def test_an_answer_that_ends_early_is_a_fault_however_it_was_framed(wired: Wired) -> None:
    """With a length, without one, and chunked."""
    head = {"Content_Range": "bytes 0-999/10240"}
    for answer in (
        reply(206, CONTENT[:400], Content_Length="1000", Connection="close", **head),
        reply(206, CONTENT[:400], Content_Length="", Connection="close", **head),
        reply(
            206,
            b"190\r\n" + CONTENT[:400] + b"\r\n0\r\n\r\n",
            Content_Length="",
            Transfer_Encoding="chunked",
            **head,
        ),
    ):
        wired.storage_server.answer = lambda _, answer=answer: answer
        with pytest.raises(ServiceFault):
            fetch(wired)


def test_what_comes_beyond_the_range_is_not_taken(wired: Wired) -> None:
    """A sender without a length may send too much."""
    wired.storage_server.answer = lambda _: reply(
        206, CONTENT[:5000], Content_Length="", Connection="close", Content_Range="bytes 0-999/10240"
    )
    assert fetch(wired) == CONTENT[:1000]


def test_a_server_fault_is_tried_again(wired: Wired) -> None:
    """And costs no API request."""
    answers = [reply(503), reply(500), None, reply(429)]
    wired.storage_server.answer = lambda asked: answers.pop(0) if answers else ranged(asked, CONTENT)
    assert fetch(wired) == CONTENT[:1000]
    assert len(wired.api_server.asked) == 1


def test_an_empty_file_is_empty(wired: Wired) -> None:
    """416 with a total of nought."""
    wired.storage_server.answer = lambda _: reply(416, Content_Range="bytes */0")
    assert fetch(wired) == b""


def test_a_redirect_of_the_storage_is_followed_a_few_times(wired: Wired) -> None:
    """And a loop is not."""
    wired.storage_server.answer = lambda asked: (
        reply(307, Location="/there?signature=2") if asked.path == "/x.mp3" else ranged(asked, CONTENT)
    )
    assert fetch(wired) == CONTENT[:1000]
    wired.storage_server.answer = lambda _: reply(302, Location="/loop?signature=3")
    with pytest.raises(NotPermitted):
        fetch(wired)
    wired.storage_server.answer = lambda _: reply(302, Location="file:///etc/passwd")
    with pytest.raises(NotPermitted):
        fetch(wired)


def test_generation_2_sends_the_key_to_the_api_alone_and_asks_for_everything(wired: Wired) -> None:
    """One request from the position to the end."""
    wired.known["rec_1"] = Recording("rec_1")
    meta = json.dumps(
        {"id": "rec_1", "status": "ready", "download_url": "/v1/recordings/rec_1/audio"}
    ).encode()
    wired.api_server.answer = lambda asked: (
        reply(200, CONTENT) if asked.path.endswith("/audio") else reply(200, meta)
    )
    wired.service.look_up(RENDITION, wired.deadline())
    body = wired.storage.open(RENDITION, 0, 1000, None, wired.deadline())
    assert received(body, wired.deadline()) == CONTENT
    assert body.metered
    assert not body.ranged
    audio = wired.api_server.asked[-1]
    assert audio.headers["range"] == "bytes=0-"
    assert audio.headers["authorization"] == "Bearer sk_test_good"
    assert wired.storage_server.asked == []


def test_no_error_text_holds_a_signature(wired: Wired) -> None:
    """Not even by way of its cause."""
    lease = wired.broker.current(RENDITION, wired.deadline())
    wired.broker.offer(
        RENDITION, type(lease)(type(lease.url)("http://127.0.0.1:1/x?signature=CANARY"), lease.ends)
    )
    with pytest.raises(Unreachable) as caught:
        wired.storage.open(RENDITION, 0, 10, None, wired.deadline(0.5))
    error: BaseException | None = caught.value
    assert error.__suppress_context__
    assert "CANARY" not in f"{error!r} {error} {lease!r}"


def test_head_is_never_sent(wired: Wired) -> None:
    """A URL signed for GET refuses it."""
    fetch(wired)
    everything: list[Asked] = wired.api_server.asked + wired.storage_server.asked
    assert {each.method for each in everything} == {"GET"}
