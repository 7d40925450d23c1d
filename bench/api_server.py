"""The Kallglot API, generation 1, with answers after a settable delay and every request counted.

A process of its own (`python -m bench.api_server SECRETS`), so that all it takes from what is measured is
processor time. One asyncio protocol instead of a framework: an answer costs some 50 microseconds.

`POST /control/settings` takes JSON (`delay`, `base`), `POST /control/library` more recordings,
`POST /control/reset` forgets the counts; each returns the counts, and so does `POST /control/counts`.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bench.signing import sign

#: Seconds a signed URL is valid, as the real service has it.
LIFETIME = 3600

_RECORDING = re.compile(r"/v1/recordings/(rec_[A-Za-z0-9]+)(/download)?")
_SESSION = re.compile(r"/v1/sessions/(sess_[A-Za-z0-9]+)/recordings")
_REASONS = {200: "OK", 302: "Found", 401: "Unauthorized", 404: "Not Found"}


class Service:
    """What the API knows, and its counts.

    Args:
        key: the only key that is accepted.
        secret: what URLs are signed with.
    """

    def __init__(self, key: str, secret: str) -> None:
        self._key = key
        self._secret = secret
        self._recordings: dict[str, dict[str, Any]] = {}
        self._sessions: dict[str, list[str]] = {}
        self._positions: dict[str, int] = {}
        self._base = ""
        self.delay = 0.0
        self.counts: Counter[str] = Counter()

    def control(self, path: str, body: bytes) -> bytes:
        """Answer the harness."""
        if path == "/control/settings":
            settings = json.loads(body)
            self.delay = settings.get("delay", self.delay)
            self._base = settings.get("base", self._base)
        elif path == "/control/library":
            for recording in json.loads(body):
                self._recordings[recording["id"]] = recording
                of_session = self._sessions.setdefault(recording["session_id"], [])
                self._positions[recording["id"]] = len(of_session)
                of_session.append(recording["id"])
        elif path == "/control/reset":
            self.counts.clear()
        return json.dumps(self.counts).encode()

    def answer(self, target: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body for a request of a client."""
        path, _, query = target.partition("?")
        given = headers.get("authorization", "").removeprefix("Bearer ") or headers.get("x-api-key")
        if given != self._key:
            return self._refuse(401, "invalid_api_key")
        if match := _RECORDING.fullmatch(path):
            self.counts[match[1]] += 1
            recording = self._recordings.get(match[1])
            if recording is None:
                return self._refuse(404, "resource_not_found")
            if match[2]:
                location = self._signed(recording)
                return 302, {"Location": location, "Content-Type": "audio/mpeg"}, b""
            return 200, {}, json.dumps(self._object(recording)).encode()
        if match := _SESSION.fullmatch(path):
            self.counts[match[1]] += 1
            return 200, {}, json.dumps(self._page(match[1], query)).encode()
        self.counts[path] += 1
        return self._refuse(404, "resource_not_found")

    def _refuse(self, status: int, code: str) -> tuple[int, dict[str, str], bytes]:
        error = {"type": "invalid_request_error", "code": code, "message": code.replace("_", " ")}
        return status, {}, json.dumps({"error": error}).encode()

    def _signed(self, recording: dict[str, Any]) -> str:
        return sign(self._base, recording["path"], int(time.time()) + LIFETIME, self._secret)

    def _object(self, recording: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": recording["id"],
            "object": "recording",
            "session_id": recording["session_id"],
            "channel": "mixed",
            "status": "ready",
            "duration": recording["size"] / 16000,
            "format": "mp3",
            "size": recording["size"],
            "sample_rate": 8000,
            "bit_depth": 16,
            "download_url": self._signed(recording),
            "created_at": recording["created_at"],
        }

    def _page(self, session_id: str, query: str) -> dict[str, Any]:
        arguments = dict(part.partition("=")[::2] for part in query.split("&") if part)
        ids = self._sessions.get(session_id, [])
        first = self._positions.get(arguments.get("starting_after", ""), -1) + 1
        limit = int(arguments.get("limit", 20))
        page = [self._object(self._recordings[one]) for one in ids[first : first + limit]]
        return {
            "object": "list",
            "data": page,
            "has_more": first + limit < len(ids),
            "session_id": session_id,
        }


class Connection(asyncio.Protocol):
    """One keep-alive connection; requests are answered in order."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        # Without it the second small write waits for the client's delayed ACK: 40 ms on every answer.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._received += data
        while True:
            head, separator, rest = self._received.partition(b"\r\n\r\n")
            if not separator:
                return
            lines = head.decode("latin-1").split("\r\n")
            headers = {
                name.strip().lower(): value.strip()
                for name, _, value in (line.partition(":") for line in lines[1:])
            }
            length = int(headers.get("content-length", "0"))
            if len(rest) < length:
                return
            self._received = rest[length:]
            target = lines[0].split(" ")[1]
            if target.startswith("/control/"):
                self._send(200, {}, self._service.control(target, rest[:length]))
            else:
                status, extra, body = self._service.answer(target, headers)
                loop = asyncio.get_running_loop()
                loop.call_later(self._service.delay, self._send, status, extra, body)

    def _send(self, status: int, extra: dict[str, str], body: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))} | extra
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._transport.write(f"HTTP/1.1 {status} {_REASONS[status]}\r\n{lines}\r\n".encode() + body)


async def serve(service: Service) -> None:
    """Serve on a free port of 127.0.0.1, print it, end on SIGTERM."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    loop.add_signal_handler(signal.SIGINT, ended.set)
    server = await loop.create_server(lambda: Connection(service), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await ended.wait()
    server.close()


if __name__ == "__main__":
    secrets = json.loads(Path(sys.argv[1]).read_text())
    asyncio.run(serve(Service(secrets["key"], secrets["secret"])))
