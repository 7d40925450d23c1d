"""A cold recording, read front to back once, from shaped and from raw storage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.corpus import MB
from bench.figures import Result, Series, Verdict, best
from bench.peers import RCLONE_FULL, RCLONE_OFF, Fsspec, aria2, curl_ranges
from bench.processes import cpu_seconds
from bench.reading import timed, verify

if TYPE_CHECKING:
    from bench.corpus import Item
    from bench.stage import Stage
    from bench.storage import Variant

STREAMS = 16


def shaped(stage: Stage) -> Result:
    """30 ms to the first byte, 50 MB/s per connection."""
    result = Result(
        "seq-shaped",
        "Cold sequential read, shaped storage",
        "One cold file, front to back, 16 streams. Open and close are in the time, mounting is not.",
    )
    for variant in stage.variants(shaped=True):
        ours, curl, rclone = _compare(stage, result, variant)
        if rclone:
            ratio = ours.median / rclone.median
            result.verdicts.append(Verdict(f"{variant.label}: times rclone's best", ratio, 8))
        if curl:
            ratio = ours.median / curl.median
            result.verdicts.append(Verdict(f"{variant.label}: of 16 parallel curl ranges", ratio, 0.85))
    return result


def raw(stage: Stage) -> Result:
    """As fast as loopback goes."""
    result = Result(
        "seq-raw",
        "Cold sequential read, raw loopback",
        "The same from an nginx that nothing slows down; the API still answers after 30 ms.",
    )
    for variant in stage.variants(shaped=False):
        ours, _, rclone = _compare(stage, result, variant)
        if rclone:
            ratio = ours.median / rclone.median
            result.verdicts.append(Verdict(f"{variant.label}: times rclone's best", ratio, 2))
    return result


def _compare(stage: Stage, result: Result, variant: Variant) -> tuple[Series, Series | None, Series | None]:
    """Run all contenders, round by round; return ours, curl's and the best of rclone's numbers."""
    [item] = stage.files("large", 1, stage.options.size(400 * MB, 8 * MB))
    peers = stage.options.peers
    ours = Series(f"kallglotfs, {variant.label}", "MB/s")
    found = [ours]
    curl = tool = None
    mounts = []
    if peers != "none":
        curl = Series(f"16 curl ranges, {variant.label}", "MB/s")
        found.append(curl)
        mounts = list(RCLONE_OFF if peers == "all" else RCLONE_OFF[:1])
    if peers == "all":
        tool = Series(f"aria2, {variant.label}", "MB/s", note="writes to memory")
        found.append(tool)
        mounts += RCLONE_FULL
    rclones = [Series(f"{one.label}, {variant.label}", "MB/s", note=" ".join(one.options)) for one in mounts]
    found += rclones
    other = Series(f"fsspec, {variant.label}", "MB/s")
    if peers == "all" and variant.scheme == "http":
        found.append(other)
    cpu = []
    for _ in range(stage.options.rounds):
        seconds, used = _ours(stage, variant, item)
        ours.values.append(_speed(item, seconds))
        cpu.append(used)
        if curl:
            taken = curl_ranges(variant.plain(item.group, item.name), item.size, STREAMS, variant.authority)
            curl.values.append(_speed(item, taken))
        if tool:
            taken = aria2(variant.plain(item.group, item.name), item.size, STREAMS, variant.authority)
            tool.values.append(_speed(item, taken))
        for one, series in zip(mounts, rclones, strict=True):
            with one.mount(stage.directory("rclone"), variant, item.group) as mounted:
                mounted.file(item).stat()
                series.values.append(_speed(item, timed(mounted.file(item), item.size)))
                verify(mounted.file(item), item)
        if other in found:
            with Fsspec().mount(stage.directory("fsspec"), variant, item.group) as mounted:
                other.values.append(_speed(item, timed(mounted.file(item), item.size)))
                verify(mounted.file(item), item)
    ours.note = f"{sorted(cpu)[len(cpu) // 2] / item.size * 1e9:.2f} s of processor time per GB"
    result.series += found
    result.checked = ["every byte", "1 API request a read", "every byte of the storage's once"]
    return ours, curl, best(rclones) if rclones else None


def _ours(stage: Stage, variant: Variant, item: Item) -> tuple[float, float]:
    with stage.mount(variant, streams=STREAMS) as mounted:
        with stage.traffic() as traffic:
            before = cpu_seconds(mounted.pid)
            seconds = timed(mounted.file(item), item.size)
            used = cpu_seconds(mounted.pid) - before
        verify(mounted.file(item), item)
    stage.expect(traffic.api_total == 1, f"{variant.label}: {traffic} instead of 1 API request")
    stage.expect(traffic.storage.twice == 0, f"{variant.label}: {traffic}: bytes were fetched twice")
    stage.expect(traffic.storage.sent == item.size, f"{variant.label}: {traffic} for {item.size} bytes")
    return seconds, used


def _speed(item: Item, seconds: float) -> float:
    return item.size / seconds / MB
