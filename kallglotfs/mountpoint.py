"""The mount point: may we mount there, and what stands there now."""

from __future__ import annotations

import errno
import os
import re
import select
import shlex
import signal
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from kallglotfs.errors import MountError

#: What mounts of ours are called.
KIND = "fuse.kallglotfs"
#: What a mount has lost its daemon with: ended, or the connection was aborted.
DEAD = (errno.ENOTCONN, errno.ECONNABORTED)
#: Seconds a mount gets to answer whether it is alive.
ANSWER = 5.0
#: Which fields of a line of mountinfo are the device number and the mount point.
DEVICE, WHERE = 2, 4
#: Which field behind the dash holds the filesystem's own options.
OWN = 2
MOUNTINFO = Path("/proc/self/mountinfo")


@dataclass(frozen=True, slots=True)
class Mounted:
    """One line of mountinfo: where, what type, from what source, on which device.

    Attributes:
        uid: of who mounted it, as FUSE tells (fuse(4), `user_id`); None for other filesystems.
        gid: likewise.
    """

    path: str
    kind: str
    source: str
    device: int
    uid: int | None = None
    gid: int | None = None


def mounts_at(path: str, mountinfo: Path = MOUNTINFO) -> list[Mounted]:
    """Return the mounts at exactly `path`, the topmost last. Touches no filesystem.

    Format: proc(5), `/proc/pid/mountinfo`.
    """
    return [each for each in _all_mounts(mountinfo) if each.path == path]


def mounts_of(kind: str, mountinfo: Path = MOUNTINFO) -> list[Mounted]:
    """Return the mounts of a type that are on top at their place, by path. Touches no filesystem."""
    topmost = {each.path: each for each in _all_mounts(mountinfo)}
    return sorted((each for each in topmost.values() if each.kind == kind), key=lambda each: each.path)


def mounted_at(path: str, mountinfo: Path = MOUNTINFO) -> Mounted | None:
    """Return the topmost mount at exactly `path`, None when there is none. Touches no filesystem."""
    found = mounts_at(path, mountinfo)
    return found[-1] if found else None


def resolved(path: str) -> str:
    """Return a mount point as the kernel names it, without touching what is mounted there.

    Args:
        path: as the user wrote it.

    Raises:
        MountError: it is relative, and the working directory is gone.
    """
    try:
        folder, name = os.path.split(os.path.abspath(path))  # noqa: PTH100 - links are for the next line
        mount_point = os.path.join(os.path.realpath(folder), name)  # noqa: PTH118
        # A link is followed, a mount is not looked at: its daemon may be stopped.
        return mount_point if mounted_at(mount_point) else os.path.realpath(mount_point)
    except OSError as error:
        raise MountError(f"{path}: {error.strerror}") from None


def check_mount_point(path: str) -> bool:
    """Make sure that a mount can be made at `path`.

    Args:
        path: absolute, symbolic links resolved.

    Returns:
        Whether a dead mount of ours has to be cleared before.

    Raises:
        MountError: it is missing, no directory, or in use; the message says what to do.
    """
    found = mounted_at(path)
    if found is None:
        _check_directory(path)
        return False
    if found.kind == "autofs":
        return False
    shown = shlex.quote(path)
    match probe(path):
        case number if number in DEAD:
            if found.kind == KIND:
                return True
            command = "umount -l" if os.geteuid() == 0 else "fusermount3 -uz"
            raise MountError(
                f"{path}: a dead mount ({found.kind}) is in the way; clear it with: {command} {shown}"
            )
        case None:
            raise MountError(
                f"{path}: in use, {found.source} ({found.kind}) is mounted there and does not answer; "
                f"unmount it first with: kallglotfs umount --lazy {shown}"
            )
    raise MountError(
        f"{path}: in use, {found.source} ({found.kind}) is mounted there; "
        f"unmount it first with: kallglotfs umount {shown}"
    )


def probe(path: str, seconds: float = ANSWER) -> int | None:
    """Ask what is mounted at `path` for an answer.

    A process of its own asks: who waits for a daemon that hangs cannot be interrupted, and a daemon that is
    killed while it waits for itself is never gone. It is a fork, so not for processes with threads.

    Args:
        path: absolute.
        seconds: how long to wait.

    Returns:
        The errno of the answer, 0 for a good one; None when none came in time.
    """
    asking = os.fork()
    if asking == 0:
        _ask(path)
    watched = os.pidfd_open(asking)
    try:
        if select.select([watched], [], [], seconds)[0]:
            return os.waitstatus_to_exitcode(os.waitpid(asking, 0)[1])
        # Not waited for: it may be in the kernel's hands as long as the daemon hangs.
        os.kill(asking, signal.SIGKILL)
        return None
    finally:
        os.close(watched)


def _ask(path: str) -> NoReturn:
    try:
        mounted = mounted_at(path)
        if os.geteuid() == 0 and mounted is not None and mounted.uid and mounted.gid is not None:
            # The kernel answers others, root as well, by itself, whether the daemon lives or not.
            os.setgroups(())
            os.setgid(mounted.gid)
            os.setuid(mounted.uid)
        os.statvfs(path)
    except OSError as error:
        os._exit(error.errno or errno.EIO)
    finally:
        os._exit(0)


def is_dead(path: str) -> bool:
    """Tell whether the mount at `path` has lost its daemon."""
    return probe(path) in DEAD


def _check_directory(path: str) -> None:
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        raise MountError(f"{path}: does not exist; create it with: mkdir -p {shlex.quote(path)}") from None
    except OSError as error:
        raise MountError(f"{path}: {error.strerror}") from None
    if not stat.S_ISDIR(mode):
        raise MountError(f"{path}: not a directory; name a directory to mount on")


def _all_mounts(mountinfo: Path) -> list[Mounted]:
    found = []
    # Bytes: a path may hold what Python's `splitlines` takes for a line's end.
    for line in mountinfo.read_bytes().split(b"\n"):
        before, _, after = os.fsdecode(line).partition(" - ")
        fields, rest = before.split(" "), after.split(" ")
        if len(fields) > WHERE and len(rest) > 1:
            major, _, minor = fields[DEVICE].partition(":")
            device = os.makedev(int(major), int(minor))
            own = dict(each.partition("=")[::2] for each in rest[2].split(",")) if len(rest) > OWN else {}
            uid, gid = (
                int(own[name]) if own.get(name, "").isdecimal() else None for name in ("user_id", "group_id")
            )
            found.append(Mounted(_unescape(fields[WHERE]), rest[0], _unescape(rest[1]), device, uid, gid))
    return found


def _unescape(text: str) -> str:
    """Undo mountinfo's octal escapes of space, tab, newline and backslash."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
