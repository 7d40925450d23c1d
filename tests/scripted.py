"""A real HTTP server whose answers a test writes itself, byte by byte if need be; with TLS where wanted."""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import ssl
import sys
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


def recording(name: str, url: str, size: int) -> bytes:
    """Answer as the API does for a recording that is at `url`."""
    facts = {"id": name, "status": "ready", "format": "mp3", "size": size, "download_url": url}
    return reply(200, json.dumps(facts).encode())


def no_recording() -> bytes:
    """Answer as the API does for a recording that it has not got."""
    return reply(404, b'{"error": {"type": "x", "code": "recording_not_found", "message": "x"}}')


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
    #: Whose certificate is shown, changed at any time; None for plain HTTP.
    tls: ssl.SSLContext | None = None
    #: Connections accepted, of those the ones whose TLS was agreed, and bytes that came after it.
    connections: int = 0
    agreed: int = 0
    received: int = 0

    def paths(self) -> list[str]:
        """Return the targets asked for so far."""
        return [each.target for each in self.asked]


class _Handler(socketserver.StreamRequestHandler):
    script: Scripted

    def setup(self) -> None:
        self.script.connections += 1
        if self.script.tls is not None:
            self.request.settimeout(10)
            self.request = self.script.tls.wrap_socket(self.request, server_side=True)
            self.script.agreed += 1
        super().setup()

    def finish(self) -> None:
        super().finish()
        if self.script.tls is not None:
            self.request.close()

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError):
            while (line := self.rfile.readline()).strip():
                self.script.received += len(line)
                method, target, _ = line.decode().split(" ")
                headers = {}
                while header := self.rfile.readline().strip():
                    name, _, value = header.decode().partition(":")
                    headers[name.lower()] = value.strip()
                asked = Asked(method, target, headers)
                self.script.asked.append(asked)
                answer = self.script.answer(asked)
                if answer is None:
                    return
                self.wfile.write(answer)
                if b"Connection: close" in answer:
                    return


@contextlib.contextmanager
def scripted(
    listening: socket.socket | None = None, tls: ssl.SSLContext | None = None, host: str | None = None
) -> Iterator[Scripted]:
    """Run a server until the block ends.

    Args:
        listening: a socket to take connections from, None for a new one on localhost.
        tls: whose certificate is shown; None for plain HTTP.
        host: what the origin says, None for the socket's address.
    """
    script = Scripted(tls=tls)
    handler = type("Handler", (_Handler,), {"script": script})

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 256

        def handle_error(self, request: object, client_address: object) -> None:
            if not isinstance(sys.exception(), OSError):
                super().handle_error(request, client_address)

    sock = listening or socket.create_server(("127.0.0.1", 0), backlog=256)
    address, port = sock.getsockname()[:2]
    with Server((address, port), handler, bind_and_activate=False) as server:
        server.socket.close()
        server.socket = sock
        shown = host or (f"[{address}]" if ":" in address else address)
        script.origin = f"{'https' if tls else 'http'}://{shown}:{port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield script
        finally:
            server.shutdown()
            thread.join()
