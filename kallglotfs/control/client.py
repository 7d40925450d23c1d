"""Finds running mounts and asks them.

Used by the commands. Nothing here waits longer than it was told to, and nothing touches a mount but in a
process of its own (`mountpoint.probe`): a daemon that hangs must not take the one who asks along. That is a
fork, so this is not for processes with threads.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from kallglotfs.control import places
from kallglotfs.control.server import peer_of
from kallglotfs.errors import AskRefused, DaemonGone, DaemonSilent, KallglotError, NoSuchMount
from kallglotfs.mountpoint import KIND, is_dead, mounted_at, mounts_of

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from kallglotfs.mountpoint import Mounted

#: Seconds an answer may take.
PATIENCE = 5.0
#: Seconds for the name of a mount that only its daemon can tell.
INTRODUCTION = 1.0
#: Seconds for finding all mounts, and daemons that are met at one time.
SEARCH, AT_ONCE = 3.0, 32
#: Sockets that are looked at of one user who is not the one asking.
FOREIGN = 64
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
        self._socket = _connected(running.socket, self._name, timeout)

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
            raise _gone(self._name) from None
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


def running(mount_points: Collection[str] = ()) -> list[Running]:
    """Return the mounts whose daemons listen and whom this user may ask, by mount point.

    Takes `SEARCH` seconds at most, however many say nothing. Sockets of daemons that were killed are removed
    on the way.

    Args:
        mount_points: which, absolute, as the kernel names them; none for all there are.
    """
    wanted = {places.name_of(each) for each in mount_points}
    known = {places.name_of(each.path): each for each in mounts_of(KIND)}
    listening = [each for each in _listening(known) if not wanted or each.name in wanted]
    if not listening:
        return []
    # Whom the kernel names needs no introduction, so those come first.
    listening.sort(key=lambda each: each.name not in known)
    ends = time.monotonic() + SEARCH
    # Joined at the end: callers may fork then.
    with ThreadPoolExecutor(min(AT_ONCE, len(listening))) as pool:
        found = pool.map(lambda each: _met(each, known.get(each.name), ends), listening)
    return sorted((each for each in found if each is not None), key=lambda each: each.mount_point)


def _listening(known: Collection[str]) -> list[Path]:
    """Return all sockets, of one stranger no more than `FOREIGN`: those of known mounts first."""
    found: list[Path] = []
    foreign: dict[int, int] = {}
    for folder in places.searched():
        places.clear(folder)
        there = places.sockets(folder)
        try:
            owner = folder.lstat().st_uid
        except OSError:
            continue
        if owner != os.geteuid():
            there.sort(key=lambda each: each.name not in known)
            there = there[: max(0, FOREIGN - foreign.get(owner, 0))]
            foreign[owner] = foreign.get(owner, 0) + len(there)
        found += there
    return found


def _met(path: Path, mounted: Mounted | None, ends: float) -> Running | None:
    """Return who listens at a socket; None for nobody, and for who is not vouched for."""
    left = min(INTRODUCTION, ends - time.monotonic())
    peer = _peer(path, left) if left > 0 else _owner(path)
    if peer is None:
        return None
    pid, uid = peer
    if mounted is not None:
        # Whoever made the mount, or root's directory, vouches for the daemon: to root, any user could pass
        # for any mount.
        if uid == mounted.uid or places.is_system(path.parent):
            return Running(mounted.path, mounted.source, pid, uid, path)
        return None
    # Of another mount namespace, or detached: only the daemon knows.
    unknown = Running("", "", pid, uid, path)
    left = min(INTRODUCTION, ends - time.monotonic())
    return _introduced(unknown, left) if left > 0 else unknown


def dead() -> list[str]:
    """Return the mounts of ours that have lost their daemon; asks each, for a bounded time."""
    return [each.path for each in mounts_of(KIND) if is_dead(each.path)]


def find(mount_point: str) -> Running:
    """Return a running mount.

    Args:
        mount_point: absolute, as the kernel names it (`mountpoint.resolved`).

    Raises:
        NoSuchMount: there is none, or none that this user may ask.
        DaemonGone: the mount is there and its daemon is not.
    """
    for each in running([mount_point]):
        if each.mount_point == mount_point:
            return each
    mounted = mounted_at(mount_point)
    if mounted is None or mounted.kind != KIND:
        mounts = running()
        others = ", ".join(each.mount_point for each in mounts if each.mount_point) or "none is to be seen"
        gone = "".join(f"; {each} is dead, {mend(each)}" for each in dead())
        raise NoSuchMount(f"{mount_point}: no mount of kallglotfs there (mounted: {others}{gone})")
    if is_dead(mount_point):
        raise _gone(mount_point)
    raise NoSuchMount(
        f"{mount_point}: mounted, but with no control socket that user {os.geteuid()} may use; "
        "ask as root or as the user who mounted it, or see the mount's log"
    )


def ask(
    mount_point: str, name: str, arguments: dict[str, Any] | None = None, timeout: float = PATIENCE
) -> dict[str, Any]:
    """Ask a mount one question.

    Args:
        mount_point: absolute, as the kernel names it (`mountpoint.resolved`).
        name: which question.
        arguments: its arguments; what JSON takes.
        timeout: seconds the answer may take.

    Raises:
        NoSuchMount: there is no such mount, or none that this user may ask.
        DaemonGone: the mount is there and its daemon is not.
        DaemonSilent: no answer came in time.
        AskRefused: the daemon's answer is that it cannot.
    """
    with Conversation(find(mount_point), timeout) as conversation:
        return conversation.ask(name, arguments)


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


def _gone(mount_point: str) -> DaemonGone:
    mounted = mounted_at(mount_point)
    if mounted is None or mounted.kind != KIND:
        return DaemonGone(f"{mount_point}: the daemon has ended, and nothing is mounted there any more")
    return DaemonGone(f"{mount_point}: the daemon is gone; {mend(mount_point)}")


def _connected(path: Path, name: str, timeout: float) -> socket.socket:
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
        raise _gone(name) from None
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


def _peer(path: Path, timeout: float = INTRODUCTION) -> tuple[int, int] | None:
    """Return process and user of a daemon; the kernel tells, so that one which hangs has them too."""
    try:
        with _connected(path, str(path), timeout) as connection:
            return peer_of(connection)
    except DaemonSilent:
        # Stopped, and asked so often since that the kernel takes no more.
        return _owner(path)
    except (OSError, DaemonGone):
        return None


def _owner(path: Path) -> tuple[int, int] | None:
    try:
        return 0, path.lstat().st_uid
    except OSError:
        return None


def _introduced(unknown: Running, timeout: float) -> Running:
    try:
        with Conversation(unknown, timeout) as conversation:
            told = conversation.ask("hello")
        if places.name_of(str(told["mount_point"])) != unknown.socket.name:
            return unknown
        return Running(
            str(told["mount_point"]), str(told["profile"]), unknown.pid, unknown.uid, unknown.socket
        )
    except (KallglotError, KeyError, ValueError):
        return unknown
