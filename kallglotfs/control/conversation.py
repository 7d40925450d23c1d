"""A connection to a daemon, and what may come over it.

Nothing here waits longer than it was told to, and no answer is believed to be well made.
"""

from __future__ import annotations

import json
import shlex
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from kallglotfs.control import places
from kallglotfs.control.server import peer_of
from kallglotfs.errors import AskRefused, DaemonGone, DaemonSilent
from kallglotfs.mountpoint import KIND, mounted_at

if TYPE_CHECKING:
    from pathlib import Path

#: Seconds an answer may take.
PATIENCE = 5.0
#: Seconds between two tries to be accepted.
TURN = 0.02
#: Bytes of an answer.
LONGEST = 32 * 1024 * 1024
#: Characters of a refusal.
MESSAGE = 500
#: The largest number an answer may hold: beyond, arithmetic fails or lasts.
LARGEST = 1 << 64


@dataclass(frozen=True, slots=True)
class Running:
    """A mount whose daemon listens, whether it answers or not.

    Attributes:
        mount_point: absolute; empty where only the daemon could tell and it does not answer.
        profile: its source; empty where that is so.
        pid: of the daemon; 0 where it is of another PID namespace.
        uid: of the daemon.
        socket: where to ask.
    """

    mount_point: str
    profile: str
    pid: int
    uid: int
    socket: Path


class Conversation:
    """A connection to a daemon, over which any number of questions is asked.

    Args:
        running: whom.
        timeout: seconds to connect, and for each answer.

    Raises:
        DaemonGone: nobody listens any more.
        DaemonSilent: it does not accept.
    """

    def __init__(self, running: Running, timeout: float = PATIENCE) -> None:
        self._name = running.mount_point or str(running.socket)
        self._pid = running.pid
        self._timeout = timeout
        self._rest = b""
        self._socket = connected(running.socket, self._name, timeout)

    def ask(self, name: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask a question and return the answer.

        Raises:
            DaemonGone: the connection broke.
            DaemonSilent: no answer came in time.
            AskRefused: the daemon's answer is that it cannot, in one line.
        """
        ends = time.monotonic() + self._timeout
        try:
            self._socket.settimeout(self._timeout)
            self._socket.sendall(json.dumps({**(arguments or {}), "ask": name}).encode() + b"\n")
            answer = _read(self._line(ends))
            if "error" in answer:
                raise AskRefused(f"{self._name}: {str(answer['error'])[:MESSAGE]}")
            ok = answer["ok"]
        except TimeoutError:
            raise self._silent() from None
        except OSError:
            raise gone(self._name) from None
        except (ValueError, KeyError, TypeError, RecursionError):
            raise AskRefused(
                f"{self._name}: an answer that cannot be read; is it of another version?"
            ) from None
        if not isinstance(ok, dict):
            raise AskRefused(f"{self._name}: an answer that cannot be read; is it of another version?")
        return ok

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _line(self, ends: float) -> bytes:
        received = bytearray(self._rest)
        while b"\n" not in received:
            if len(received) > LONGEST:
                raise ValueError("too long")
            left = ends - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            more = self._socket.recv(1 << 16)
            if not more:
                raise ConnectionResetError
            received += more
        line, _, self._rest = bytes(received).partition(b"\n")
        return line

    def _silent(self) -> DaemonSilent:
        who = f" (process {self._pid})" if self._pid else ""
        return DaemonSilent(f"{self._name}: the daemon{who} does not answer within {self._timeout:g} s")


def mend(mount_point: str) -> str:
    """Return how a dead mount is cleared."""
    return f"clear it with: kallglotfs umount {shlex.quote(mount_point)}"


def _read(line: bytes) -> Any:
    """Return what a line of JSON holds.

    Raises:
        ValueError: it is none, or holds a number that is none or too large.
        RecursionError: it is nested too deeply.
    """
    return json.loads(line, parse_constant=_number, parse_float=_number, parse_int=_count)


def _number(text: str) -> float:
    found = float(text)
    if not abs(found) <= LARGEST:
        raise ValueError("no number to reckon with")
    return found


def _count(text: str) -> int:
    found = int(text)
    if abs(found) > LARGEST:
        raise ValueError("no number to reckon with")
    return found


def gone(mount_point: str) -> DaemonGone:
    """Return the error for a mount whose daemon does not listen."""
    mounted = mounted_at(mount_point)
    if mounted is None or mounted.kind != KIND:
        return DaemonGone(f"{mount_point}: the daemon has ended, and nothing is mounted there any more")
    return DaemonGone(f"{mount_point}: the daemon is gone; {mend(mount_point)}")


def connected(path: Path, name: str, timeout: float) -> socket.socket:
    """Return a connection to a daemon.

    Args:
        path: of its socket.
        name: what it is called in an error.
        timeout: seconds it may take to accept.

    Raises:
        DaemonGone: nobody listens, or somebody else than the owner of the socket's directory.
        DaemonSilent: it does not accept.
    """
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with places.reached(path) as (address, owner):
            made.settimeout(timeout)
            _connect(made, address, time.monotonic() + timeout)
        if peer_of(made)[1] != owner and path.parent != places.SYSTEM:
            raise PermissionError
    except (TimeoutError, BlockingIOError):
        made.close()
        raise DaemonSilent(f"{name}: the daemon does not answer within {timeout:g} s") from None
    except OSError:
        made.close()
        raise gone(name) from None
    return made


def _connect(made: socket.socket, address: str, ends: float) -> None:
    while True:
        try:
            made.connect(address)
        except BlockingIOError:
            # More have come than were accepted so far: unix(7) does not wait then.
            if time.monotonic() >= ends:
                raise
            time.sleep(TURN)
        else:
            return
