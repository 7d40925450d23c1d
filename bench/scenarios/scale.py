"""Does a mount get slower, or larger, with the number of recordings it knows."""

from __future__ import annotations

import os
import random
import subprocess
import time
from typing import TYPE_CHECKING

from bench.checks import check
from bench.figures import Curve, Result, Verdict
from bench.known import PER_DAY, PER_SESSION, SIZE, day_of, fill, recording_id
from bench.processes import memory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.kallglotfs_mount import KallglotMount
    from bench.stage import Stage

#: How much dearer the most may be than the fewest and still count as flat.
FLAT = 1.5
#: MiB that a listing may add to the memory of the mount.
ROOM = 16.0
#: Calls of a kind.
CALLS = 300
MIB = 1 << 20


def run(stage: Stage) -> Result:
    """A thousand known recordings to a million."""
    result = Result(
        "scale",
        "Known recordings",
        f"The catalog is filled beforehand: {PER_DAY} recordings a day, {PER_SESSION} of a session. `ls -U` "
        "and `wc -l` of a whole folder; the first entry after opening the folder (median of 20); `stat` of "
        f"{CALLS} recordings and of as many links by date, picked at random and never looked at before; "
        "`ls -U` of a day. Memory is what the daemon has more after listing everything than before.",
        checked=["every listing has every name", "every size", "no API and no storage request"],
    )
    mount = Curve("mount.kallglotfs", "known", "ms")
    listing = Curve("ls -U /recordings | wc -l", "known", "us/name")
    sessions = Curve("ls -U /sessions | wc -l", "known", "us/name")
    first = Curve("First entry of /recordings", "known", "ms")
    grown = Curve("Memory that listing everything adds", "known", "MiB")
    stat = Curve("stat of a recording", "known", "us/name")
    link = Curve("stat of a link by date", "known", "us/name")
    day = Curve("ls -U of a day", "known", "ms")
    top = Curve("ls -U /by-date", "known", "ms")
    room = Curve("df", "known", "ms")
    for count in stage.options.size([1000, 10_000, 100_000, 1_000_000], [300, 1000]):
        state = stage.directory("state")
        fill(state, stage.api.url, count)
        variant = stage.storage.variant(shaped=False)
        with stage.mount(variant, delay=0.0, state=state) as mounted, stage.traffic() as traffic:
            mount.points.append((count, mounted.seconds * 1000))
            first.points.append((count, _median(lambda: _first(mounted.recordings), 20) * 1000))
            before = memory(mounted.pid)
            listing.points.append((count, _list(mounted.recordings, count) / count * 1e6))
            names = -(-count // PER_SESSION)
            sessions.points.append((count, _list(mounted.path / "sessions", names) / names * 1e6))
            grown.points.append((count, max(0, memory(mounted.pid) - before) / MIB))
            stat.points.append((count, _stat(mounted, count) * 1e6))
            link.points.append((count, _links(mounted, count) * 1e6))
            newest = mounted.path.joinpath("by-date", *day_of(0))
            there = len(os.listdir(newest))  # noqa: PTH208 - names alone
            day.points.append((count, _median(lambda: _list(newest, there), 5) * 1000))  # noqa: B023 - at once
            years = len({day_of(each)[0] for each in range(0, count, PER_DAY)})
            top.points.append((count, _median(lambda: _list(mounted.path / "by-date", years), 5) * 1000))  # noqa: B023
            room.points.append((count, _median(lambda: os.statvfs(mounted.path), 5) * 1000))
        stage.expect(
            traffic.api_total == 0 and traffic.storage.requests == 0, f"{count} known recordings: {traffic}"
        )
    result.curves = [mount, listing, sessions, first, grown, stat, link, day, top, room]
    for curve in (mount, listing, first, stat, link, day):
        wording = f"{curve.label}: {curve.points[-1][0]:,g} known over {curve.points[0][0]:,g}"
        result.verdicts.append(
            Verdict(wording, curve.points[-1][1] / curve.points[0][1], FLAT, at_least=False)
        )
    result.verdicts.append(Verdict(f"{grown.label}, MiB", grown.points[-1][1], ROOM, at_least=False))
    return result


def _median(call: Callable[[], object], times: int) -> float:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return sorted(taken)[times // 2]


def _first(folder: Path) -> None:
    with os.scandir(folder) as entries:
        next(entries)


def _list(folder: Path, names: int) -> float:
    """List a folder as people do; return the seconds it took."""
    began = time.perf_counter()
    with subprocess.Popen(["ls", "-U", str(folder)], stdout=subprocess.PIPE) as shown:
        counted = subprocess.run(
            ["wc", "-l"], stdin=shown.stdout, capture_output=True, timeout=600, check=True
        )
    seconds = time.perf_counter() - began
    check(shown.returncode == 0, f"ls ended with {shown.returncode}")
    check(int(counted.stdout) == names, f"{int(counted.stdout)} names are listed instead of {names}")
    return seconds


def _chosen(count: int, salt: int) -> list[int]:
    return random.Random(salt).sample(range(count), min(CALLS, count))


def _stat(mounted: KallglotMount, count: int) -> float:
    chosen = _chosen(count, 1)
    paths = [str(mounted.recordings / f"{recording_id(each)}.mp3") for each in chosen]
    began = time.perf_counter()
    sizes = [os.stat(path).st_size for path in paths]  # noqa: PTH116 - the call is what is measured
    seconds = time.perf_counter() - began
    check(sizes == [SIZE + each for each in chosen], "stat shows a wrong size")
    return seconds / len(chosen)


def _links(mounted: KallglotMount, count: int) -> float:
    """Look at links by date in directories that have been looked at: what is measured is the links."""
    names = []
    for number in _chosen(count, 2)[:30]:
        folder = mounted.path.joinpath("by-date", *day_of(number))
        found = [name for name in os.listdir(folder) if f"_{recording_id(number)}." in name]  # noqa: PTH208
        check(len(found) == 1, f"{recording_id(number)} is not in {folder.name}")
        names.append(str(folder / found[0]))
    began = time.perf_counter()
    targets = [os.readlink(name) for name in names]  # noqa: PTH115 - the same
    seconds = time.perf_counter() - began
    check(all("recordings/rec_" in target for target in targets), "a link leads nowhere")
    return seconds / len(names)
