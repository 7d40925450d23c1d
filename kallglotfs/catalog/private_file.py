"""A file that only its owner can reach: what is known of calls is personal.

User: `database.py`.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from kallglotfs.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def make_private(path: Path) -> int:
    """Make a file and its directory private, refusing what is not ours.

    A file that exists is not opened: closing it would drop the locks that SQLite holds on it in this
    process (fcntl(2), "Advisory record locking").

    Returns:
        The file's inode number.

    Raises:
        ConfigError: the directory is a link, another user's or open to everybody, or cannot be made.
    """
    folder = path.parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_folder(folder)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise ConfigError(f"state_dir: {path}: must be a file of your own")
        # SQLite gives -wal and -shm the same mode.
        if stat.S_IMODE(found.st_mode) != 0o600:  # noqa: PLR2004 - read and write for the owner
            path.chmod(0o600)
    except OSError as error:
        raise ConfigError(f"state_dir: {error.filename or folder}: {error.strerror}") from None
    return found.st_ino


def check_folder(folder: Path) -> None:
    """Make sure that a directory is fit to hold what is private.

    Raises:
        ConfigError: it is a link, another user's or open to everybody.
        OSError: it cannot be looked at.
    """
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise ConfigError(f"state_dir: {folder}: must be a directory of your own, and no link")
    if found.st_mode & stat.S_IWOTH:
        raise ConfigError(f"state_dir: {folder}: everybody may write to it; run chmod 700 {folder}")
