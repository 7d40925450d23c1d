"""One run: warm up, take the baseline, read for as long as asked, look again, judge."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from soak import weather as faults
from soak.crowd import KINDS, LIMIT, Crowd, Findings
from soak.footprint import Footprint, footprint
from soak.options import MIB
from soak.slope import Slope, fit
from soak.weather import SHARE, Weather

if TYPE_CHECKING:
    import threading

    from soak.options import Options
    from soak.stage import Ending, Stage

#: Seconds between two looks at the daemon, and between two choices of places for faults.
_LOOK, _TURN = 2.0, 0.5
#: Seconds without readers before a baseline: fetches under way end, and what is to be closed is closed.
_QUIET = 3.0
#: Seconds the daemon may take to be back at its baseline.
_RETURN = 30.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is allowed.

    Attributes:
        memory: bytes above the baseline afterwards. After a warm-up of seconds the pools have not all their
            threads and malloc not all its arenas: a minute of load added 8 to 23 MiB, fifteen added 6 to a
            longer warm-up. What leaks is told by the slope of a long run.
        threads: threads afterwards. libfuse and the pools start one when more calls come at once than ever
            before and keep it, so the baseline after a short warm-up is not the most there will be: 64
            readers with a callback and a fetch each, 64 more for what is replaced or fetched for one who is
            gone, and the 40 that are always there. Leaking threads go past that, whatever the readers do.
        files: descriptors afterwards that are no sockets: two for each of up to 16 connections of the
            catalog, which are opened when so many ask at once and kept, and the two dozen of any mount.
        connections: sockets, whatever the baseline: one is kept for each thread that fetches, 64 and
            `streams`, and a few to the API.
        growth: bytes per minute that the upper end of the slope's 95 % confidence interval may be.
        shortest: minutes of samples from which on a slope is judged: before, noise is more than the bound.
        bin: seconds of one mean.
        share: part of the requests that the weather hits, from and to.
        refetched: storage bytes per byte of recordings, at least: else memory never evicted.
    """

    memory: int = 48 * MIB
    threads: int = 232
    files: int = 56
    connections: int = 84
    growth: float = 1.0 * MIB
    shortest: float = 8.0
    bin: float = 30.0
    share: tuple[float, float] = (0.03, 0.07)
    refetched: float = 1.5


BOUNDS = Bounds()


@dataclass(slots=True)
class Outcome:
    """Everything one run found.

    Attributes:
        seconds: how long the readers read.
        findings: what they saw.
        before: the daemon at the baseline.
        after: and when it was back, or should have been.
        peak: the highest of each, while they read.
        samples: seconds since the baseline, RSS, PSS.
        slope: of the RSS.
        requests: requests per server, warm-up included.
        faulty: those of them that a fault hit, by kind of fault.
        sent: bytes the storage sent.
        ending: how the mount ended.
        violations: what was not as promised; none is what one hopes for.
        interrupted: it was ended from the keyboard.
    """

    seconds: float
    findings: Findings
    before: Footprint
    after: Footprint
    peak: Footprint
    samples: list[tuple[float, int, int]]
    slope: Slope | None
    requests: Counter[str]
    faulty: Counter[str]
    sent: int
    ending: Ending
    violations: list[str] = field(default_factory=list)
    interrupted: bool = False


class Run:
    """One run on a stage.

    Args:
        stage: service, recordings, mount.
        options: how long, and what for.
        stopped: set from elsewhere to end the run early.
    """

    def __init__(self, stage: Stage, options: Options, stopped: threading.Event) -> None:
        self._stage = stage
        self._options = options
        self._samples: list[tuple[float, Footprint]] = []
        self._requests: Counter[str] = Counter()
        self._hit = 0
        self._sent = 0
        self._weather = Weather(stage.service, options.seed) if options.weather else None
        self._stopped = stopped

    def run(self) -> Outcome:
        """Do it, and judge."""
        stage, options = self._stage, self._options
        stage.service.requests.clear()
        if self._weather is not None:
            self._weather.begin()
        with Crowd(stage, options, "warm-up") as crowd:
            self._pass(options.warm_up)
            warmed = crowd.stop()
        before = self._quiet()
        self._samples.clear()
        began = time.monotonic()
        with Crowd(stage, options, "load") as crowd:
            self._pass(options.seconds)
            seconds = time.monotonic() - began
            findings = crowd.stop()
        fired = Counter[str]() if self._weather is None else self._weather.end()
        after = self._back(before)
        self._count()
        outcome = Outcome(
            seconds=seconds,
            findings=findings,
            before=before,
            after=after,
            peak=_peak([each for _, each in self._samples] or [after]),
            samples=[(at - began, each.rss, each.pss) for at, each in self._samples],
            slope=fit([(at, each.rss) for at, each in self._samples], BOUNDS.bin),
            requests=self._requests,
            faulty=fired,
            sent=self._sent,
            ending=stage.unmount(),
            interrupted=self._stopped.is_set(),
        )
        if outcome.interrupted:
            # Readers that had no time to read prove nothing.
            warmed.idle = findings.idle = 0
        outcome.violations = [*_of_readers(warmed, "warm-up"), *self._judged(outcome)]
        return outcome

    def _pass(self, seconds: float) -> None:
        """Let time pass: look at the daemon, count requests, change the weather."""
        ends = time.monotonic() + seconds
        look = 0.0
        while (now := time.monotonic()) < ends and self._stage.alive and not self._stopped.is_set():
            if self._weather is not None:
                self._weather.turn(now)
            if now >= look:
                look = now + _LOOK
                self._samples.append((now, footprint(self._stage.pid)))
                self._count()
            self._stopped.wait(max(0.0, min(_TURN, ends - now)))

    def _count(self) -> None:
        """Add up what was asked, and forget it: the log of an hour would fill the memory."""
        records = self._stage.service.requests.take()
        if self._weather is not None:
            self._weather.learn(records)
        for record in records:
            self._requests[record.kind] += 1
            self._sent += record.bytes_sent

    def _quiet(self) -> Footprint:
        """Return the daemon's footprint once nobody reads."""
        self._stopped.wait(_QUIET)
        self._count()
        return footprint(self._stage.pid)

    def _back(self, before: Footprint) -> Footprint:
        """Return the footprint when it is back at the baseline, or when that took too long."""
        ends = time.monotonic() + _RETURN
        found = self._quiet()
        while _excess(before, found) and not self._stopped.is_set() and time.monotonic() < ends:
            time.sleep(1)
            found = footprint(self._stage.pid)
        return found

    def _judged(self, outcome: Outcome) -> list[str]:
        options, stage = self._options, self._stage
        wrong = _of_readers(outcome.findings, "load")
        if (outcome.ending.umount, outcome.ending.daemon) != (0, 0):
            wrong.append(
                f"umount ended with {outcome.ending.umount}, the daemon with {outcome.ending.daemon}"
            )
        if "Traceback" in stage.log or " ERROR " in stage.log:
            wrong.append("the daemon logged an error or a traceback")
        if outcome.interrupted:
            return wrong  # a warm-up that was cut short leaves no baseline
        wrong += _excess(outcome.before, outcome.after)
        if not options.disk_cache and self._sent < BOUNDS.refetched * stage.total:
            wrong.append(f"the storage sent {self._sent} bytes of {stage.total}: nothing was evicted")
        if not options.weather and outcome.requests["api"] > len(stage.names):
            wrong.append(f"{outcome.requests['api']} API requests for {len(stage.names)} recordings")
        slope = outcome.slope
        judged = slope is not None and slope.bins * BOUNDS.bin >= BOUNDS.shortest * 60
        if slope is not None and judged and slope.upper * 60 > BOUNDS.growth:
            wrong.append(f"memory grows by up to {slope.upper * 60 / MIB:.2f} MiB a minute")
        if options.weather:
            wrong += _of_weather(outcome)
        return wrong


def _of_readers(findings: Findings, phase: str) -> list[str]:
    wrong = []
    for kind in KINDS:
        tally = findings.kinds[kind]
        for what, count in (
            ("calls failed", tally.errors),
            ("calls returned other bytes", tally.mismatches),
            (f"calls took more than {LIMIT:.0f} s", tally.late),
        ):
            if count:
                wrong.append(f"{phase}, {kind}: {count} {what}")
    if findings.lost:
        wrong.append(f"{phase}: {findings.lost} readers did not end")
    if findings.idle:
        wrong.append(f"{phase}: {findings.idle} readers read nothing")
    return wrong


def _excess(before: Footprint, after: Footprint) -> list[str]:
    """Say what is above the baseline by more than is allowed."""
    wrong = [
        f"{name}: {getattr(before, name)} before, {getattr(after, name)} after (allowed: {allowed} more)"
        for name, allowed in (
            ("rss", BOUNDS.memory),
            ("pss", BOUNDS.memory),
        )
        if getattr(after, name) > getattr(before, name) + allowed
    ]
    if after.files > max(before.files, BOUNDS.files):
        wrong.append(f"files: {after.files} after (allowed: {BOUNDS.files})")
    if after.threads > max(before.threads, BOUNDS.threads):
        wrong.append(f"threads: {after.threads} after (allowed: {BOUNDS.threads})")
    if after.connections > max(before.connections, BOUNDS.connections):
        wrong.append(f"connections: {after.connections} after (allowed: {BOUNDS.connections})")
    return wrong


def _of_weather(outcome: Outcome) -> list[str]:
    """Say what the weather did not do: faults that never fired prove nothing."""
    wrong = []
    least, most = BOUNDS.share
    for kind in ("api", "storage"):
        fired = sum(count for name, count in outcome.faulty.items() if name.startswith(kind))
        asked = outcome.requests[kind]
        # Of fewer than 1,600 requests chance decides; there, two per cent are four standard deviations.
        if asked >= 4 * 20 / SHARE and not least <= fired / asked <= most:
            wrong.append(f"{fired} of {asked} {kind} requests were hit, not {SHARE:.0%}")
    if outcome.requests["storage"] >= 10 * 20 / SHARE:
        fired_kinds = {name for name, count in outcome.faulty.items() if count}
        missing = sorted(name for name in faults.KINDS - fired_kinds if name.startswith("storage"))
        if missing:
            wrong.append(f"never fired: {', '.join(missing)}")
    return wrong


def _peak(seen: list[Footprint]) -> Footprint:
    return Footprint(
        rss=max(each.rss for each in seen),
        pss=max(each.pss for each in seen),
        threads=max(each.threads for each in seen),
        files=max(each.files for each in seen),
        connections=max(each.connections for each in seen),
    )
