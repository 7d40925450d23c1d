"""What the counts of a mount become over time: rates, and their history. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

#: Points that are kept: as many as the widest terminal shows.
MOST = 500


@dataclass(frozen=True, slots=True)
class Point:
    """How a mount did between two looks; None is what cannot be told.

    Attributes:
        served: bytes per second given to the kernel.
        fetched: bytes per second received from the storage.
        hits: the share of blocks that were in memory, 0 to 1; None where none was asked for.
        requests: API requests per minute.
        remaining: requests left in the budget.
        open_files: files open.
    """

    served: float | None = None
    fetched: float | None = None
    hits: float | None = None
    requests: float | None = None
    remaining: float | None = None
    open_files: float | None = None


class Trend:
    """Keeps how a mount did."""

    def __init__(self) -> None:
        self._points: deque[Point] = deque(maxlen=MOST)
        self._before: dict[str, Any] | None = None

    @property
    def last(self) -> Point:
        """How it did last."""
        return self._points[-1] if self._points else Point()

    def row(self, value: Callable[[Point], float | None]) -> list[float | None]:
        """Return the history of one value, the latest last."""
        return [value(point) for point in self._points]

    def add(self, state: dict[str, Any] | None) -> None:
        """Take in what a mount says.

        Args:
            state: from `Status.confidential`; None where it did not answer, which leaves a gap.
        """
        before, self._before = self._before, state
        if state is None:
            self._points.append(Point())
            return
        left, count = state["budget"]["remaining"], state["open_files"]["count"]
        if before is None or before["started"] != state["started"]:
            self._points.append(Point(remaining=left, open_files=count))
            return
        # By the daemon's own clock: what it counted is as old as its answer.
        seconds = max(0.1, state["uptime"] - before["uptime"])

        def grown(name: str) -> float:
            return float(max(0, state["counts"].get(name, 0) - before["counts"].get(name, 0)))

        asked = grown("memory_hits") + grown("memory_misses")
        self._points.append(
            Point(
                grown("served_bytes") / seconds,
                grown("fetched_bytes") / seconds,
                grown("memory_hits") / asked if asked else None,
                grown("api_requests") / seconds * 60,
                left,
                count,
            )
        )
