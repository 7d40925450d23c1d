"""Sizes and times as people write them: `64M`, `1.5G`, `20s`, `500ms`. Pure.

Users: the field types of the settings table, and everything that shows a setting.
"""

from __future__ import annotations

import re
from fractions import Fraction

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
TIB = 1024 * GIB

#: The largest size that is accepted: what a signed 64-bit offset can address.
MAX_SIZE = 2**63 - 1

_NUMBER = r"(?P<number>[0-9]{1,30}(?:\.[0-9]{1,30})?)\s*"
# ASCII: ignoring case would otherwise take the Kelvin sign for a K.
_SIZE = re.compile(_NUMBER + r"(?:(?P<unit>[KMGT])i?)?B?", re.IGNORECASE | re.ASCII)
_TIME = re.compile(_NUMBER + r"(?P<unit>ms|s|m|h)?", re.IGNORECASE | re.ASCII)
_SIZE_UNITS = {"T": TIB, "G": GIB, "M": MIB, "K": KIB}
_MILLISECONDS = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}


def parse_size(text: str) -> int:
    """Read a size; K, M, G and T are powers of 1024, whatever follows them (`i`, `iB`, `B`).

    Args:
        text: for example `64M`, `10GiB`, `1.5G` or `1048576`.

    Returns:
        Bytes, rounded down.

    Raises:
        ValueError: `text` is not a size, or larger than `MAX_SIZE`.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError("not a size")
    unit = _SIZE_UNITS[match["unit"].upper()] if match["unit"] else 1
    size = int(Fraction(match["number"]) * unit)
    if size > MAX_SIZE:
        raise ValueError("size out of range")
    return size


def format_size(size: int) -> str:
    """Return `size` bytes in the largest unit that needs no fraction; `parse_size` reads it back exactly."""
    for name, unit in _SIZE_UNITS.items():
        if size and size % unit == 0:
            return f"{size // unit}{name}"
    return str(size)


def parse_duration(text: str) -> float:
    """Read a length of time; a bare number counts seconds.

    Args:
        text: for example `20s`, `5m`, `1h`, `500ms` or `2.5`.

    Returns:
        Seconds.

    Raises:
        ValueError: `text` is not a time.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise ValueError("not a time")
    return float(Fraction(match["number"]) * _MILLISECONDS[(match["unit"] or "s").lower()] / 1000)


def format_duration(seconds: float) -> str:
    """Return `seconds` in the largest unit that needs no fraction.

    `parse_duration` reads back exactly what is a whole number of milliseconds.

    Args:
        seconds: a length of time; what is finer than a millisecond is rounded.
    """
    milliseconds = round(seconds * 1000)
    for name, unit in _MILLISECONDS.items():
        if milliseconds and milliseconds % unit == 0:
            return f"{milliseconds // unit}{name}"
    return "0s"
