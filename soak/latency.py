"""How long calls took: counted in steps of 9 %, so that hours of calls take no memory."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

#: Steps per doubling: a percentile is at most 2 ** (1 / 8) - 1 = 9 % too high.
_STEPS = 8
_MICRO = 1e-6


@dataclass(slots=True)
class Latencies:
    """Durations of calls.

    Attributes:
        steps: how many calls there were per step of the scale.
        longest: seconds of the longest call.
    """

    steps: Counter[int] = field(default_factory=Counter)
    longest: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one call."""
        self.steps[math.ceil(math.log2(max(seconds, _MICRO) / _MICRO) * _STEPS)] += 1
        self.longest = max(self.longest, seconds)

    def merge(self, other: Latencies) -> None:
        """Count the calls of another."""
        self.steps.update(other.steps)
        self.longest = max(self.longest, other.longest)

    @property
    def count(self) -> int:
        """The number of calls."""
        return self.steps.total()

    def percentile(self, part: float) -> float:
        """Return the seconds that a part of the calls did not exceed, up to 9 % too high; 0 for no calls.

        Args:
            part: 0 to 1.
        """
        wanted, seen = part * self.count, 0
        for step in sorted(self.steps):
            seen += self.steps[step]
            if seen >= wanted:
                return min(float(_MICRO * 2 ** (step / _STEPS)), self.longest)
        return 0.0

    def as_json(self) -> dict[str, object]:
        """Return what `from_json` takes."""
        return {"steps": {str(step): count for step, count in self.steps.items()}, "longest": self.longest}

    @staticmethod
    def from_json(plain: dict[str, object]) -> Latencies:
        """Return what `as_json` made of them."""
        steps, longest = plain["steps"], plain["longest"]
        assert isinstance(steps, dict)
        assert isinstance(longest, float)
        return Latencies(Counter({int(step): count for step, count in steps.items()}), longest)
