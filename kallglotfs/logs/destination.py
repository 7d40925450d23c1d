"""Where the log goes, and how that is changed while it is written.

Users: the commands set it up; a reload changes it.

Threading: `apply` may be called on any thread; no line is lost meanwhile.
"""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from kallglotfs.logs.files import FileHandler
from kallglotfs.logs.formats import BARE, JSON, PLAIN, SYSLOG, TEXT, JsonFormatter, TextFormatter
from kallglotfs.logs.repeats import Repeats

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Where syslog listens.
SYSLOG_SOCKET = Path("/dev/log")
#: The logger of what somebody has asked for: its lines are written whatever `log_level` says.
ASKED_FOR = "kallglotfs.asked_for"


class Log:
    """The log of this process.

    Args:
        stderr: where a foreground mount logs; None in the background, which logs to syslog.
        mount: the mount point that lines tell along; "" for none.
    """

    def __init__(self, stderr: TextIO | None, mount: str = "") -> None:
        self._stderr = stderr
        self._mount = mount
        self._repeats: Repeats | None = None
        self._as_json = False

    @property
    def as_json(self) -> bool:
        """Whether lines are JSON."""
        return self._as_json

    def apply(self, level: str, log_file: Path | None, log_format: str) -> None:
        """Send the package's log where it belongs. A file is opened anew, which may have been rotated.

        Args:
            level: debug, info, warning or error.
            log_file: a file, created 0600; goes before everything else. Another user's is refused.
            log_format: text or json.

        Raises:
            OSError: the file cannot be opened; then nothing is changed.
        """
        handler = self._handler(log_file, log_format == JSON)
        root = logging.getLogger()
        if self._repeats is None:
            # A log that cannot be written is no reason to print tracebacks where a user looks.
            logging.raiseExceptions = False
            # Suspended or not: the log is told by who is awake.
            self._repeats = Repeats(handler, time.monotonic)
            root.handlers[:] = [self._repeats]
            root.setLevel(logging.WARNING)
        else:
            self._repeats.redirect(handler)
        self._as_json = log_format == JSON
        logging.getLogger("kallglotfs").setLevel(level.upper())
        logging.getLogger(ASKED_FOR).setLevel(logging.INFO)

    def _handler(self, log_file: Path | None, as_json: bool) -> logging.Handler:  # noqa: FBT001 - one user
        handler: logging.Handler
        layout, prefixed = PLAIN, False
        mount = self._mount if as_json else ""
        if log_file is not None:
            handler = FileHandler(log_file)
        elif self._stderr is not None:
            handler = logging.StreamHandler(self._stderr)
            if is_journal(self._stderr, os.environ):
                layout, prefixed = BARE, True
        elif SYSLOG_SOCKET.exists():
            handler = logging.handlers.SysLogHandler(
                str(SYSLOG_SOCKET), logging.handlers.SysLogHandler.LOG_DAEMON
            )
            layout, mount = SYSLOG, self._mount
            if as_json:
                handler.ident = f"kallglotfs[{os.getpid()}]: "
        else:
            handler = logging.NullHandler()
        handler.setFormatter(
            JsonFormatter(prefixed=prefixed, mount=mount)
            if as_json
            else TextFormatter(layout, prefixed=prefixed, mount=mount)
        )
        return handler


def configure(
    level: str, log_file: Path | None, stderr: TextIO | None, log_format: str = TEXT, mount: str = ""
) -> Log:
    """Send the package's log where it belongs, and return it. Arguments and errors: as `Log`."""
    log = Log(stderr, mount)
    log.apply(level, log_file, log_format)
    return log


def is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Tell whether a stream leads to systemd's journal.

    systemd says in `JOURNAL_STREAM` which device and inode its stream has (systemd.exec(5)): the variable
    alone means nothing, since it is inherited by who writes elsewhere.
    """
    # A stream that is no file raises an OSError as well.
    with contextlib.suppress(OSError):
        found = os.fstat(stream.fileno())
        return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"
    return False
