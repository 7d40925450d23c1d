"""A folder of small recordings, copied with rsync."""

from __future__ import annotations

import shutil
import subprocess
import time
from typing import TYPE_CHECKING

from bench.checks import check
from bench.corpus import MB
from bench.figures import Result, Series, Verdict
from bench.peers import RCLONE_FULL, RCLONE_OFF
from bench.reading import verify

if TYPE_CHECKING:
    from pathlib import Path

    from bench.corpus import Item
    from bench.stage import Stage


def run(stage: Stage) -> Result:
    """Copy everything once, on storage that takes 30 ms to answer."""
    files = stage.options.size(500, 24)
    size = stage.options.size(MB, 200_000)
    result = Result(
        "rsync",
        f"rsync of {files} files of {size / MB:g} MB, shaped storage",
        "`rsync -a` from the mount to the local disk. Our files were added to the catalog first, rclone's "
        "listed first, so that neither pays for it. Each of ours costs an API request of 30 ms.",
        checked=["every byte of every copy", "1 API request a file", "every byte of the storage's once"],
    )
    items = stage.files("folder", files, size)
    variant = stage.storage.variant(shaped=True)
    ours = Series("kallglotfs", "s")
    again = Series("kallglotfs, second rsync", "s", note="nothing changed")
    peers = []
    if stage.options.peers != "none":
        peers += [RCLONE_OFF[0]]
    if stage.options.peers == "all":
        peers += RCLONE_FULL
    theirs = [Series(peer.label, "s", note=" ".join(peer.options)) for peer in peers]
    for _ in range(stage.options.rounds):
        with stage.mount(variant, add=[item.id for item in items]) as mounted:
            target = stage.directory("copy")
            with stage.traffic() as traffic:
                ours.values.append(_copy(mounted.recordings, target))
            with stage.traffic() as second:
                again.values.append(_copy(mounted.recordings, target))
            _compare(target, items)
        stage.expect(
            traffic.api == {item.id: 1 for item in items},
            f"{traffic} instead of 1 API request for each of {files} files",
        )
        stage.expect(traffic.storage.twice == 0, f"{traffic}: bytes were fetched twice")
        stage.expect(second.api_total == 0 and second.storage.requests == 0, f"a second rsync cost {second}")
        for peer, series in zip(peers, theirs, strict=True):
            with peer.mount(stage.directory("peer"), variant, items[0].group) as other:
                for item in items:
                    other.file(item).stat()
                target = stage.directory("copy")
                series.values.append(_copy(other.path, target))
                _compare(target, items)
    ours.note = f"{traffic.api_total} API requests, {traffic.storage.requests} storage requests"
    result.series = [ours, again, *theirs]
    if theirs:
        quickest = min(theirs, key=lambda one: one.median)
        result.verdicts.append(Verdict("times as quick as rclone's best", quickest.median / ours.median, 4))
    result.verdicts += [
        Verdict("API requests a file", traffic.api_total / files, 1, at_least=False, counts=True),
        Verdict("bytes fetched twice", traffic.storage.twice, 0, at_least=False, counts=True),
    ]
    return result


def _copy(source: Path, target: Path) -> float:
    began = time.perf_counter()
    done = subprocess.run(
        ["rsync", "-a", f"{source}/", f"{target}/"], capture_output=True, timeout=500, check=False
    )
    seconds = time.perf_counter() - began
    check(done.returncode == 0, f"rsync failed ({done.returncode}): {done.stderr.decode()[-200:]}")
    return seconds


def _compare(target: Path, items: list[Item]) -> None:
    names = sorted(path.name for path in target.iterdir())
    check(
        names == sorted(item.name for item in items),
        f"{len(names)} files were copied instead of {len(items)}",
    )
    for item in items:
        verify(target / item.name, item)
    shutil.rmtree(target)
