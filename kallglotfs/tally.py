"""Counts of what happens, and the last thing that went wrong, for whoever wants to look.

Used by the parts that do the work; read by `status.py`.

Threading: one lock, held for additions only.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass

from cachetools import LRUCache

#: Recordings whose spending is remembered, and those of them that cost most.
MOST, DEAREST = 50_000, 10


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


@dataclass(frozen=True, slots=True)
class Mishap:
    """What went wrong in one way.

    Attributes:
        kind: the name of its class in `errors`.
        count: how often.
        message: of the last time, one line without secrets.
        path: of the last time.
        moment: of the last time, epoch seconds.
    """

    kind: str
    count: int
    message: str
    path: str
    moment: float


class Tally:
    """Counts events by name, API requests by recording, and failures by kind."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._spent: LRUCache[str, Spending] = LRUCache(MOST)
        self._asked_for = 0
        #: A few, kept up to date with every request: looking through all of them takes 10 ms.
        self._dearest: dict[str, int] = {}
        self._mishaps: dict[str, Mishap] = {}

    def add(self, name: str, amount: int = 1) -> None:
        """Count something."""
        with self._lock:
            self._counts[name] += amount

    def spend(self, subject: str) -> None:
        """Count an API request on account of a recording or session."""
        with self._lock:
            before = self._spent.get(subject, Spending())
            self._spent[subject] = Spending(before.requests + 1, before.last_error, before.failed_at)
            self._asked_for += not before.requests
            self._dearest.pop(subject, None)
            self._dearest[subject] = before.requests + 1
            if len(self._dearest) > DEAREST:
                # Of those that cost the same, the one that has not been asked for since.
                del self._dearest[min(self._dearest, key=lambda each: self._dearest[each])]

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

    def mishap(self, kind: str, message: str, path: str, moment: float) -> None:
        """Remember a failure.

        Args:
            kind: the name of its class in `errors`.
            message: one line without secrets.
            path: of which file.
            moment: epoch seconds.
        """
        with self._lock:
            before = self._mishaps.get(kind)
            count = 1 if before is None else before.count + 1
            self._mishaps[kind] = Mishap(kind, count, message, path, moment)

    def mishaps(self) -> list[Mishap]:
        """Return what went wrong, each kind once, the latest first."""
        with self._lock:
            return sorted(self._mishaps.values(), key=lambda each: -each.moment)

    def dearest(self) -> list[tuple[str, int]]:
        """Return the recordings and sessions that cost most, with their API requests."""
        with self._lock:
            return sorted(self._dearest.items(), key=lambda each: -each[1])

    def asked_for(self) -> int:
        """Return for how many recordings and sessions the API was asked, as far as is remembered."""
        with self._lock:
            return self._asked_for

    def counts(self) -> dict[str, int]:
        """Return what has been counted."""
        with self._lock:
            return dict(self._counts)

    def spending(self, subject: str) -> Spending:
        """Return what a recording has cost."""
        with self._lock:
            return self._spent.get(subject, Spending())
