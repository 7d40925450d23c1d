"""What a scenario found: series of numbers, verdicts on the targets, remarks. Pure."""

from __future__ import annotations

import math
import statistics
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(slots=True)
class Series:
    """One contender's numbers, one per round (or one per sample).

    Args:
        label: who.
        unit: of the values.
        values: as measured, in order.
        note: how it was run, or what else was seen.
    """

    label: str
    unit: str
    values: list[float] = field(default_factory=list)
    note: str = ""

    @property
    def median(self) -> float:
        """Return the median."""
        return statistics.median(self.values)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target and what was reached.

    Args:
        wording: the target in words.
        value: what was reached.
        limit: what was wanted.
        at_least: whether more is better.
        counts: a number that must be met exactly, not a ratio.
    """

    wording: str
    value: float
    limit: float
    at_least: bool = True
    counts: bool = False

    @property
    def reached(self) -> bool:
        """Tell whether the target is met."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclass(slots=True)
class Curve:
    """Numbers over a size, for a plot.

    Args:
        label: what is measured.
        x_unit: of the sizes.
        y_unit: of the numbers.
        points: pairs.
    """

    label: str
    x_unit: str
    y_unit: str
    points: list[tuple[float, float]] = field(default_factory=list)


@dataclass(slots=True)
class Result:
    """Everything one scenario found."""

    name: str
    title: str
    what: str
    series: list[Series] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return what goes into results.json."""
        plain = asdict(self)
        for verdict, shown in zip(self.verdicts, plain["verdicts"], strict=True):
            shown["reached"] = verdict.reached
        return plain


def percentile(values: Sequence[float], part: float) -> float:
    """Return the nearest-rank percentile.

    Args:
        values: at least one.
        part: 0 to 1.
    """
    ordered = sorted(values)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def best(series: Sequence[Series]) -> Series:
    """Return the series with the highest median: of a peer's variants only its best counts."""
    return max(series, key=lambda one: one.median)
