"""Where answers lead: the storage a few hops on, the key nowhere; nobody is connected to who must not be."""

from __future__ import annotations

import contextlib
import json
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from kallglotfs.clock import Clock, Deadline
from kallglotfs.errors import BadResponse, KallglotError, NotPermitted
from kallglotfs.model import Delivery, Lease, Recording, Rendition, Secret
from kallglotfs.remote.gates import StorageGate
from kallglotfs.remote.reach import Reach
from kallglotfs.remote.redirects import MOST_HOPS, follow, next_hop
from kallglotfs.remote.transport import Transport
from scripted import Scripted, ranged, reply, scripted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Wired

RENDITION = Rendition("rec_1", "mp3")
CONTENT = bytes(range(256)) * 40
CREDENTIALS = {"authorization", "x-api-key", "cookie", "referer", "proxy-authorization"}


def opened(wired: Wired) -> None:
    """Open a range and close it again."""
    wired.storage.open(RENDITION, 0, 1000, None, wired.deadline(3)).close()


@pytest.fixture
def other() -> Iterator[Scripted]:
    """A third origin."""
    with scripted() as server:
        server.answer = lambda asked: ranged(asked, CONTENT)
        yield server


def lead_to(wired: Wired, url: str) -> None:
    """Let the storage redirect to `url`."""
    wired.api_server.answer = lambda _: reply(302, Location=f"{wired.storage_server.origin}/x?signature=1")
    wired.storage_server.answer = lambda _: reply(307, Location=url)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_three_hops_are_followed_without_a_credential(status: int, wired: Wired, other: Scripted) -> None:
    """Each with the same headers, and none saying where we come from."""
    lead_to(wired, f"{other.origin}/0")
    other.answer = lambda asked: (
        reply(status, Location=f"/{int(asked.path[1:]) + 1}")
        if int(asked.path[1:]) < MOST_HOPS - 1
        else ranged(asked, CONTENT)
    )
    opened(wired)
    assert other.paths() == ["/0", "/1", "/2"]
    hops = wired.storage_server.asked + other.asked
    assert not any(CREDENTIALS & asked.headers.keys() for asked in hops)
    assert {asked.headers["range"] for asked in hops} == {"bytes=0-999"}


def test_a_fourth_hop_and_a_loop_are_not(wired: Wired, other: Scripted) -> None:
    """One request to the storage, three hops, and no second round."""
    lead_to(wired, f"{other.origin}/loop?signature=CANARY")
    other.answer = lambda _: reply(302, Location="/loop?signature=CANARY")
    with pytest.raises(NotPermitted) as caught:
        opened(wired)
    assert "CANARY" not in str(caught.value)
    assert (len(wired.storage_server.asked), len(other.asked)) == (1, MOST_HOPS)


@pytest.mark.parametrize("status", [300, 304, 305, 306])
def test_other_answers_of_the_kind_lead_nowhere(status: int, wired: Wired, other: Scripted) -> None:
    """A choice, a proxy to use: not followed."""
    lead_to(wired, other.origin)
    wired.storage_server.answer = lambda _: reply(status, Location=other.origin)
    with pytest.raises(BadResponse):
        opened(wired)
    assert other.connections == 0


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "data:audio/mpeg;base64,AAAA",
        "javascript:alert(1)",
        "http://user:CANARY@{other}/x",
        "http://user@{other}/x",
        "//user@{other}/x",
        "http://{other}\\@127.0.0.1/x",
        "http://169.254.169.254/latest/meta-data?CANARY",
        "http://[fd00:ec2::254]/latest/meta-data",
        "http://169.254.1.1/x",
        "http://[fe80::1%25lo]/x",
        "http://0xa9fea9fe/x",
        "http://198.18.0.1/x",
        "http://224.0.0.1/x",
        "http://[64:ff9b::169.254.169.254]/x",
        "http://[2002:7f00:1::1]/x",
        "http://[::127.0.0.1]/x",
        "http://[::1/x",
    ],
)
def test_a_hop_to_where_we_do_not_go_is_refused_even_of_a_private_api(
    location: str, wired: Wired, other: Scripted
) -> None:
    """By the signed URL itself as by a hop of the storage; one try, no connection."""
    url = location.replace("{other}", other.origin.removeprefix("http://"))
    lead_to(wired, url)
    with pytest.raises(NotPermitted) as caught:
        opened(wired)
    assert "CANARY" not in str(caught.value)
    assert len(wired.storage_server.asked) == 1
    wired.clock.sleep(2)
    lease = Lease(Secret(url), float("inf"))
    wired.broker.offer(RENDITION, lease)
    with pytest.raises(NotPermitted):
        opened(wired)
    assert other.connections == 0


def test_a_public_api_cannot_send_us_here(other: Scripted) -> None:
    """Known from its URL, and assumed of a name that has not been connected to."""
    for api in ("http://93.184.216.34/v1", "http://api.example/v1"):
        transport = Transport("test", StorageGate(Reach(api)), proxy_credentials=False)
        for host in ("127.0.0.1", "127.1", "2130706433", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]"):
            url = Secret(other.origin.replace("127.0.0.1", host) + "/x?signature=CANARY")
            with pytest.raises(NotPermitted) as caught:
                follow(transport, url, {}, Deadline(Clock(), 3))
            assert "CANARY" not in str(caught.value)
    assert other.connections == 0


def test_what_is_kept_is_dropped_when_less_is_allowed(other: Scripted) -> None:
    """A connection made while it was allowed is not used once it is not."""
    reach = Reach("http://api.example/v1")
    reach.reached(ip_address("10.0.0.1"))
    transport = Transport("test", StorageGate(reach), proxy_credentials=False)
    headers = {"Range": "bytes=0-9"}
    url = Secret(f"{other.origin}/x")
    for _ in range(2):
        assert transport.get(url, headers, Deadline(Clock(), 3)).content == CONTENT[:10]
    assert (other.connections, len(other.asked)) == (1, 2)
    reach.reached(ip_address("93.184.216.34"))
    with pytest.raises(NotPermitted):
        transport.get(url, headers, Deadline(Clock(), 3))
    assert (other.connections, len(other.asked)) == (1, 2)


def test_no_hop_goes_from_https_to_http() -> None:
    """Nor to what is no URL."""
    here = Secret("https://storage.example/a/b?signature=CANARY")
    for location in ("http://storage.example/x", "http://storage.example:443/x", "HTTP://x"):
        with pytest.raises(NotPermitted, match="plain http"):
            next_hop(here, location)
    with pytest.raises(NotPermitted, match="no URL"):
        next_hop(here, "https://[::1")
    assert next_hop(here, "//other.example/x").reveal() == "https://other.example/x"
    assert next_hop(here, "c?d").reveal() == "https://storage.example/a/c?d"


@pytest.mark.parametrize("route", ["", "/audio"])
def test_the_api_cannot_send_the_key_away(route: str, wired: Wired, other: Scripted) -> None:
    """A redirect of metadata or of streamed audio is an error, not a place to go."""
    wired.api_server.answer = lambda _: reply(302, Location=f"{other.origin}/v1/recordings/rec_1{route}")
    if route:
        wired.known["rec_1"] = Recording("rec_1", size=len(CONTENT), delivery=Delivery.STREAMED)
        with pytest.raises(BadResponse):
            opened(wired)
    else:
        with pytest.raises(BadResponse):
            wired.api.metadata("rec_1", wired.deadline())
    assert len(wired.api_server.asked) == 1
    assert other.connections == 0


@pytest.mark.parametrize(
    "place",
    [
        "{other}/v1/recordings/rec_1/audio",
        "//{host}/v1/recordings/rec_1/audio",
        "http://x@{host}/v1/recordings/rec_1/audio",
        "http://{api}@{host}/v1/recordings/rec_1/audio",
        "http://{host}\\@{api}/v1/recordings/rec_1/audio",
        "http://{api}\\@{host}/v1/recordings/rec_1/audio",
        "http://{host}#@{api}/v1/recordings/rec_1/audio",
        "http://{host}?@{api}/v1/recordings/rec_1/audio",
        "http://\t{host}/v1/recordings/rec_1/audio",
        "http://{api}.{host}/v1/recordings/rec_1/audio",
    ],
)
def test_audio_of_another_origin_gets_no_key(place: str, wired: Wired, other: Scripted) -> None:
    """However the place is written that `download_url` names."""
    host = other.origin.removeprefix("http://")
    api = wired.api_server.origin.removeprefix("http://")
    url = place.format(other=other.origin, host=host, api=api)
    facts = {"id": "rec_1", "status": "ready", "format": "mp3", "download_url": url}
    wired.api_server.answer = lambda asked: (
        reply(200, json.dumps(facts).encode()) if asked.path.endswith("/rec_1") else reply(404)
    )
    with contextlib.suppress(KallglotError):
        wired.service.look_up(RENDITION, wired.deadline())
        opened(wired)
    assert wired.api_server.asked
    assert not any(CREDENTIALS & asked.headers.keys() for asked in other.asked)
    assert all(asked.headers["host"] == api for asked in wired.api_server.asked)


def test_streamed_audio_is_asked_of_the_api_however_it_is_named(wired: Wired) -> None:
    """Relative or absolute, the key goes to the configured origin."""
    for url in ("/v1/recordings/rec_1/audio", f"{wired.api_server.origin}/other/recordings/rec_1/audio"):
        facts = {"id": "rec_1", "status": "ready", "download_url": url, "size": len(CONTENT)}
        wired.api_server.answer = lambda asked, facts=facts: (
            reply(200, CONTENT) if asked.path.endswith("/audio") else reply(200, json.dumps(facts).encode())
        )
        found = wired.api.metadata("rec_1", wired.deadline())
        assert found.lease is not None
        assert found.lease.metered
        wired.broker.offer(RENDITION, found.lease)
        opened(wired)
        assert wired.api_server.asked[-1].path == "/v1/recordings/rec_1/audio"
    assert wired.storage_server.connections == 0


def test_a_lease_that_leads_nowhere_is_replaced_after_a_second(wired: Wired) -> None:
    """And not before, however often it is asked for."""
    wired.api_server.answer = lambda _: reply(302, Location="http://169.254.169.254/x")
    for _ in range(5):
        with pytest.raises(NotPermitted):
            opened(wired)
    assert len(wired.api_server.asked) == 1
    wired.api_server.answer = lambda _: reply(302, Location=f"{wired.storage_server.origin}/x")
    wired.storage_server.answer = lambda asked: ranged(asked, CONTENT)
    wired.clock.sleep(1.1)
    opened(wired)
    assert len(wired.api_server.asked) == 2
