"""The mount point: may we mount there, and what stands there now."""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from kallglotfs.errors import MountError

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
    for line in mountinfo.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        where = _unescape(before.split(" ")[4])
        if where == path:
            kind, source, *_ = after.split(" ")
            found = Mounted(where, kind, _unescape(source))
    return found


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
                raise MountError(f"{path}: does not exist; create it with: mkdir -p {path}") from None
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
