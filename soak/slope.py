"""Does a series grow: least squares, and how sure that is. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Student's t for 95 % two-sided, by degrees of freedom; the next smaller number of them is on the safe side.
_T = {
    1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 8: 2.31, 10: 2.23, 15: 2.13, 20: 2.09, 30: 2.04,
    60: 2.0,
}  # fmt: skip
_LEAST = 3


@dataclass(frozen=True, slots=True)
class Slope:
    """How fast a series grows.

    Attributes:
        per_second: the fitted line's.
        upper: the upper end of its 95 % confidence interval, per second.
        bins: means it was fitted to.
    """

    per_second: float
    upper: float
    bins: int


def fit(samples: Sequence[tuple[float, float]], width: float) -> Slope | None:
    """Fit a line to the means of the samples in bins of `width` seconds; None for fewer than three bins.

    Neighbouring samples of memory resemble each other, which makes a fit to them look surer than it is; means
    over spans of time that hold many allocations do so much less.

    Args:
        samples: seconds and values.
        width: of a bin, in seconds.
    """
    grouped: dict[int, list[tuple[float, float]]] = {}
    for moment, value in samples:
        grouped.setdefault(int((moment - samples[0][0]) // width), []).append((moment, value))
    points = [
        (sum(at for at, _ in group) / len(group), sum(value for _, value in group) / len(group))
        for _, group in sorted(grouped.items())
    ]
    count = len(points)
    if count < _LEAST:
        return None
    middle = sum(at for at, _ in points) / count
    mean = sum(value for _, value in points) / count
    spread = sum((at - middle) ** 2 for at, _ in points)
    slope = sum((at - middle) * (value - mean) for at, value in points) / spread
    rest = sum((value - mean - slope * (at - middle)) ** 2 for at, value in points)
    freedom = count - 2
    error = math.sqrt(rest / freedom / spread)
    factor = _T[max(each for each in _T if each <= freedom)]
    return Slope(slope, slope + factor * error, count)
