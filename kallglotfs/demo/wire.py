"""Putting an answer on the wire: by the book through ASGI, or against it through the transport.

uvicorn and h11 rightly refuse to send fewer bytes than declared, more, or a reset in the middle. Kallglot's
302 and every broken server do such things, so `RawProtocol` hands its transport to the application, which
then writes the response itself and lets the connection end.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import http
import socket
import struct
import termios
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send
    from uvicorn import Config
    from uvicorn.server import ServerState

    from kallglotfs.demo.requestlog import Record

#: Bytes handed to the connection at a time.
_PIECE = 256 * 1024
#: Pieces per second of a throttled connection.
_PACE = 20
#: Seconds to wait for the kernel to have sent what a reset must not take back.
_FLUSH = 2.0


class RawProtocol(H11Protocol):
    """uvicorn's protocol, which also puts itself in `scope["state"]["connection"]`."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, {**app_state, "connection": self}, _loop)
        self.gone = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake whoever is pausing on this connection."""
        self.gone.set()
        super().connection_lost(exc)

    async def pause(self, seconds: float) -> None:
        """Wait, but not for a client that has gone."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.gone.wait(), seconds)

    async def reset(self) -> None:
        """End the connection with a TCP RST, once the client can have what was written."""
        sock = self.transport.get_extra_info("socket")
        ends = self.loop.time() + _FLUSH
        while not self.gone.is_set() and self.loop.time() < ends:
            unsent = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))[0]
            if not unsent and not self.transport.get_write_buffer_size():
                break
            await asyncio.sleep(0.005)
        if not self.gone.is_set():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


@dataclass
class Answer:
    """A response, not yet sent.

    Attributes:
        headers: without Content-Length, which the sending adds.
        declared: the Content-Length where it is not the body's length.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | memoryview = b""
    declared: int | None = None


@dataclass
class Conduct:
    """How an answer is sent. The defaults are what every server does.

    Attributes:
        delay: seconds before the first byte.
        bandwidth: bytes per second.
        framing: how the end of the body is told.
        cut: body bytes after which `ending` comes; None for all.
        ending: what follows the last byte. "hold" keeps the connection open for `seconds`.
        stall_after: body bytes after which nothing comes for `seconds`.
        seconds: see `stall_after` and `ending`.
    """

    delay: float = 0.0
    bandwidth: float | None = None
    framing: Literal["length", "chunked", "close"] = "length"
    cut: int | None = None
    ending: Literal["normal", "close", "reset", "hold"] = "normal"
    stall_after: int | None = None
    seconds: float = 0.0


async def deliver(
    answer: Answer, conduct: Conduct, record: Record, scope: Scope, receive: Receive, send: Send
) -> None:
    """Send an answer and count its body bytes in `record`."""
    connection: RawProtocol = scope["state"]["connection"]
    if conduct.delay:
        await connection.pause(conduct.delay)
    record.status = answer.status
    body = b"" if scope["method"] == "HEAD" else answer.body
    raw = conduct.ending != "normal" or conduct.framing != "length" or conduct.cut is not None
    pieces = _pieces(memoryview(body), conduct, connection)
    if raw or (answer.declared is not None and scope["method"] != "HEAD"):
        await _deliver_raw(answer, conduct, record, pieces, connection)
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    length = len(answer.body) if answer.declared is None else answer.declared
    headers = {**answer.headers, "Content-Length": str(length)}
    await send({"type": "http.response.start", "status": answer.status, "headers": _encoded(headers)})
    async for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        # uvicorn waits before a write, not after it: without this the count runs one piece ahead.
        await connection.flow.drain()
        record.bytes_sent += len(piece)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _deliver_raw(
    answer: Answer,
    conduct: Conduct,
    record: Record,
    pieces: AsyncIterator[memoryview],
    connection: RawProtocol,
) -> None:
    headers = dict(answer.headers)
    if conduct.framing == "length":
        headers["Content-Length"] = str(len(answer.body) if answer.declared is None else answer.declared)
    elif conduct.framing == "chunked":
        headers["Transfer-Encoding"] = "chunked"
    else:
        headers["Connection"] = "close"
    transport = connection.transport
    lines = [b"%b: %b\r\n" % each for each in _encoded(headers)]
    phrase = http.HTTPStatus(answer.status).phrase.encode()
    transport.write(b"HTTP/1.1 %d %b\r\n%b\r\n" % (answer.status, phrase, b"".join(lines)))
    async for piece in pieces:
        if conduct.framing == "chunked":
            transport.write(b"%x\r\n%b\r\n" % (len(piece), bytes(piece)))
        else:
            transport.write(piece)
        await connection.flow.drain()
        record.bytes_sent += len(piece)
    if conduct.framing == "chunked" and conduct.ending == "normal":
        transport.write(b"0\r\n\r\n")
    if conduct.ending == "reset":
        await connection.reset()
    if conduct.ending == "hold":
        await connection.pause(conduct.seconds)
    transport.close()


async def _pieces(body: memoryview, conduct: Conduct, connection: RawProtocol) -> AsyncIterator[memoryview]:
    """Yield the body in pieces, no faster than allowed, until it ends or the client is gone."""
    stop = len(body) if conduct.cut is None else min(conduct.cut, len(body))
    size = _PIECE if conduct.bandwidth is None else max(1, min(_PIECE, int(conduct.bandwidth / _PACE)))
    stall = conduct.stall_after
    began = connection.loop.time()
    at = 0
    while at < stop and not connection.gone.is_set():
        if at == stall:
            await connection.pause(conduct.seconds)
        end = min(at + size, stop)
        if stall is not None and at < stall < end:
            end = stall
        yield body[at:end]
        at = end
        if conduct.bandwidth is not None:
            ahead = at / conduct.bandwidth - (connection.loop.time() - began)
            if ahead > 0:
                await connection.pause(ahead)


def _encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
