"""The fault proxy does what it says: else the tests that use it prove nothing."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from conftest import wait_until
from fault_proxy import IN_HEADERS, FaultProxy, Trouble
from scripted import Scripted, reply, scripted

if TYPE_CHECKING:
    from collections.abc import Iterator

BODY = bytes(range(256)) * 400
WHOLE = reply(200, BODY)
HEAD = len(WHOLE) - len(BODY)


@pytest.fixture
def server() -> Iterator[Scripted]:
    """A server that gives everybody the same answer."""
    with scripted() as made:
        made.answer = lambda _: WHOLE
        yield made


@pytest.fixture
def proxy(server: Scripted) -> Iterator[FaultProxy]:
    """The proxy in front of it."""
    with FaultProxy(("127.0.0.1", urlsplit(server.origin).port or 0)) as made:
        yield made


def asked(proxy: FaultProxy, limit: float = 5, stop: int = len(WHOLE)) -> tuple[bytes, str, float, int]:
    """Ask once; return what came, how it ended, after how long, and in how many pieces."""
    began = time.monotonic()
    came, pieces, ending = b"", 0, "whole"
    with socket.create_connection(("127.0.0.1", urlsplit(proxy.origin).port or 0), timeout=limit) as client:
        client.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            while len(came) < stop:
                piece = client.recv(1 << 20)
                if not piece:
                    ending = "closed"
                    break
                came, pieces = came + piece, pieces + 1
        except ConnectionResetError:
            ending = "reset"
        except TimeoutError:
            ending = "silent"
    return came, ending, time.monotonic() - began, pieces


def test_without_troubles_every_byte_passes(proxy: FaultProxy, server: Scripted) -> None:
    """And each request is on the list."""
    assert asked(proxy)[:2] == (WHOLE, "whole")
    assert proxy.requests == ["GET /x HTTP/1.1"]
    assert len(server.asked) == 1


@pytest.mark.parametrize("at", [IN_HEADERS, 0, 1, 50_000, len(BODY) - 1])
@pytest.mark.parametrize("action", ["reset", "truncate", "stall"])
def test_an_answer_ends_at_the_byte_that_was_named(proxy: FaultProxy, action: str, at: int) -> None:
    """By a reset, by the connection's end, or by silence; the next answer is whole."""
    trouble = Trouble(action, at=at)
    proxy.set([trouble])
    came, ending, _, _ = asked(proxy, limit=0.3)
    assert len(came) == (HEAD // 2 if at == IN_HEADERS else HEAD + at)
    assert WHOLE.startswith(came)
    assert ending == {"reset": "reset", "truncate": "closed", "stall": "silent"}[action]
    assert trouble.struck == 1
    assert asked(proxy)[:2] == (WHOLE, "whole")
    assert wait_until(lambda: proxy.open == 0)


def test_latency_bandwidth_and_crumbs(proxy: FaultProxy) -> None:
    """Late, slow, and in more pieces than were sent; nothing is lost."""
    proxy.set(troubles := [Trouble("latency", value=0.4)])
    came, _, took, _ = asked(proxy)
    assert came == WHOLE
    assert took >= 0.4
    proxy.set(troubles := [*troubles, Trouble("bandwidth", value=200_000)])
    came, _, took, _ = asked(proxy)
    assert came == WHOLE
    assert took >= 0.45
    proxy.set(troubles := [*troubles, Trouble("slice", value=7)])
    came, _, _, pieces = asked(proxy)
    assert came == WHOLE
    assert pieces > 5
    assert [each.struck for each in troubles] == [1, 1, 1]


def test_a_trouble_strikes_only_what_it_is_meant_for_and_can_be_lifted(proxy: FaultProxy) -> None:
    """By the request line."""
    other, lasting = Trouble("reset", match="/y"), Trouble("reset", match="/x", times=-1)
    proxy.set([other, lasting])
    assert [asked(proxy)[1] for _ in range(3)] == ["reset"] * 3
    proxy.lift([lasting])
    assert asked(proxy)[0] == WHOLE
    assert (other.struck, lasting.struck) == (0, 3)


def test_refused_silent_and_back(proxy: FaultProxy) -> None:
    """The port stays the same."""
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        asked(proxy)
    proxy.blackhole()
    with pytest.raises(TimeoutError):
        asked(proxy, limit=0.3)
    proxy.listen()
    assert asked(proxy)[0] == WHOLE


def test_a_chunked_answer_and_one_that_ends_with_the_connection_pass(
    proxy: FaultProxy, server: Scripted
) -> None:
    """Whatever tells the end."""
    chunked = reply(200, b"5\r\nhello\r\n0\r\n\r\n", Content_Length="", Transfer_Encoding="chunked")
    server.answer = lambda _: chunked
    assert asked(proxy, stop=len(chunked))[0] == chunked
    closing = reply(200, b"hello", Content_Length="", Connection="close")
    server.answer = lambda _: closing
    assert asked(proxy, stop=9999)[:2] == (closing, "closed")
