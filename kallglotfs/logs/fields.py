"""What a line of the log tells besides its message: names and values, from the `extra` of the log call.

Only the names of this table are taken, so that who reads the log by program knows what to expect.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from kallglotfs.logs.redaction import escaped, redact

if TYPE_CHECKING:
    import logging

#: The names, in the order in which they are shown. They mean: the recording or session it is about; the call
#: that failed, and how; the source of recordings; the settings that changed, or that need a remount; how
#: often an event was repeated in how many seconds; the state of the mount.
NAMES = (
    "recording",
    "session",
    "call",
    "errno",
    "source",
    "changed",
    "remount",
    "repeated",
    "seconds",
    "status",
)
#: A recording or session in a message.
_SUBJECT = re.compile(r"(rec|sess)_[A-Za-z0-9]+")
#: Values that need no quotes in a text.
_PLAIN = re.compile(r"[\w.:/@+,-]+")


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields of a record that have a value."""
    return {
        name: record.__dict__[name] for name in NAMES if record.__dict__.get(name) not in (None, "", (), [])
    }


def subjects_of(message: str) -> dict[str, str]:
    """Return which recording and which session a message is about: the first of each that it names."""
    found: dict[str, str] = {}
    for match in _SUBJECT.finditer(message):
        found.setdefault("session" if match[1] == "sess" else "recording", match[0])
    return found


def pairs(fields: dict[str, Any]) -> str:
    """Return fields as `name=value`, joined by spaces; what stands below a name is told with dots."""
    # Redacted before they are quoted: backslashes could hide what a secret looks like.
    return " ".join(f"{name}={_shown(value)}" for name, value in _flat(safe(fields)))


def safe(value: Any) -> Any:
    """Return a value for JSON; every text in it, at any depth, is redacted and without control characters."""
    if value is None or isinstance(value, bool | int | float):
        # Infinity and NaN are no JSON.
        return value if not isinstance(value, float) or abs(value) < float("inf") else str(value)
    if isinstance(value, dict):
        return {redact(escaped(str(name))): safe(each) for name, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [safe(each) for each in value]
    return redact(escaped(str(value)))


def _flat(fields: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in fields.items():
        if isinstance(value, dict):
            found += _flat(value, f"{prefix}{name}.")
        else:
            found.append((prefix + str(name), value))
    return found


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        value = ",".join(str(each) for each in value)
    text = "none" if value is None else str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
