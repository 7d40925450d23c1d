"""Does the cost per byte, or per name, grow with what there is."""

from __future__ import annotations

import os
import random
import threading
import time
from typing import TYPE_CHECKING

from bench.checks import check
from bench.corpus import MB
from bench.figures import Curve, Result, Verdict
from bench.processes import cpu_seconds
from bench.reading import read_through, verify

if TYPE_CHECKING:
    from pathlib import Path

    from bench.corpus import Item
    from bench.kallglotfs_mount import KallglotMount
    from bench.stage import Stage

#: How much dearer the largest may be than the smallest and still count as flat.
FLAT = 1.25
#: Names looked at one by one in a folder.
STATS = 500


def run(stage: Stage) -> Result:
    """Sizes of files, numbers of readers, numbers of known recordings."""
    result = Result(
        "growth",
        "Growth",
        "Raw loopback, the API answers at once, one round. Per byte: the daemon's processor time (counted in "
        "ticks of 10 ms) and time on the clock. Per name: time on the clock, all names listed once after the "
        "mount, then single `stat` calls of names picked at random.",
        checked=["every byte", "1 API request a recording read, none for listing or stat"],
    )
    _sizes(stage, result)
    _readers(stage, result)
    _known(stage, result)
    for curve in result.curves:
        first, last = curve.points[0][1], curve.points[-1][1]
        wording = f"{curve.label}: {curve.points[-1][0]:g} {curve.x_unit} over {curve.points[0][0]:g}"
        result.verdicts.append(Verdict(wording, last / first if first else 1.0, FLAT, at_least=False))
    return result


def _sizes(stage: Stage, result: Result) -> None:
    cpu = Curve("Processor time by file size", "MB", "s/GB")
    clock = Curve("Time by file size", "MB", "s/GB")
    sizes = stage.options.size([(1, 200), (10, 20), (100, 4), (1000, 1), (2000, 1)], [(1, 4), (4, 1)])
    if stage.options.huge:
        sizes = [*sizes, (10_000, 1)]
    for size, count in sizes:
        items = stage.files(f"size{size}", count, size * MB)
        used, seconds = _cost(stage, items, 1)
        cpu.points.append((size, used))
        clock.points.append((size, seconds))
        stage.corpus.drop(f"size{size}")
    result.curves += [cpu, clock]


def _readers(stage: Stage, result: Result) -> None:
    cpu = Curve("Processor time by readers", "readers", "s/GB")
    clock = Curve("Time by readers", "readers", "s/GB")
    items = stage.files("crowd", stage.options.size(64, 8), stage.options.size(8 * MB, 500_000))
    for readers in stage.options.size([1, 4, 16, 64], [1, 8]):
        used, seconds = _cost(stage, items, readers)
        cpu.points.append((readers, used))
        clock.points.append((readers, seconds))
    result.curves += [cpu, clock]


def _cost(stage: Stage, items: list[Item], readers: int) -> tuple[float, float]:
    """Read all files, shared among readers; return processor time and time on the clock, seconds per GB."""
    with stage.mount(stage.storage.variant(shaped=False), delay=0.0) as mounted:
        with stage.traffic() as traffic:
            before, began = cpu_seconds(mounted.pid), time.perf_counter()
            _read_all([mounted.file(item) for item in items], readers)
            seconds = time.perf_counter() - began
            used = cpu_seconds(mounted.pid) - before
        for item in items:
            verify(mounted.file(item), item)
    stage.expect(traffic.api == {item.id: 1 for item in items}, f"{traffic} for {len(items)} files")
    stage.expect(traffic.storage.twice == 0, f"{traffic}: bytes were fetched twice")
    total = sum(item.size for item in items) / 1e9
    return used / total, seconds / total


def _read_all(paths: list[Path], readers: int) -> None:
    left = iter(paths)
    lock = threading.Lock()
    errors: list[Exception] = []

    def work() -> None:
        buffer = bytearray(1 << 20)
        while True:
            with lock:
                path = next(left, None)
            if path is None:
                return
            try:
                read_through(path, buffer)
            except OSError as error:
                errors.append(error)
                return

    threads = [threading.Thread(target=work) for _ in range(readers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check(not errors, f"a reader failed: {errors[:1]}")


def _known(stage: Stage, result: Result) -> None:
    listing = Curve("Listing, by known recordings", "known", "us/name")
    single = Curve("stat, by known recordings", "known", "us/name")
    for known in stage.options.size([10, 1000, 10_000, 100_000], [10, 200]):
        session = f"sess_GROWTH{known}"
        stage.api.publish_numbers(
            {
                "id": f"rec_K{known}N{number}",
                "session_id": session,
                "path": "/signed/none",
                "size": 16_000 + number,
            }
            for number in range(known)
        )
        variant = stage.storage.variant(shaped=False)
        with stage.mount(variant, delay=0.0, add=[session]) as mounted, stage.traffic() as traffic:
            listing.points.append((known, _list(mounted, known) / known * 1e6))
            single.points.append((known, _stat(mounted, known) * 1e6))
        stage.expect(traffic.api_total == 0, f"listing {known} recordings cost {traffic}")
    result.curves += [listing, single]


def _list(mounted: KallglotMount, known: int) -> float:
    began = time.perf_counter()
    names = os.listdir(mounted.recordings)  # noqa: PTH208 - names alone, as ls asks for them
    seconds = time.perf_counter() - began
    check(len(names) == known, f"{len(names)} names are listed instead of {known}")
    return seconds


def _stat(mounted: KallglotMount, known: int) -> float:
    chosen = [random.Random(number).randrange(known) for number in range(STATS)]
    paths = [
        (str(mounted.recordings / f"rec_K{known}N{number}.mp3"), 16_000 + number) for number in set(chosen)
    ]
    began = time.perf_counter()
    sizes = [os.stat(path).st_size for path, _ in paths]  # noqa: PTH116 - the call is what is measured
    seconds = time.perf_counter() - began
    check(sizes == [size for _, size in paths], "stat shows a wrong size")
    return seconds / len(paths)
