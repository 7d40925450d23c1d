"""What the storage's access log says: requests, bytes, and was any byte sent twice. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

#: nginx's log_format that `parse` reads: tabs, since a Range header may hold spaces.
FORMAT = r"$msec\t$request_method\t$status\t$uri\t$body_bytes_sent\t$sent_http_content_range\t$request_time"

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_FIELDS = 7


@dataclass(frozen=True, slots=True)
class StorageRequest:
    """One request that the storage answered.

    Args:
        when: Unix time at its end.
        method: GET or HEAD.
        status: HTTP status.
        path: decoded, without the signature.
        start: first byte of the file that was sent.
        sent: bytes of body written to the socket, fewer than asked for when the client went away.
        seconds: how long it took.
    """

    when: float
    method: str
    status: int
    path: str
    start: int
    sent: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Tally:
    """What a list of requests adds up to."""

    requests: int
    sent: int
    twice: int
    refused: int

    def __str__(self) -> str:
        return f"{self.requests} storage requests, {self.sent} bytes, {self.twice} twice"


def parse(lines: Iterable[str]) -> list[StorageRequest]:
    """Return the requests; lines that are none are left out."""
    found = []
    for line in lines:
        fields = line.rstrip("\n").split("\t")
        if len(fields) != _FIELDS:
            continue
        when, method, status, path, sent, content_range, seconds = fields
        match = _RANGE.match(content_range)
        start = int(match[1]) if match else 0
        found.append(StorageRequest(float(when), method, int(status), path, start, int(sent), float(seconds)))
    return found


def tally(requests: Iterable[StorageRequest]) -> Tally:
    """Add up; `twice` counts the bytes that were sent although they had been sent before."""
    count = sent = refused = 0
    pieces: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for request in requests:
        count += 1
        if request.status not in (200, 206):
            refused += 1
            continue
        if request.method == "GET" and request.sent:
            sent += request.sent
            pieces[request.path].append((request.start, request.start + request.sent))
    return Tally(count, sent, sum(overlap(of_file) for of_file in pieces.values()), refused)


def overlap(pieces: list[tuple[int, int]]) -> int:
    """Return how many bytes of half-open pieces are there more than once, counting each repetition."""
    covered = 0
    end = 0
    total = 0
    for start, stop in sorted(pieces):
        total += stop - start
        covered += max(0, stop - max(start, end))
        end = max(end, stop)
    return total - covered
