"""Many people listening at the same time."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from bench.corpus import MB, MIB
from bench.figures import Result, Series, Verdict, percentile
from bench.processes import cpu_seconds, memory
from bench.reading import verify

if TYPE_CHECKING:
    from pathlib import Path

    from bench.stage import Stage

#: Bytes a second of one player: 128 kbit/s.
RATE = 16_000
#: Reads a second of one player.
TICKS = 4
MEMORY_CACHE = 256 * MIB
#: Most memory the daemon may have (issue 3).
LIMIT = MEMORY_CACHE + 150 * MIB


def run(stage: Stage) -> Result:
    """Read in real time on as many recordings as there are readers."""
    readers = stage.options.size(64, 8)
    seconds = stage.options.size(20, 2)
    result = Result(
        "players",
        f"{readers} players at 1x real time",
        f"Each reads 16 kB a second of a recording of its own for {seconds} s, {TICKS} reads a second and no "
        "buffer of its own; all start at once on a fresh mount. A stall is how long a later read takes.",
        checked=["every byte", "1 API request a recording"],
    )
    items = stage.files("players", readers, stage.options.size(8 * MB, MB))
    variant = stage.storage.variant(shaped=True)
    worst = Series("longest stall after start", "ms")
    start = Series("open to first byte, median of all players", "ms")
    highest = Series("daemon's memory, highest", "MiB", note=f"memory_cache is {MEMORY_CACHE // MIB} MiB")
    cpu = Series("daemon's processor time", "%")
    for _ in range(stage.options.rounds):
        with stage.mount(variant, memory_cache=MEMORY_CACHE) as mounted:
            with stage.traffic() as traffic:
                before, began = cpu_seconds(mounted.pid), time.monotonic()
                waits = _play([mounted.file(item) for item in items], seconds)
                cpu.values.append((cpu_seconds(mounted.pid) - before) / (time.monotonic() - began) * 100)
            highest.values.append(memory(mounted.pid, "VmHWM") / MIB)
            worst.values.append(max(max(of_one[1:]) for of_one in waits) * 1000)
            start.values.append(percentile([of_one[0] for of_one in waits], 0.5) * 1000)
            for item in items:
                verify(mounted.file(item), item)
        stage.expect(traffic.api == {item.id: 1 for item in items}, f"{traffic} for {readers} players")
        stage.expect(traffic.storage.twice == 0, f"{traffic}: bytes were fetched twice")
    heard = readers * seconds * RATE
    worst.note = f"{traffic.storage.sent / MB:.0f} MB fetched for {heard / MB:.0f} MB heard"
    result.series = [worst, start, highest, cpu]
    result.verdicts = [
        Verdict("longest stall, ms", max(worst.values), 100, at_least=False),
        Verdict("memory, MiB (memory_cache + 150)", max(highest.values), LIMIT / MIB, at_least=False),
    ]
    return result


def _play(paths: list[Path], seconds: int) -> list[list[float]]:
    """Return for each player how long each of its reads took, opening included in the first."""
    waits: list[list[float]] = [[] for _ in paths]
    gate = threading.Barrier(len(paths))

    def play(path: Path, mine: list[float]) -> None:
        gate.wait(30)
        began = time.perf_counter()
        descriptor = os.open(path, os.O_RDONLY)
        try:
            for tick in range(seconds * TICKS):
                due = began + tick / TICKS
                time.sleep(max(0.0, due - time.perf_counter()))
                asked = began if tick == 0 else time.perf_counter()
                os.read(descriptor, RATE // TICKS)
                mine.append(time.perf_counter() - asked)
        finally:
            os.close(descriptor)

    threads = [threading.Thread(target=play, args=pair) for pair in zip(paths, waits, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return waits
