"""Five per cent of all requests go wrong, each in a way that passes: tried again, it works.

Most kinds hit a share of the requests by chance. A refused URL (403, 404, 410) is different: a second
refusal, of the fresh one, is an answer and no fault. Those hit one request of one recording at a time.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kallglotfs.demo.knobs import Fault, Kind

if TYPE_CHECKING:
    from kallglotfs.demo.server import DemoServer

#: Part of all requests to each server that goes wrong.
SHARE = 0.05
#: Seconds of a stall, and of a pause that a 429 asks for.
_STALL, _PAUSE = 3.0, "1"
#: Bytes per second of a slow body: the largest recording takes six seconds.
_SLOW = 1_000_000.0
#: Bytes before a cut or a stall, besides those left to chance: at the start, and around the end of a block.
_PLACES = (0, 1, 262_143, 262_144, 262_145)
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
        names: recordings, by file name.
        seed: of its choices.
    """

    service: DemoServer
    names: list[str]
    seed: int
    fired: Counter[str] = field(default_factory=Counter)
    _chance: random.Random = field(init=False)
    _refusals: dict[int, Fault] = field(default_factory=dict)
    _due: dict[int, float] = field(default_factory=dict)
    _standing: list[Fault] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)

    def begin(self) -> None:
        """Let things go wrong."""
        self.service.knobs.url_lifetime = 30.0
        for faults in (_storage_faults(), _api_faults()):
            for fault in faults:
                fault.times, fault.share = -1, SHARE / len(faults)
            self._standing += faults
        self.turn(0.0)

    def turn(self, now: float) -> None:
        """Choose new places for the cuts and, when it is time, recordings whose URL is refused."""
        for fault in self._standing:
            if fault.action in _CUTS:
                most = 400 if fault.kind == "api" else 1_000_000
                fault.after_bytes = self._chance.choice(
                    (*_PLACES, *(self._chance.randrange(most) for _ in range(5)))
                )
        for status in _REFUSALS:
            refusal = self._refusals.get(status)
            if refusal is not None and refusal.fired:
                self.fired[_name(refusal)] += refusal.fired
                del self._refusals[status]
                self._due[status] = now + _REFUSAL_PAUSE
            elif refusal is None and now >= self._due.get(status, 0.0):
                # One at a time for a recording: its fresh URL must work.
                taken = {each.match for each in self._refusals.values()}
                match = self._chance.choice([name for name in self.names if name not in taken])
                self._refusals[status] = Fault("storage", "status", status=status, match=match)
        self.service.knobs.faults = [*self._refusals.values(), *self._standing]

    def end(self) -> Counter[str]:
        """Let all be well; return how often each kind has hit."""
        self.service.knobs.faults = []
        for fault in (*self._refusals.values(), *self._standing):
            self.fired[_name(fault)] += fault.fired
        return self.fired


def _name(fault: Fault) -> str:
    kind: Kind = fault.kind
    return f"{kind} {fault.action}{'' if fault.status is None else f' {fault.status}'}"


#: Every kind there is: each must have hit in a run that is long enough.
KINDS = frozenset(
    {_name(fault) for fault in (*_storage_faults(), *_api_faults())}
    | {f"storage status {status}" for status in _REFUSALS}
)
