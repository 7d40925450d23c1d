"""Answers questions about a running mount on a Unix socket.

A line of JSON is asked, `{"ask": "status", …arguments}`, and a line of JSON answered: `{"ok": {…}}` or
`{"error": "one line"}`; as often as the client likes over one connection. Only root and the user of the
daemon are answered, whoever else reaches the socket.

Nothing a client does may harm the mount: lines and connections are bounded, a line has to arrive in time and
an answer to be taken in time, and of too many connections the one that has been silent longest makes room.

Threading: one thread accepts, one serves each connection; all are started by `start`, after the fork.
Handlers are called on those threads. The lock is a leaf.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Any

from kallglotfs.control import places
from kallglotfs.errors import KallglotError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

log = logging.getLogger(__name__)

#: Connections at one time, and those the kernel keeps until they are accepted.
CONNECTIONS, BACKLOG = 8, 128
#: Bytes of a question.
LONGEST = 256 * 1024
#: Seconds a question may take to arrive from its first byte on, and an answer to be taken.
PROMPT = 5.0
#: Seconds a connection may be silent.
IDLE = 120.0
#: Seconds to wait for the threads when the mount ends; they are daemons.
STOP = 1.0
#: ucred of unix(7): pid, uid, gid.
CREDENTIALS = struct.Struct("3i")
SOCKET_MODE = 0o600


def peer_of(connection: socket.socket) -> tuple[int, int]:
    """Return the process and the user at the other end of a connection.

    Raises:
        OSError: the kernel does not tell.
    """
    told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    pid, uid, _ = CREDENTIALS.unpack(told)
    return pid, uid


class ControlServer:
    """Answers questions about one mount.

    Args:
        path: of the socket, from `places`.
        handlers: what answers each kind of question: given its arguments, it returns what JSON takes, or
            raises `KallglotError` with one line for the client.
    """

    def __init__(
        self, path: Path, handlers: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]]
    ) -> None:
        self._path = path
        self._handlers = dict(handlers)
        self._lock = threading.Lock()
        #: Each connection with the time since when it is silent; None while its question is answered.
        self._open: dict[socket.socket, float | None] = {}
        self._listening: socket.socket | None = None
        self._inode = 0
        self._own = os.geteuid()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Answer from now on; where no socket can be made, the mount goes on without and the log says so."""
        try:
            self._listen()
        except OSError as error:
            log.warning(
                "no control socket, so `kallglotfs status` will not reach this mount: %s: %s",
                error.strerror or error,
                self._path,
            )
            return
        self._thread = threading.Thread(target=self._accept, name="control", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Remove the socket and end all connections; may be called again."""
        listening, self._listening = self._listening, None
        if listening is None:
            return
        with (
            contextlib.suppress(OSError),
            places.opened(self._path.parent) as folder,
            places.changing(folder),
        ):
            # A newer mount at the same place may have put its own there: ours lingers after a lazy unmount.
            if self._path.lstat().st_ino == self._inode:
                self._path.unlink()
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        if self._thread is not None:
            self._thread.join(STOP)
        listening.close()

    def _listen(self) -> None:
        folder = self._path.parent
        places.prepare(folder)
        places.clear(folder)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        temporary = f".{os.getpid()}-{self._path.name}"
        try:
            with places.opened(folder) as descriptor:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=descriptor)
                made.bind(places.short(descriptor, temporary))
                try:
                    os.chmod(temporary, SOCKET_MODE, dir_fd=descriptor)
                    made.listen(BACKLOG)
                    with places.changing(descriptor):
                        self._inode = os.lstat(temporary, dir_fd=descriptor).st_ino
                        os.rename(temporary, self._path.name, src_dir_fd=descriptor, dst_dir_fd=descriptor)
                except OSError:
                    os.unlink(temporary, dir_fd=descriptor)
                    raise
        except OSError:
            made.close()
            raise
        self._listening = made

    def _accept(self) -> None:
        while (listening := self._listening) is not None:
            try:
                connection, _ = listening.accept()
            except OSError:
                if self._listening is None:
                    return
                # Out of descriptors, or the client is gone already: not a reason to spin.
                time.sleep(0.1)
                continue
            if not self._admit(connection):
                connection.close()
                continue
            threading.Thread(
                target=self._serve, args=(connection,), name="control-asked", daemon=True
            ).start()

    def _admit(self, connection: socket.socket) -> bool:
        """Take up a connection, and let go of another one where there are too many."""
        with contextlib.suppress(OSError):
            _, uid = peer_of(connection)
            if uid not in (0, self._own):
                log.info("the control socket was asked by user %d, who is not answered", uid)
                return False
            with self._lock:
                if len(self._open) >= CONNECTIONS:
                    silent = {each: since for each, since in self._open.items() if since is not None}
                    if not silent:
                        return False
                    longest = min(silent, key=lambda each: silent[each])
                    del self._open[longest]
                    longest.shutdown(socket.SHUT_RDWR)
                self._open[connection] = time.monotonic()
            return True
        return False

    def _serve(self, connection: socket.socket) -> None:
        """Answer one client until it goes, breaks a rule, or the mount ends."""
        try:
            with contextlib.suppress(OSError):
                rest = b""
                while True:
                    line, rest = _line(connection, rest)
                    if line is None:
                        return
                    self._mark(connection, None)
                    answer = json.dumps(self._answer(line), ensure_ascii=True).encode() + b"\n"
                    connection.settimeout(PROMPT)
                    connection.sendall(answer)
                    self._mark(connection, time.monotonic())
        finally:
            with self._lock:
                self._open.pop(connection, None)
            connection.close()

    def _mark(self, connection: socket.socket, since: float | None) -> None:
        with self._lock:
            if connection in self._open:
                self._open[connection] = since

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            asked = json.loads(line)
            name = asked.pop("ask")
            handler = self._handlers[name]
        except (ValueError, RecursionError, AttributeError):
            return {"error": "not a question: a line of JSON is wanted, with `ask`"}
        except (KeyError, TypeError):
            return {
                "error": f"not a question that this mount knows; it knows {', '.join(sorted(self._handlers))}"
            }
        try:
            return {"ok": handler(asked)}
        except KallglotError as error:
            return {"error": " ".join(str(error).split())}
        except Exception:
            log.exception("control: %s: unexpected failure", name)
            return {"error": "an unexpected failure; the mount's log has it"}


def _line(connection: socket.socket, rest: bytes) -> tuple[bytes | None, bytes]:
    """Receive a line.

    Args:
        connection: from whom.
        rest: what has come already.

    Returns:
        The line, None where there is none any more or it breaks a rule; and what came behind it.

    Raises:
        OSError: it does not come, or not in time.
    """
    ends = time.monotonic() + (PROMPT if rest else IDLE)
    received = bytearray(rest)
    while b"\n" not in received:
        if len(received) > LONGEST:
            connection.settimeout(PROMPT)
            connection.sendall(b'{"error": "the question is too long"}\n')
            return None, b""
        connection.settimeout(max(0.001, ends - time.monotonic()))
        more = connection.recv(65536)
        if not more:
            return None, b""
        if not received:
            ends = time.monotonic() + PROMPT
        received += more
    line, _, rest = bytes(received).partition(b"\n")
    return line, rest
