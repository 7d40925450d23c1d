"""The API's budget: a fixed window per key, as the service counts it.

Threading: used by the API's event loop alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a window.

    Attributes:
        limit: requests per window.
        remaining: requests left, this one already taken off.
        resets_in: seconds until a new window.
        granted: False when this request is over the limit.
    """

    limit: int
    remaining: int
    resets_in: float
    granted: bool


class RateLimit:
    """Counts requests per key. A window begins with the first request in it."""

    def __init__(self) -> None:
        self._windows: dict[str, tuple[float, int]] = {}

    def take(self, key: str, limit: int, seconds: float) -> Allowance:
        """Count one request; one that is refused costs nothing.

        Args:
            key: whose budget.
            limit: requests per window.
            seconds: the window's length.
        """
        now = time.monotonic()
        began, used = self._windows.get(key, (now, 0))
        if now >= began + seconds:
            began, used = now, 0
        granted = used < limit
        used += granted
        self._windows[key] = (began, used)
        return Allowance(limit, max(0, limit - used), began + seconds - now, granted)

    def clear(self) -> None:
        """Begin new windows for everyone."""
        self._windows.clear()
