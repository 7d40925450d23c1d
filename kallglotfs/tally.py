"""Counts of what happens, and the last thing that went wrong, for whoever wants to look.

Used by the parts that do the work; read by `status.py`.

Threading: one lock, held for additions only.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass

from cachetools import LRUCache

#: Recordings whose spending is remembered.
MOST = 50_000


@dataclass(frozen=True, slots=True)
class Spending:
    """What one recording has cost so far.

    Attributes:
        requests: API requests.
        last_error: "" for none.
        failed_at: when that was, epoch seconds.
    """

    requests: int = 0
    last_error: str = ""
    failed_at: float = 0.0


class Tally:
    """Counts events by name, and API requests by recording."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._spent: LRUCache[str, Spending] = LRUCache(MOST)

    def add(self, name: str, amount: int = 1) -> None:
        """Count something."""
        with self._lock:
            self._counts[name] += amount

    def spend(self, subject: str) -> None:
        """Count an API request on account of a recording or session."""
        with self._lock:
            before = self._spent.get(subject, Spending())
            self._spent[subject] = Spending(before.requests + 1, before.last_error, before.failed_at)

    def fail(self, subject: str, error: str, moment: float) -> None:
        """Remember the last error of a recording.

        Args:
            subject: its id.
            error: one line without secrets.
            moment: epoch seconds.
        """
        with self._lock:
            before = self._spent.get(subject, Spending())
            self._spent[subject] = Spending(before.requests, error, moment)

    def counts(self) -> dict[str, int]:
        """Return what has been counted."""
        with self._lock:
            return dict(self._counts)

    def spending(self, subject: str) -> Spending:
        """Return what a recording has cost."""
        with self._lock:
            return self._spent.get(subject, Spending())

    def __str__(self) -> str:
        return ", ".join(f"{count} {name}" for name, count in sorted(self.counts().items())) or "nothing"
