"""Connecting: to each address in turn, within the time for all of them."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from kallglotfs.clock import Clock, Deadline
from kallglotfs.errors import BadResponse, Unreachable
from kallglotfs.model import Secret
from kallglotfs.remote.gates import StorageGate
from kallglotfs.remote.reach import Reach
from kallglotfs.remote.transport import Transport
from scripted import Scripted, reply, scripted

if TYPE_CHECKING:
    from collections.abc import Iterator

URL = Secret("http://storage.example/x?signature=CANARY")


@pytest.fixture
def hole() -> Iterator[tuple[str, int]]:
    """An address where nobody answers to connecting: the queue is full, so that Linux drops the packets."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = listening.getsockname()
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(address)
        probe = stack.enter_context(socket.socket())
        probe.settimeout(0.3)
        with pytest.raises(TimeoutError):
            probe.connect(address)
        yield address


@pytest.fixture
def server() -> Iterator[Scripted]:
    """Somebody who answers."""
    with scripted() as made:
        made.answer = lambda _: reply(200, b"x")
        yield made


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> Transport:
    """Return a transport for whom every name has these addresses."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]
    asked: list[Any] = []

    def resolve(host: str, *arguments: object, **options: object) -> list[Any]:
        asked.append(host)
        return found

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return Transport("test", StorageGate(Reach("http://127.0.0.1/v1")), proxy_credentials=False)


def place(server: Scripted) -> tuple[str, int]:
    """Return a server's address."""
    host, port = server.origin.removeprefix("http://").split(":")
    return host, int(port)


def test_an_address_where_nobody_answers_costs_its_share(
    hole: tuple[str, int], server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one is tried while there is time."""
    transport = resolving(monkeypatch, hole, place(server))
    began = time.monotonic()
    assert transport.get(URL, {}, Deadline(Clock(), 2)).content == b"x"
    assert 0.9 < time.monotonic() - began < 2
    assert server.connections == 1


def test_many_addresses_where_nobody_answers_take_no_longer_than_one(
    hole: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them share the time of the call."""
    transport = resolving(monkeypatch, *([hole] * 8))
    began = time.monotonic()
    with pytest.raises(Unreachable, match=r"storage\.example: no answer to connecting") as caught:
        transport.get(URL, {}, Deadline(Clock(), 1))
    assert 0.9 < time.monotonic() - began < 2
    assert "CANARY" not in str(caught.value)


def test_an_address_that_refuses_is_passed_by(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as one is left; then it is said that nobody listens."""
    refusing = ("127.0.0.1", 1)
    assert resolving(monkeypatch, refusing, place(server)).get(URL, {}, Deadline(Clock(), 2)).content
    with pytest.raises(Unreachable, match="cannot connect"):
        resolving(monkeypatch, refusing).get(URL, {}, Deadline(Clock(), 2))


def test_a_name_that_is_none_says_so() -> None:
    """Not found, and what the resolver could not even be asked for."""
    transport = Transport("test", StorageGate(Reach("http://127.0.0.1/v1")), proxy_credentials=False)
    with pytest.raises(Unreachable, match="cannot be resolved"):
        transport.get(Secret("http://no-such-host.invalid/x"), {}, Deadline(Clock(), 5))
    for host in ("a" * 64 + ".example", "a..example"):
        with pytest.raises(BadResponse, match="not a usable URL"):
            transport.get(Secret(f"http://{host}/x?signature=CANARY"), {}, Deadline(Clock(), 5))
