"""The log file: opened with care, since it may stand where everybody may write."""

from __future__ import annotations

import errno
import logging
import os
import stat
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from pathlib import Path


class FileHandler(logging.StreamHandler[TextIO]):
    """Writes to a file; the library's own handler would open the path once more, as it likes.

    Args:
        path: the file, created 0600. It is closed with the handler.

    Raises:
        OSError: it cannot be opened, or is somebody else's.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(os.fdopen(_open(path), "a", encoding="utf-8", errors="backslashreplace"))

    def close(self) -> None:
        """Close the file."""
        self.acquire()
        try:
            self.stream.close()
            super().close()
        finally:
            self.release()


def _open(path: Path) -> int:
    """Open a log file to append to, private where it is new.

    A directory that everybody may write to, such as `/tmp`, may hold a link or a file that somebody has put
    there for us: to have us write into another file, or to read what we write. A link of our own or root's,
    `/dev/stderr` say, is followed.

    Raises:
        OSError: it cannot be opened, or is somebody else's.
    """
    # Not blocking: a FIFO without a reader is refused, not waited for.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    ours = (0, os.geteuid())
    try:
        file = os.open(path, flags | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        if path.lstat().st_uid not in ours:
            raise PermissionError(errno.EPERM, "is another user's link", path) from None
        file = os.open(path, flags, 0o600)
    found = os.fstat(file)
    if stat.S_ISREG(found.st_mode) and found.st_uid not in ours:
        os.close(file)
        raise PermissionError(errno.EPERM, "belongs to another user", path)
    os.set_blocking(file, True)
    return file
