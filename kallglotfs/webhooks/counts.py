"""What the receiver has seen so far, for a status page.

Threading: any thread; the lock is a leaf.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kallglotfs.clock import Clock


@dataclass(frozen=True, slots=True)
class Counts:
    """A snapshot since the mount was made.

    Attributes:
        received: requests, whatever became of them; the sum of all the others.
        stored: events that were new.
        duplicates: events that were known.
        refused: requests that were refused, by reason.
        failed: events that could not be stored; their sender was asked to send them again.
        last_event: when the last event was stored, epoch seconds; None where none was.
        last_error: why the last request was refused or failed; empty where none was.
    """

    received: int = 0
    stored: int = 0
    duplicates: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    failed: int = 0
    last_event: float | None = None
    last_error: str = ""

    def __str__(self) -> str:
        refused = ", ".join(f"{count} {reason}" for reason, count in sorted(self.refused.items()))
        return (
            f"{self.received} received: {self.stored} stored, {self.duplicates} known already, "
            f"{sum(self.refused.values())} refused{f' ({refused})' if refused else ''}, {self.failed} failed"
        )


class Tally:
    """Counts.

    Args:
        clock: what tells the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._stored = 0
        self._duplicates = 0
        self._failed = 0
        self._refused: Counter[str] = Counter()
        self._last_event: float | None = None
        self._last_error = ""

    def stored(self) -> None:
        """Count an event that was new."""
        now = self._clock.wall()
        with self._lock:
            self._stored += 1
            self._last_event = now

    def duplicate(self) -> None:
        """Count an event that was known."""
        with self._lock:
            self._duplicates += 1

    def refused(self, reason: str) -> int:
        """Count a request that is refused; the reason is one of a few words.

        Returns:
            How many have been refused for it.
        """
        with self._lock:
            self._refused[reason] += 1
            self._last_error = reason
            return self._refused[reason]

    def failed(self, reason: str) -> None:
        """Count an event that could not be stored."""
        with self._lock:
            self._failed += 1
            self._last_error = reason

    def counts(self) -> Counts:
        """Return a snapshot."""
        with self._lock:
            received = self._stored + self._duplicates + self._failed + self._refused.total()
            return Counts(
                received,
                self._stored,
                self._duplicates,
                dict(self._refused),
                self._failed,
                self._last_event,
                self._last_error,
            )
