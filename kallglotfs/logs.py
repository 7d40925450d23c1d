"""Where the log goes, and the last guard against secrets in it.

Nothing in this package formats a key or a signed URL. The formatter still blanks whatever looks like one,
since libraries' texts pass through here as well.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import re
from pathlib import Path
from typing import TextIO

#: Where syslog listens.
SYSLOG = Path("/dev/log")

_SECRETS = re.compile(
    r"(?i)(\bsk_(?:live|test)_|\bbearer\s+|[?&;][\w-]*(?:sig|signature|token|credential|expires|policy|key)[\w-]*=)"
    r"[^\s&'\"<>)\]}]+"
)


class RedactingFormatter(logging.Formatter):
    """Formats records, with everything blanked that looks like a key or a signature."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one text without secrets and without control characters but line ends."""
        return redact(super().format(record))


def redact(text: str) -> str:
    """Return `text` with keys and signatures blanked."""
    return _SECRETS.sub(r"\1****", text)


def configure(level: str, log_file: Path | None, stderr: TextIO | None) -> None:
    """Send the package's log where it belongs.

    Args:
        level: debug, info, warning or error.
        log_file: a file, created 0600; goes before everything else.
        stderr: where a foreground mount logs; None in the background, which logs to syslog.

    Raises:
        OSError: the file cannot be opened.
    """
    handler: logging.Handler
    layout = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    if log_file is not None:
        # Made private before anything is written to it.
        # Not blocking: a FIFO without a reader is refused, not waited for.
        os.close(os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600))
        handler = logging.FileHandler(log_file, encoding="utf-8", errors="backslashreplace")
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
