"""A proxy of our own that does to TCP connections what networks do: late, slow, cut, silent, in crumbs.

It stands in front of any HTTP/1.1 server (the demo's API or storage, nginx, …) and passes every answer on as
it came, headers included. It reads just enough of them to know where a body begins and ends. What goes wrong
is told by `Trouble`s, which may be set and lifted at any time and count how often they struck.

Threading: a thread per connection; the list of troubles is replaced, never changed, and counting has a lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import re
import select
import socket
import struct
import termios
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ACTIONS = ("latency", "bandwidth", "stall", "reset", "truncate", "slice", "drip")
#: Byte at which a stall, reset or cut comes in the middle of the headers.
IN_HEADERS = -1
PIECE = 64 * 1024


@dataclass
class Trouble:
    """One thing that goes wrong with answers.

    Args:
        action: one of `ACTIONS`.
        match: a regular expression searched in the request line.
        times: answers it strikes; -1 for all.
        at: body bytes passed on before a stall, reset or cut; `IN_HEADERS` for half of the headers only.
        value: seconds of a latency or a stall, bytes per second of a body (bandwidth) or of headers (drip),
            or bytes per crumb.
        struck: how often it has come to pass, not merely been set.
    """

    action: str
    match: str = ""
    times: int = 1
    at: int = 0
    value: float = 3600.0
    struck: int = 0
    taken: int = 0

    def __post_init__(self) -> None:
        assert self.action in ACTIONS, self.action


class Ended(Exception):
    """The connection is over."""


@dataclass
class Answer:
    """Where one answer ends: after so many body bytes, in chunks, or with the connection."""

    head: bytes
    length: int | None
    chunked: bool
    trap: bool = False


@dataclass
class FaultProxy:
    """The proxy.

    Args:
        upstream: host and port in front of which it stands.
    """

    upstream: tuple[str, int]
    troubles: tuple[Trouble, ...] = ()
    #: Request lines as they came.
    requests: list[str] = field(default_factory=list)
    #: Connections accepted so far, and those that are open now.
    accepted: int = 0
    open: int = 0
    _port: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _listening: socket.socket | None = None
    _sockets: set[socket.socket] = field(default_factory=set)
    _fillers: list[socket.socket] = field(default_factory=list)

    @property
    def origin(self) -> str:
        """Its own address, to be used in the place of the server's."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self.listen()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.refuse()

    # What it does to connections.

    def listen(self) -> None:
        """Accept connections, on the port of the first time."""
        self._stop_listening()
        self._listening = self._bound(1024)
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def refuse(self) -> None:
        """Refuse new connections and reset the open ones: nobody listens any more."""
        self._stop_listening()
        self._drop_all()

    def blackhole(self) -> None:
        """Answer nothing more, not even a SYN, and let the open connections fall silent."""
        self._stop_listening()
        self._drop_all()
        self._listening = self._bound(0)
        for _ in range(8):  # until the queue of connections nobody accepts is full, SYNs are answered
            filler = socket.socket()
            filler.settimeout(0)
            filler.connect_ex(("127.0.0.1", self._port))
            self._fillers.append(filler)

    def set(self, troubles: Iterable[Trouble]) -> None:
        """Add troubles."""
        with self._lock:
            self.troubles += tuple(troubles)

    def lift(self, troubles: Iterable[Trouble] | None = None) -> None:
        """Take troubles away, all if none are named. Connections that are stalled stay so: they are dead."""
        gone = None if troubles is None else [id(each) for each in troubles]
        with self._lock:
            self.troubles = tuple(each for each in self.troubles if gone is not None and id(each) not in gone)

    def _bound(self, backlog: int) -> socket.socket:
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", self._port))
        listening.listen(backlog)
        self._port = listening.getsockname()[1]
        return listening

    def _stop_listening(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None:
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
            listening.close()
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()

    def _drop_all(self) -> None:
        with self._lock:
            sockets = list(self._sockets)
        for each in sockets:
            with contextlib.suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self.accepted += 1
                self.open += 1
                self._sockets.add(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.socket()
        try:
            with contextlib.suppress(OSError, Ended):
                server.connect(self.upstream)
                reader = server.makefile("rb")
                asking = client.makefile("rb")
                while True:
                    request = _head(asking)
                    line = request.split(b"\r\n", 1)[0].decode("latin-1")
                    self.requests.append(line)
                    server.sendall(request)
                    self._pass_on(_answer(reader), reader, client, self._taken(line))
        finally:
            server.close()
            with self._lock:
                self.open -= 1
                self._sockets.discard(client)
            client.close()

    def _taken(self, line: str) -> list[Trouble]:
        with self._lock:
            found = [
                each
                for each in self.troubles
                if (each.times < 0 or each.taken < each.times) and re.search(each.match, line)
            ]
            for each in found:
                each.taken += 1
        return found

    def _pass_on(
        self, answer: Answer, reader: object, client: socket.socket, troubles: list[Trouble]
    ) -> None:
        value = {each.action: each.value for each in troubles}
        end = next((each for each in troubles if each.action in ("stall", "reset", "truncate")), None)
        for each in troubles:
            if each is not end:
                self._strike(each)
        if "latency" in value:
            _linger(client, value["latency"])
        crumb = int(value.get("slice", PIECE))
        if end is not None and end.at == IN_HEADERS:
            _send(client, answer.head[: len(answer.head) // 2], crumb, None)
            self._end(end, client)
        _send(client, answer.head, crumb, value.get("drip"))
        if answer.trap:
            _linger(client, 3600)
            raise Ended
        sent = 0
        for piece in _body(answer, reader):
            part = piece if end is None else piece[: max(0, end.at - sent)]
            _send(client, part, crumb, value.get("bandwidth"))
            sent += len(part)
            if end is not None and len(part) < len(piece):
                self._end(end, client)
                _send(client, piece[len(part) :], crumb, None)
                sent, end = sent + len(piece) - len(part), None
        if answer.length is None and not answer.chunked:
            raise Ended

    def _end(self, trouble: Trouble, client: socket.socket) -> None:
        if trouble.action == "stall":
            self._strike(trouble)
            _linger(client, trouble.value)
            if not _is_gone(client):
                return
        elif trouble.action == "reset":
            ends = time.monotonic() + 2
            # A reset takes back what is not received yet.
            while time.monotonic() < ends and _unsent(client):
                time.sleep(0.001)
            self._strike(trouble)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            self._strike(trouble)
        raise Ended

    def _strike(self, trouble: Trouble) -> None:
        with self._lock:
            trouble.struck += 1


def _head(reader: object) -> bytes:
    """Read a request or the headers of an answer."""
    lines = []
    while True:
        line = reader.readline()  # type: ignore[attr-defined]
        if not line:
            raise Ended
        lines.append(line)
        if line == b"\r\n":
            return b"".join(lines)


def _answer(reader: object) -> Answer:
    head = _head(reader)
    status = int(head.split(b" ", 2)[1])
    fields = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])
    }
    length = int(fields[b"content-length"]) if b"content-length" in fields else None
    # The API's redirects declare the length of the file and have no body.
    trap = 300 <= status < 400 and bool(length)
    return Answer(head, 0 if status in (204, 304) else length, b"transfer-encoding" in fields, trap)


def _body(answer: Answer, reader: object) -> Iterator[bytes]:
    """Yield a body as it is on the wire, chunk sizes included."""
    if answer.chunked:
        while True:
            line = reader.readline()  # type: ignore[attr-defined]
            size = int(line.split(b";")[0], 16) if line else 0
            rest = reader.read(size + 2) if line else b""  # type: ignore[attr-defined]
            yield line + rest
            if not size or len(rest) < size + 2:
                return
    left = answer.length
    while left is None or left > 0:
        piece = reader.read1(PIECE if left is None else min(PIECE, left))  # type: ignore[attr-defined]
        if not piece:
            raise Ended if left is None else ConnectionError
        left = None if left is None else left - len(piece)
        yield piece


def _send(client: socket.socket, content: bytes, size: int, rate: float | None) -> None:
    began = time.monotonic()
    view = memoryview(content)
    if rate is not None:
        size = max(1, min(size, int(rate / 20)))
    for at in range(0, len(view), size):
        client.sendall(view[at : at + size])
        if rate is not None:
            ahead = (at + size) / rate - (time.monotonic() - began)
            if ahead > 0:
                _linger(client, ahead)
                if _is_gone(client):
                    raise Ended


def _linger(client: socket.socket, seconds: float) -> None:
    """Wait, but not for a client that has gone."""
    poll = select.poll()
    poll.register(client, select.POLLRDHUP)
    poll.poll(seconds * 1000)


def _is_gone(client: socket.socket) -> bool:
    poll = select.poll()
    poll.register(client, select.POLLRDHUP)
    return bool(poll.poll(0))


def _unsent(client: socket.socket) -> int:
    return int(struct.unpack("i", fcntl.ioctl(client.fileno(), termios.TIOCOUTQ, bytes(4)))[0])
