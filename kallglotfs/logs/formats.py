"""What a line of the log looks like: as text or as JSON, with or without the journal's priorities.

Whatever the format, the last thing that is done to a text is to blank what looks like a secret in it.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kallglotfs.logs.fields import fields_of, pairs, safe, subjects_of
from kallglotfs.logs.redaction import escaped, lines_of, redact

if TYPE_CHECKING:
    from collections.abc import Iterable

TEXT, JSON = "text", "json"
#: What stands before every line of a log that belongs to the one above.
CONTINUED = "    | "
#: Layouts of a text: in a file or on a terminal; in the journal, which keeps time and priority; for syslog.
PLAIN = "%(asctime)s %(levelname)s %(name)s: %(message)s"
BARE = "%(name)s: %(message)s"
SYSLOG = "kallglotfs[%(process)d]: %(levelname)s %(name)s: %(message)s"
#: Characters of a traceback in JSON, its end: the journal cuts a line at 48 KiB (`LineMax=`).
MOST = 16_000
#: syslog's priorities (sd-daemon(3)), the most serious first.
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


def priority(level: int) -> int:
    """Return the priority by which syslog and the journal know a level."""
    return next((number for least, number in _PRIORITIES if level >= least), 7)


class TextFormatter(logging.Formatter):
    """Formats records as text: a line each, tracebacks below it.

    Args:
        layout: of the first line.
        prefixed: put the journal's priority before every line.
        mount: the mount point, told along where several mounts share a log; "" for not.
    """

    def __init__(self, layout: str = PLAIN, *, prefixed: bool = False, mount: str = "") -> None:
        super().__init__(layout)
        self._prefixed = prefixed
        self._mount = mount

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one text, which holds neither secrets nor control characters."""
        text = redact(super().format(record))
        return _prefixed(text.split("\n"), record.levelno) if self._prefixed else text

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the standard library's name
        """Return the first line: whatever the message holds, it stays one. Fields say what it does not."""
        fields = {
            name: value for name, value in fields_of(record).items() if not _is_said(value, record.message)
        }
        if self._mount and self._mount not in record.message:
            fields["mount"] = self._mount
        line = super().formatMessage(record)
        return escaped(f"{line} {pairs(fields)}" if fields else line)

    def formatException(self, ei: object) -> str:  # noqa: N802 - the standard library's name
        """Return a traceback that cannot be taken for lines of the log."""
        return _marked(super().formatException(ei))  # type: ignore[arg-type] # as it came

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - the standard library's name
        """Return a stack that cannot be taken for lines of the log."""
        return _marked(super().formatStack(stack_info))


class JsonFormatter(logging.Formatter):
    """Formats records as JSON: one object a line.

    Args:
        prefixed: put the journal's priority before every line.
        mount: the mount point; "" for none.
    """

    def __init__(self, *, prefixed: bool = False, mount: str = "") -> None:
        super().__init__()
        self._prefixed = prefixed
        self._mount = mount

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line, which holds neither secrets nor control characters."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        message = record.getMessage()
        entry = {
            "time": moment.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": message,
            **({"mount": self._mount} if self._mount else {}),
            **subjects_of(message),
            **fields_of(record),
        }
        # Values, not the line: blanking in there could take a quotation mark along.
        shown = safe(entry)
        if record.exc_info and record.exc_info[0] is not None:
            shown["traceback"] = _end(lines_of(self.formatException(record.exc_info)))
        if record.stack_info:
            shown["stack"] = _end(lines_of(record.stack_info))
        # All of ASCII: no mark of direction and no odd line end stands in the line itself.
        line = json.dumps(shown, ensure_ascii=True, separators=(", ", ": "))
        return _prefixed([line], record.levelno) if self._prefixed else line


def _is_said(value: object, message: str) -> bool:
    """Tell whether a message says a field's value anyway."""
    parts = value if isinstance(value, list | tuple) else (value,)
    return all(str(part) in message for part in parts)


def _end(lines: list[str]) -> str:
    return "\n".join(lines)[-MOST:]


def _prefixed(lines: Iterable[str], level: int) -> str:
    return "\n".join(f"<{priority(level)}>{line}" for line in lines)


def _marked(text: str) -> str:
    return "\n".join(CONTINUED + line for line in lines_of(text))
