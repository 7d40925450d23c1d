"""Finds running mounts and asks them.

Used by the commands. Nothing here waits longer than it was told to, and nothing touches a mount but in a
process of its own (`mountpoint.probe`): a daemon that hangs must not take the one who asks along. That is a
fork, so this is not for processes with threads.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from kallglotfs.control import places
from kallglotfs.control.conversation import PATIENCE, Conversation, Running, connected, gone, mend
from kallglotfs.control.server import peer_of
from kallglotfs.errors import DaemonGone, DaemonSilent, KallglotError, NoSuchMount
from kallglotfs.mountpoint import KIND, is_dead, mounted_at, mounts_of

__all__ = ["PATIENCE", "Conversation", "Running", "ask", "dead", "find", "mend", "running"]

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from kallglotfs.mountpoint import Mounted

#: Seconds for the name of a mount that only its daemon can tell.
INTRODUCTION = 1.0
#: Seconds for finding all mounts, and daemons that are met at one time.
SEARCH, AT_ONCE = 3.0, 32
#: Sockets that are looked at of one user who is not the one asking.
FOREIGN = 64


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
        lost = "".join(f"; {each} is dead, {mend(each)}" for each in dead())
        raise NoSuchMount(f"{mount_point}: no mount of kallglotfs there (mounted: {others}{lost})")
    if is_dead(mount_point):
        raise gone(mount_point)
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


def _peer(path: Path, timeout: float = INTRODUCTION) -> tuple[int, int] | None:
    """Return process and user of a daemon; the kernel tells, so that one which hangs has them too."""
    try:
        with connected(path, str(path), timeout) as connection:
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
