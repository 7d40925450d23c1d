"""Where the log goes, and the last guard against secrets and forged lines in it.

Nothing in this package formats a key or a signed URL. The formatter still blanks whatever looks like one,
since libraries' texts pass through here as well. And whoever names a file or sends an answer gets no say in
what the log looks like: control characters, line ends and marks that turn the direction of writing are shown
as escapes, and every line of a traceback is marked as one.
"""

from __future__ import annotations

import errno
import logging
import logging.handlers
import os
import re
import stat
from pathlib import Path
from typing import TextIO

#: Where syslog listens.
SYSLOG = Path("/dev/log")

#: What stands before every line of a log that belongs to the one above.
CONTINUED = "    | "

# As such or with percent signs, as a URL inside another URL has them.
_EQUALS, _BETWEEN = r"(?:=|%3d)", r"(?:[?&;]|%3f|%26|%3b)"
_SECRETS = re.compile(
    rf"(?i)(\bsk_(?:live|test)_|\b(?:bearer|basic)(?:\s+|%20|\+)|x-api-key['\"]?\s*[:=,]\s*['\"]?"
    rf"|{_BETWEEN}[\w-]*?(?:sig|signature|token|credential|expires|policy|key)[\w-]*?{_EQUALS})"
    r"[^\s&'\"<>)\]}]+"
)


class RedactingFormatter(logging.Formatter):
    """Formats records: one line each, tracebacks below it, everything blanked that looks like a secret."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one text, which holds neither secrets nor control characters."""
        return redact(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the standard library's name
        """Return the first line: whatever the message holds, it stays one."""
        return escaped(super().formatMessage(record))

    def formatException(self, ei: object) -> str:  # noqa: N802 - the standard library's name
        """Return a traceback that cannot be taken for lines of the log."""
        return _marked(super().formatException(ei))  # type: ignore[arg-type] # as it came

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - the standard library's name
        """Return a stack that cannot be taken for lines of the log."""
        return _marked(super().formatStack(stack_info))


class _FileHandler(logging.StreamHandler[TextIO]):
    """Writes to a descriptor; the library's own handler would open the path once more, as it likes.

    Args:
        file: the descriptor, closed with the handler.
    """

    def __init__(self, file: int) -> None:
        super().__init__(os.fdopen(file, "a", encoding="utf-8", errors="backslashreplace"))

    def close(self) -> None:
        """Close the file."""
        self.acquire()
        try:
            self.stream.close()
            super().close()
        finally:
            self.release()


def escaped(text: str) -> str:
    """Return `text` with everything escaped that does not show as itself: control characters, bidi marks."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def redact(text: str) -> str:
    """Return `text` with keys and signatures blanked."""
    return _SECRETS.sub(r"\1****", text)


def _marked(text: str) -> str:
    # Not `splitlines`, which also splits at characters that no log is split at.
    return "\n".join(CONTINUED + escaped(line) for line in text.split("\n"))


def configure(level: str, log_file: Path | None, stderr: TextIO | None) -> None:
    """Send the package's log where it belongs.

    Args:
        level: debug, info, warning or error.
        log_file: a file, created 0600; goes before everything else. Another user's file or link is refused.
        stderr: where a foreground mount logs; None in the background, which logs to syslog.

    Raises:
        OSError: the file cannot be opened.
    """
    handler: logging.Handler
    layout = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    if log_file is not None:
        handler = _FileHandler(_open_log(log_file))
    elif stderr is not None:
        handler = logging.StreamHandler(stderr)
    elif SYSLOG.exists():
        handler = logging.handlers.SysLogHandler(str(SYSLOG), logging.handlers.SysLogHandler.LOG_DAEMON)
        layout = f"kallglotfs[{os.getpid()}]: %(levelname)s %(name)s: %(message)s"
    else:
        handler = logging.NullHandler()
    handler.setFormatter(RedactingFormatter(layout))
    # A log that cannot be written is no reason to print tracebacks where a user looks.
    logging.raiseExceptions = False
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("kallglotfs").setLevel(level.upper())


def _open_log(path: Path) -> int:
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
