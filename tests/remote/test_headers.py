"""Headers that drip: the time to wait is for all of them, not for each byte."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from kallglotfs.clock import Clock, Deadline
from kallglotfs.errors import TimedOut
from kallglotfs.model import Secret
from kallglotfs.remote.gates import StorageGate
from kallglotfs.remote.reach import Reach
from kallglotfs.remote.transport import Transport, pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ANSWER = b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 50_000 + b"\r\nContent-Length: 5\r\n\r\nhello"


@pytest.fixture
def serve() -> Iterator[Callable[[int, float], str]]:
    """Give what starts a server that sends its answer in crumbs, and returns its URL."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        ended = threading.Event()

        def start(crumb: int, pause: float) -> str:
            def run() -> None:
                connection, _ = listening.accept()
                with connection:
                    connection.recv(65536)
                    for at in range(0, len(ANSWER), crumb):
                        try:
                            connection.sendall(ANSWER[at : at + crumb])
                        except OSError:
                            return
                        if ended.wait(pause):
                            return
                    ended.wait(5)

            threading.Thread(target=run, daemon=True).start()
            return f"http://127.0.0.1:{listening.getsockname()[1]}/x"

        yield start
        ended.set()


def transport() -> Transport:
    """Return a transport to this machine."""
    return Transport("test", StorageGate(Reach("http://127.0.0.1/v1")), proxy_credentials=False)


def test_a_byte_at_a_time_is_given_up_in_time(serve: Callable[[int, float], str]) -> None:
    """By the work itself, not only by who waits for it: no thread is kept."""
    began = time.monotonic()
    sender = transport()
    with pytest.raises(TimedOut):
        sender.get(Secret(serve(1, 0.05)), {}, Deadline(Clock(), 0.5))
    assert 0.4 < time.monotonic() - began < 1.5
    sender.close()


@pytest.mark.parametrize("crumb", [7, 1460, 100_000])
def test_headers_in_crumbs_are_read_as_they_are(crumb: int, serve: Callable[[int, float], str]) -> None:
    """Wherever they are cut, the body included."""
    sender = transport()
    deadline = Deadline(Clock(), 5)
    response = sender.get(Secret(serve(crumb, 0)), {}, deadline)
    assert response.headers["X-Long"] == "x" * 50_000
    assert b"".join(pieces(response, 5, deadline)) == b"hello"
    response.close()
    sender.close()
