"""The mount point: may we mount there, and what stands there now."""

from __future__ import annotations

import errno
import os
import re
import shlex
import stat
from dataclasses import dataclass
from pathlib import Path

from kallglotfs.errors import MountError

#: Which field of a line of mountinfo is the mount point.
WHERE = 4
MOUNTINFO = Path("/proc/self/mountinfo")


@dataclass(frozen=True, slots=True)
class Mounted:
    """One line of mountinfo: where, what type, from what source."""

    path: str
    kind: str
    source: str


def mounted_at(path: str, mountinfo: Path = MOUNTINFO) -> Mounted | None:
    """Return the topmost mount at exactly `path`, None when there is none. Touches no filesystem.

    Format: proc(5), `/proc/pid/mountinfo`.
    """
    found = None
    # Bytes: a path may hold what Python's `splitlines` takes for a line's end.
    for line in mountinfo.read_bytes().split(b"\n"):
        before, _, after = os.fsdecode(line).partition(" - ")
        fields, rest = before.split(" "), after.split(" ")
        if len(fields) > WHERE and len(rest) > 1 and _unescape(fields[WHERE]) == path:
            found = Mounted(path, rest[0], _unescape(rest[1]))
    return found


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


def check_mount_point(path: str) -> None:
    """Make sure that a mount can be made at `path`.

    Args:
        path: absolute, symbolic links resolved.

    Raises:
        MountError: it is missing, no directory, dead, or in use; the message says what to do.
    """
    found = mounted_at(path)
    if found is not None and found.kind == "autofs":
        return
    try:
        mode = Path(path).stat().st_mode
        if found is not None:
            # A dead mount's root may still be stat-ed from the kernel's cache for a second.
            os.statvfs(path)
    except OSError as error:
        match error.errno:
            case errno.ENOENT:
                raise MountError(
                    f"{path}: does not exist; create it with: mkdir -p {shlex.quote(path)}"
                ) from None
            case errno.ENOTCONN | errno.ECONNABORTED:
                raise MountError(
                    f"{path}: a dead mount is in the way; clear it with: kallglotfs umount {path}"
                ) from None
            case _:
                raise MountError(f"{path}: {error.strerror}") from None
    if found is not None:
        raise MountError(
            f"{path}: in use, {found.source} ({found.kind}) is mounted there; "
            f"unmount it first with: kallglotfs umount {path}"
        )
    if not stat.S_ISDIR(mode):
        raise MountError(f"{path}: not a directory; name a directory to mount on")


def is_dead(path: str) -> bool:
    """Tell whether the mount at `path` has lost its daemon."""
    try:
        os.statvfs(path)
    except OSError as error:
        return error.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    return False


def _unescape(text: str) -> str:
    """Undo mountinfo's octal escapes of space, tab, newline and backslash."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
