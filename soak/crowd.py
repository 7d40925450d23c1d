"""Sixty-four readers, each a process: started, stopped, their findings added up."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

from soak.latency import Latencies
from soak.reader import Order, Tally

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from soak.options import Options
    from soak.stage import Stage

KINDS = ("sequential", "random", "churn")
#: Seconds a call may take: the mount's default `timeout`.
LIMIT = 20.0
#: Seconds a reader may take to end once it is told to: its last call, and then some.
_ENDING = 60.0


@dataclass(slots=True)
class Findings:
    """What a crowd saw.

    Attributes:
        kinds: kind of reader to what those saw.
        violations: the first ones in full.
        lost: readers that did not end as they should.
        idle: readers that made no call.
    """

    kinds: dict[str, Tally] = field(default_factory=lambda: {kind: Tally() for kind in KINDS})
    violations: list[dict[str, Any]] = field(default_factory=list)
    lost: int = 0
    idle: int = 0


class Crowd:
    """Readers at work from the beginning of the block until `stop`.

    Args:
        stage: what they read.
        options: how many of each kind.
        label: of their files in the working directory.
    """

    def __init__(self, stage: Stage, options: Options, label: str) -> None:
        self._directory = stage.work / label
        self._stop = self._directory / "stop"
        self._processes: list[tuple[str, subprocess.Popen[bytes], Path]] = []
        self._directory.mkdir()
        self._orders = [
            Order(
                kind=kind,
                mount=str(stage.recordings),
                oracle=str(stage.oracle),
                names=stage.names,
                seed=options.seed * 1000 + sum(options.readers[:place]) + index,
                limit=LIMIT,
                stop=str(self._stop),
            )
            for place, kind in enumerate(KINDS)
            for index in range(options.readers[place])
        ]

    def __enter__(self) -> Self:
        """Start all of them, or none."""
        try:
            self._start()
        except BaseException:
            for _, process, _ in self._processes:
                process.kill()
                process.wait(_ENDING)
            raise
        return self

    def _start(self) -> None:
        for index, order in enumerate(self._orders):
            path = self._directory / f"{index}.jsonl"
            with path.open("wb") as output:
                process = subprocess.Popen(
                    [sys.executable, "-m", "soak.reader", json.dumps(asdict(order))],
                    stdout=output,
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                )
            self._processes.append((order.kind, process, path))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave none behind."""
        self._stop.touch()
        for _, process, _ in self._processes:
            if process.poll() is None and error is not None:
                process.kill()
            process.wait(_ENDING)

    def stop(self) -> Findings:
        """Stop all of them and return what they saw."""
        self._stop.touch()
        findings = Findings()
        for kind, process, path in self._processes:
            try:
                code = process.wait(_ENDING)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait(_ENDING)
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            findings.violations += [line for line in lines if "violation" in line]
            if code or not lines or "latencies" not in lines[-1]:
                findings.lost += 1
                continue
            _add(findings.kinds[kind], lines[-1])
            findings.idle += not lines[-1]["compared"]
        return findings


def _add(tally: Tally, summary: dict[str, Any]) -> None:
    tally.latencies.merge(Latencies.from_json(summary["latencies"]))
    tally.compared += summary["compared"]
    tally.errors += summary["errors"]
    tally.mismatches += summary["mismatches"]
    tally.late += summary["late"]
