"""What was asked of the service: tests and benchmarks count on it.

Threading: everything under one lock, but for the byte count of a record, which its own request adds to.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Record:
    """One request.

    Attributes:
        kind: `api` or `storage`.
        path: without the query.
        query: of an API request; the storage's is its signature and is not kept.
        status: 0 until there is an answer.
        range: the Range header.
        recording: the recording's id, where the path has one.
        format: as asked; None where there is none.
        rate: as asked, Hz; 0 for the original.
        bytes_sent: body bytes handed to the connection.
        leaked_credentials: a storage request that carried a key or a cookie.
        fault: the action of the fault that hit it.
        at: when it came, on the monotonic clock.
    """

    kind: str
    method: str
    path: str
    query: str = ""
    status: int = 0
    range: str | None = None
    recording: str | None = None
    format: str | None = None
    rate: int = 0
    bytes_sent: int = 0
    leaked_credentials: bool = False
    fault: str | None = None
    at: float = field(default_factory=time.monotonic)


class RequestLog:
    """The list of requests, oldest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: list[Record] = []
        self._active: dict[str, int] = {}
        self._peak: dict[str, int] = {}

    def begin(self, record: Record) -> None:
        """Add a request that has just come."""
        with self._lock:
            self._records.append(record)
            self._active[record.kind] = active = self._active.get(record.kind, 0) + 1
            self._peak[record.kind] = max(active, self._peak.get(record.kind, 0))

    def end(self, record: Record) -> None:
        """Note that a request is through, one way or another."""
        with self._lock:
            self._active[record.kind] -= 1

    def records(self, kind: str | None = None) -> list[Record]:
        """Return copies of all records, or of those of one kind."""
        with self._lock:
            return [dataclasses.replace(each) for each in self._records if kind in (None, each.kind)]

    def count(
        self, kind: str | None = None, recording: str | None = None, path_contains: str | None = None
    ) -> int:
        """Return how many requests there were.

        Args:
            kind: `api` or `storage`; None for both.
            recording: of this recording's id only.
            path_contains: with this text in `path?query` only.
        """
        return sum(
            recording in (None, each.recording) and (path_contains or "") in f"{each.path}?{each.query}"
            for each in self.records(kind)
        )

    def peak(self, kind: str) -> int:
        """Return how many requests of a kind were in progress at once, at most."""
        with self._lock:
            return self._peak.get(kind, 0)

    def take(self) -> list[Record]:
        """Return all records and forget them, so that a long run can add them up."""
        with self._lock:
            records, self._records = self._records, []
        return records

    def clear(self) -> None:
        """Forget all requests."""
        with self._lock:
            self._records.clear()
            self._peak = dict(self._active)

    def as_json(self) -> dict[str, Any]:
        """Return the records with their counts."""
        records = self.records()
        return {
            "api": sum(each.kind == "api" for each in records),
            "storage": sum(each.kind == "storage" for each in records),
            "peak": {kind: self.peak(kind) for kind in ("api", "storage")},
            "bytes_sent": sum(each.bytes_sent for each in records),
            "leaked_credentials": sum(each.leaked_credentials for each in records),
            "records": [dataclasses.asdict(each) for each in records],
        }
