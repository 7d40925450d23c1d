"""Five per cent of all requests go wrong, each in a way that passes: tried again, it works.

Most kinds hit a share of the requests by chance. A refused URL (403, 404, 410) is different: a second
refusal, of the fresh one, is an answer and no fault. Those hit one request of one recording at a time, whose
URL is neither so new that it may follow a refusal nor so old that it may run out by itself.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kallglotfs.demo.knobs import Fault, Kind

if TYPE_CHECKING:
    from kallglotfs.demo.requestlog import Record
    from kallglotfs.demo.server import DemoServer

#: Part of all requests to each server that goes wrong.
SHARE = 0.05
#: Seconds of a stall, and of a pause that a 429 asks for.
_STALL, _PAUSE = 3.0, "1"
#: Bytes per second of a slow body: the largest recording takes six seconds.
_SLOW = 1_000_000.0
#: Bytes before a cut or a stall, besides those left to chance: at the start, and around the end of a block.
_PLACES = (0, 1, 262_143, 262_144, 262_145)
#: Seconds a URL lives, and its age when it may be refused; after `_REST` the same recording's may be again.
_LIFETIME, _YOUNGEST, _OLDEST, _EXPOSED, _REST = 30.0, 2.0, 12.0, 18.0, 40.0
#: Refusals, and the seconds between two of one kind that makes them 0.1 % or so of the requests.
_REFUSALS = (403, 404, 410)
_REFUSAL_PAUSE = 5.0


def _storage_faults() -> list[Fault]:
    return [
        Fault("storage", "status", status=500),
        Fault("storage", "status", status=503),
        Fault("storage", "status", status=429, headers={"Retry-After": _PAUSE}),
        Fault("storage", "reset"),
        Fault("storage", "close"),
        Fault("storage", "truncate_chunked"),
        Fault("storage", "truncate_undeclared"),
        Fault("storage", "stall_headers", seconds=_STALL),
        Fault("storage", "stall_body", seconds=_STALL),
        Fault("storage", "slow", bytes_per_second=_SLOW),
        Fault("storage", "too_long", after_bytes=7),
        Fault("storage", "too_long_undeclared", after_bytes=7),
        Fault("storage", "ignore_range"),
    ]


def _api_faults() -> list[Fault]:
    return [
        Fault("api", "status", status=500),
        Fault("api", "status", status=503),
        Fault("api", "status", status=429, headers={"Retry-After": _PAUSE}),
        Fault("api", "reset"),
        Fault("api", "close"),
        Fault("api", "stall_headers", seconds=_STALL),
    ]


#: What an `after_bytes` that is chosen anew means something for.
_CUTS = frozenset({"reset", "close", "truncate_chunked", "truncate_undeclared", "stall_body"})


@dataclass(slots=True)
class Weather:
    """The faults of one run.

    Args:
        service: what goes wrong.
        seed: of its choices.
    """

    service: DemoServer
    seed: int
    fired: Counter[str] = field(default_factory=Counter)
    _chance: random.Random = field(init=False)
    _refusals: dict[int, Fault] = field(default_factory=dict)
    _due: dict[int, float] = field(default_factory=dict)
    #: When each recording got its last URL, and when one was last refused; by id, on the monotonic clock.
    _issued: dict[str, float] = field(default_factory=dict)
    _refused: dict[str, float] = field(default_factory=dict)
    _standing: list[Fault] = field(default_factory=list)
    _withdrawn: list[Fault] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)

    def begin(self) -> None:
        """Let things go wrong."""
        self.service.knobs.url_lifetime = _LIFETIME
        for faults in (_storage_faults(), _api_faults()):
            for fault in faults:
                fault.times, fault.share = -1, SHARE / len(faults)
            self._standing += faults
        self.turn(0.0)

    def learn(self, records: list[Record]) -> None:
        """Take note of the URLs that the service has given out."""
        for record in records:
            if record.kind == "api" and record.recording and record.status in (200, 302):
                self._issued[record.recording] = record.at

    def turn(self, now: float) -> None:
        """Choose new places for the cuts and, when it is time, recordings whose URL is refused.

        Args:
            now: on the monotonic clock.
        """
        for fault in self._standing:
            if fault.action in _CUTS:
                most = 400 if fault.kind == "api" else 1_000_000
                fault.after_bytes = self._chance.choice(
                    (*_PLACES, *(self._chance.randrange(most) for _ in range(5)))
                )
        for status in _REFUSALS:
            refusal = self._refusals.get(status)
            if refusal is not None and refusal.fired:
                self._refused[refusal.match] = now
                self._due[status] = now + _REFUSAL_PAUSE
            if refusal is not None and (
                refusal.fired or now - self._issued.get(refusal.match, 0.0) > _EXPOSED
            ):
                self._withdrawn.append(self._refusals.pop(status))
            elif refusal is None and now >= self._due.get(status, 0.0) and (ids := self._exposed(now)):
                match = self._chance.choice(ids)
                self._refusals[status] = Fault("storage", "status", status=status, match=match)
        self.service.knobs.faults = [*self._refusals.values(), *self._standing]

    def end(self) -> Counter[str]:
        """Let all be well; return how often each kind has hit."""
        self.service.knobs.faults = []
        for fault in (*self._withdrawn, *self._refusals.values(), *self._standing):
            self.fired[_name(fault)] += fault.fired
        return self.fired

    def _exposed(self, now: float) -> list[str]:
        """Return the recordings whose URL may be refused now."""
        taken = {each.match for each in self._refusals.values()}
        return [
            recording
            for recording, issued in self._issued.items()
            if _YOUNGEST <= now - issued <= _OLDEST
            and recording not in taken
            and now - self._refused.get(recording, -_REST) >= _REST
        ]


def _name(fault: Fault) -> str:
    kind: Kind = fault.kind
    return f"{kind} {fault.action}{'' if fault.status is None else f' {fault.status}'}"


#: Every kind there is: each must have hit in a run that is long enough.
KINDS = frozenset(
    {_name(fault) for fault in (*_storage_faults(), *_api_faults())}
    | {f"storage status {status}" for status in _REFUSALS}
)
