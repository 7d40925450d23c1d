"""Taking mounts down: by the kernel as root, by fusermount3 as anybody else; and those whose daemon has died.

Used by the commands, and by `mount.py` where a mount does not end by itself.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import shutil
import subprocess
from typing import Any

from kallglotfs.errors import MountError
from kallglotfs.mountpoint import KIND, is_dead, mounts_at

log = logging.getLogger(__name__)

#: umount2(2).
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8
#: Seconds fusermount3 may take.
PATIENCE = 10.0


def unmount(path: str, *, lazy: bool) -> None:
    """Take the topmost mount at `path` down.

    Args:
        path: as the kernel names it.
        lazy: detach now, end with the last open file.

    Raises:
        MountError: it stays; the message says why.
    """
    if os.geteuid() == 0:
        library: Any = ctypes.CDLL(None, use_errno=True)
        flags = _UMOUNT_NOFOLLOW | (_MNT_DETACH if lazy else 0)
        if library.umount2(os.fsencode(path), flags) == 0:
            return
        number = ctypes.get_errno()
        if number != errno.EPERM:
            raise MountError(f"{path}: {os.strerror(number)}")
        # Root of a container may lack the right, and have a fusermount3 that works all the same.
    program = shutil.which("fusermount3") or shutil.which("fusermount") or "fusermount3"
    command = [program, "-u", *(["-z"] if lazy else []), "--", path]
    try:
        result = subprocess.run(  # noqa: S603 - no shell
            command, capture_output=True, text=True, errors="replace", check=False, timeout=PATIENCE
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MountError(f"{path}: {program}: {getattr(error, 'strerror', None) or 'no end'}") from None
    if result.returncode:
        raise MountError((result.stderr.strip().splitlines() or [f"{path}: {program} failed"])[-1].strip())


def clear_dead(path: str) -> None:
    """Detach what daemons of ours that were killed have left at `path`, also several on top of each other.

    Args:
        path: as the kernel names it; what is there is ours and dead, as `check_mount_point` found.

    Raises:
        MountError: one stays.
    """
    cleared = 0
    while (found := mounts_at(path)) and found[-1].kind == KIND and is_dead(path):
        unmount(path, lazy=True)
        if len(mounts_at(path)) >= len(found):
            raise MountError(f"{path}: a dead mount is in the way and cannot be cleared")
        cleared += 1
    if cleared:
        log.warning("%s: cleared what a daemon that died has left there (mounts: %d)", path, cleared)
