"""How every mount is doing, also those that cannot tell: dead, hanging, and somebody else's.

Used by `kallglotfs status`. Forks first (`mountpoint.probe`) and starts threads after that.
"""

from __future__ import annotations

import os
import shlex
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kallglotfs.control.client import PATIENCE, Conversation, mend, running
from kallglotfs.errors import DaemonGone, DaemonSilent, KallglotError
from kallglotfs.mountpoint import KIND, is_dead, mounts_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kallglotfs.control.client import Running
    from kallglotfs.mountpoint import Mounted

#: Mounts asked at one time.
AT_ONCE = 64
#: What all may take together, as a multiple of what one may.
OVERALL = 2


class State(StrEnum):
    """How a mount is."""

    OK = "ok"
    #: The kernel has it, its daemon is gone.
    DEAD = "dead"
    #: The daemon is there and does not answer in time.
    SILENT = "silent"
    #: It is mounted, and this user may not ask.
    CLOSED = "closed"
    #: It answers with an error, such as one of another version does.
    ERROR = "error"
    #: Nothing of ours is mounted there.
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Found:
    """One mount.

    Attributes:
        mount_point: absolute; empty where only its daemon could tell and does not.
        profile: its source.
        state: how it is.
        pid: of the daemon; None where it is not known.
        uid: of the daemon, or of who mounted; None where it is not known.
        error: what is wrong, one line; empty where nothing is.
        advice: what to do about that, one line.
        status: what it tells of itself, None where it does not.
    """

    mount_point: str
    profile: str
    state: State
    pid: int | None = None
    uid: int | None = None
    error: str = ""
    advice: str = ""
    status: dict[str, Any] | None = None


def survey(mount_points: Iterable[str] = (), timeout: float = PATIENCE) -> list[Found]:
    """Ask mounts how they are.

    Args:
        mount_points: which, absolute, as the kernel names them; none for all there are.
        timeout: seconds each may take to answer; they are asked side by side, and all together take twice
            that at most, and what finding them takes (`client.SEARCH`).

    Returns:
        One for each mount, by mount point; of those that were named, also one for where there is none.
    """
    wanted = list(dict.fromkeys(mount_points))
    listening = [each for each in running(wanted) if not wanted or each.mount_point in wanted]
    # Those of the one who asks, and those with a name, do not wait for strangers'.
    listening.sort(key=lambda each: (not each.mount_point, each.uid not in (0, os.geteuid())))
    reached = {each.mount_point for each in listening}
    others = [each for each in mounts_of(KIND) if each.path not in reached]
    found = [_unreached(each) for each in others if not wanted or each.path in wanted]
    if listening:
        ends = time.monotonic() + OVERALL * timeout
        with ThreadPoolExecutor(min(AT_ONCE, len(listening))) as pool:
            found += pool.map(lambda each: _asked(each, min(timeout, ends - time.monotonic())), listening)
    seen = {each.mount_point for each in found}
    found += [
        Found(each, "", State.ABSENT, error="no mount of kallglotfs is there", advice=_how(each))
        for each in wanted
        if each not in seen
    ]
    return sorted(found, key=lambda each: each.mount_point)


def _asked(running: Running, timeout: float) -> Found:
    def wrong(state: State, error: KallglotError, advice: str) -> Found:
        # The line stands below the mount point, which need not begin it too.
        text = str(error).removeprefix(f"{running.mount_point}: ")
        return Found(running.mount_point, running.profile, state, pid, running.uid, text, advice)

    pid = running.pid or None
    if timeout <= 0:
        unasked = DaemonSilent("not asked, since too many others do not answer")
        return wrong(State.SILENT, unasked, "name it to ask it alone" if running.mount_point else "")
    try:
        with Conversation(running, timeout) as conversation:
            status = conversation.ask("status")
    except DaemonSilent as error:
        if not running.mount_point:
            return wrong(State.SILENT, error, f"see what user {running.uid} runs; what it is cannot be told")
        kill = f"kill -9 {pid}, then: " if pid and _runs_as(pid, running.uid) else ""
        clear = f"kallglotfs umount {shlex.quote(running.mount_point)}"
        return wrong(State.SILENT, error, f"it may be stopped (kill -CONT); if it stays so: {kill}{clear}")
    except DaemonGone as error:
        return wrong(State.DEAD, error, "")
    except KallglotError as error:
        return wrong(State.ERROR, error, "mount it again with the version that is installed now")
    return Found(running.mount_point, running.profile, State.OK, pid, running.uid, status=status)


def _runs_as(pid: int, uid: int) -> bool:
    """Tell whether a process is a user's: who began to listen may have ended, and its number be another's."""
    try:
        told = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except OSError:
        return False
    line = next((each for each in told.splitlines() if each.startswith("Uid:")), "")
    return str(uid) in line.split()[1:3]


def _unreached(mounted: Mounted) -> Found:
    path, profile, uid = mounted.path, mounted.source, mounted.uid
    if is_dead(path):
        return Found(path, profile, State.DEAD, None, uid, "the daemon is gone", mend(path))
    if uid is not None and os.geteuid() not in (0, uid):
        line = f"mounted by user {uid}, and told to that user and to root alone"
        return Found(path, profile, State.CLOSED, None, uid, line, "ask as root, or as that user")
    line = "mounted, but with no control socket that can be found from here"
    how = (
        "see its log"
        if uid == os.geteuid()
        else f"ask as user {uid}, whose session may keep it, or see its log"
    )
    return Found(path, profile, State.CLOSED, None, uid, line, how)


def _how(mount_point: str) -> str:
    return f"mount it with: kallglotfs mount {shlex.quote(mount_point)}"
