"""Moments and ages as people read and write them."""

from __future__ import annotations

import datetime as dt

#: Seconds of the units of an age.
_UNITS = {"m": 60, "h": 3600, "d": 86400}
#: Characters of an age: more is no age anybody means.
_LONGEST = 7


def moment_text(epoch: float) -> str:
    """Return a moment in this machine's time zone: `2026-11-27 23:40`."""
    return dt.datetime.fromtimestamp(epoch).astimezone().strftime("%Y-%m-%d %H:%M")


def age_seconds(text: str) -> float:
    """Read an age: `30d`, `12h`, `90m`.

    Raises:
        ValueError: it is none.
    """
    number, unit = text[:-1], text[-1:].lower()
    if unit not in _UNITS or not (number.isascii() and number.isdigit()) or len(text) > _LONGEST:
        raise ValueError(f"{text[:80]!r} is not an age (examples: 30d, 12h, 90m)")
    return float(int(number) * _UNITS[unit])
