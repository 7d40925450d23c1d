"""A real HTTP server on localhost whose answers a test writes itself, byte by byte if need be."""

from __future__ import annotations

import contextlib
import socketserver
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    method: str
    target: str
    headers: dict[str, str]

    @property
    def path(self) -> str:
        """The target without its query."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """The query."""
        return dict(parse_qsl(urlsplit(self.target).query))

    @property
    def span(self) -> tuple[int, int | None]:
        """The Range asked for: first byte, and the one after the last."""
        first, _, last = self.headers["range"].removeprefix("bytes=").partition("-")
        return int(first), int(last) + 1 if last else None


def reply(status: int, body: bytes = b"", **headers: str) -> bytes:
    """Return an answer; `Content_Length=""` leaves that header out."""
    given = {"Content-Length": str(len(body))} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in given.items() if value != "")]
    return "\r\n".join([*lines, "", ""]).encode() + body


def ranged(asked: Asked, content: bytes, **headers: str) -> bytes:
    """Answer a range request as a storage does."""
    start, stop = asked.span
    stop = min(stop or len(content), len(content))
    return reply(
        206, content[start:stop], Content_Range=f"bytes {start}-{stop - 1}/{len(content)}", **headers
    )


@dataclass
class Scripted:
    """The server: `answer` gives each request's reply; None closes the connection without one."""

    answer: Callable[[Asked], bytes | None] = lambda _: reply(404)
    asked: list[Asked] = field(default_factory=list)
    origin: str = ""

    def paths(self) -> list[str]:
        """Return the targets asked for so far."""
        return [each.target for each in self.asked]


@contextlib.contextmanager
def scripted() -> Iterator[Scripted]:
    """Run a server until the block ends."""
    script = Scripted()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(ConnectionError):
                while (line := self.rfile.readline()).strip():
                    method, target, _ = line.decode().split(" ")
                    headers = {}
                    while header := self.rfile.readline().strip():
                        name, _, value = header.decode().partition(":")
                        headers[name.lower()] = value.strip()
                    asked = Asked(method, target, headers)
                    script.asked.append(asked)
                    answer = script.answer(asked)
                    if answer is None:
                        return
                    self.wfile.write(answer)
                    if b"Connection: close" in answer:
                        return

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 256

    with Server(("127.0.0.1", 0), Handler) as server:
        script.origin = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield script
        finally:
            server.shutdown()
            thread.join()
