"""Numbers as people read them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_STEP = 1024
#: Where the next larger unit reads better.
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
#: Below this a number has a digit behind the point.
_FINE = 10

BARS = "▁▂▃▄▅▆▇█"
#: For terminals that know no others.
PLAIN_BARS = "_.-=+*#@"


def count(number: int, *nouns: str) -> str:
    """Return a number of things: `1 file`, `2 files`, `3 recordings and sessions`.

    Args:
        number: how many.
        nouns: what they are, in the singular; one thing of two kinds is one or the other.
    """
    if number == 1:
        return f"1 {' or '.join(nouns)}"
    return f"{number} {' and '.join(f'{noun}s' for noun in nouns)}"


def size(count: float) -> str:
    """Return bytes as `512 B`, `1.5 MiB`, `20 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if count < _STEP or unit == "TiB":
            break
        count /= _STEP
    return f"{count:.0f} {unit}" if unit == "B" or count >= _FINE * _FINE else f"{count:.1f} {unit}"


def duration(seconds: float) -> str:
    """Return a time as `12 s`, `3 min`, `2 h 5 min`, `4 d 1 h`."""
    seconds = max(0, int(seconds))
    if seconds < _MINUTE:
        return f"{seconds} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE} min"
    if seconds < _DAY:
        return f"{seconds // _HOUR} h {seconds % _HOUR // _MINUTE} min"
    return f"{seconds // _DAY} d {seconds % _DAY // _HOUR} h"


def percent(part: float, whole: float) -> str:
    """Return a share as `98 %`, `-` where there is no whole."""
    return f"{100 * part / whole:.0f} %" if whole else "-"


def sparkline(values: Sequence[float | None], width: int, top: float = 0.0, bars: str = BARS) -> str:
    """Return the last values as a row of bars, right-aligned.

    Args:
        values: the latest last; None where nothing is known, which leaves a gap.
        width: columns.
        top: what a full bar stands for; zero for the largest value shown.
        bars: from the lowest to the highest.
    """
    shown = list(values[-width:]) if width > 0 else []
    highest = top or max((each for each in shown if each is not None), default=0.0)
    last = len(bars) - 1

    def bar(value: float | None) -> str:
        if value is None:
            return " "
        return bars[min(last, round(last * value / highest))] if highest > 0 else bars[0]

    return "".join(map(bar, shown)).rjust(max(0, width))
