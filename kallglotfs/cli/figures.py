"""Sizes, times and moments as people read them."""

from __future__ import annotations

import datetime as dt

from kallglotfs.config.units import GIB, KIB, MIB, TIB

#: From which on a unit is used.
_SIZES = ((TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB"))
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def size_text(size: float) -> str:
    """Return bytes, to three figures or so: `1.4 MiB`."""
    for unit, name in _SIZES:
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size:.0f} B"


def span_text(seconds: float) -> str:
    """Return a length of time, roughly: `40 s`, `3 min`, `1 h 20 min`."""
    if seconds < _MINUTE:
        return f"{max(1, round(seconds))} s" if seconds > 0 else "0 s"
    minutes = round(seconds / _MINUTE)
    if seconds < _HOUR:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def moment_text(epoch: float) -> str:
    """Return a moment in this machine's time zone: `2026-11-27 23:40`."""
    return dt.datetime.fromtimestamp(epoch).astimezone().strftime("%Y-%m-%d %H:%M")


def age_seconds(text: str) -> float:
    """Read an age: `30d`, `12h`, `90m`.

    Raises:
        ValueError: it is none.
    """
    units = {"m": _MINUTE, "h": _HOUR, "d": _DAY}
    number, unit = text[:-1], text[-1:].lower()
    if unit not in units or not (number.isascii() and number.isdigit()) or len(number) > 6:  # noqa: PLR2004
        raise ValueError(f"{text[:80]!r} is not an age (examples: 30d, 12h, 90m)")
    return int(number) * units[unit]
