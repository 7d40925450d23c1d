"""64 KiB here and there in a large file, as a training loop over segments reads."""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING

from bench.checks import check
from bench.corpus import MB
from bench.figures import Result, Series, Verdict, percentile
from bench.peers import RCLONE_OFF, Fsspec
from bench.plain_http import PlainClient

if TYPE_CHECKING:
    from pathlib import Path

    from bench.corpus import Item
    from bench.stage import Stage
    from bench.storage import Variant

LENGTH = 64 * 1024
#: No two reads nearer than this: each must go to the storage, whatever a block is.
APART = 1 << 20


def run(stage: Stage) -> Result:
    """Read at random offsets of an open file, one after the other."""
    result = Result(
        "random-64k",
        "64 KiB reads at random offsets, shaped storage",
        "`pread` of 64 KiB at random places at least 1 MiB apart, file already open. Beside it a plain "
        "keep-alive `requests` GET of the same 64 KiB, turn and turn about.",
        checked=["the bytes of every read", "1 API request"],
    )
    [item] = stage.files("large", 1, stage.options.size(400 * MB, 8 * MB))
    for variant in stage.variants(shaped=True):
        _one(stage, result, variant, item)
    return result


def _offsets(stage: Stage, item: Item) -> list[int]:
    # The first MiB and the last are left out: an open may have fetched them.
    slots = range(4, item.size // APART - 1)
    count = min(stage.options.size(100, 3), len(slots))
    chosen = random.Random(64).sample(slots, count)
    return [slot * APART + random.Random(slot).randrange(0, APART - LENGTH) for slot in chosen]


def _one(stage: Stage, result: Result, variant: Variant, item: Item) -> None:
    ours = Series(f"kallglotfs, {variant.label}", "ms")
    plain = Series(f"plain GET of 64 KiB, {variant.label}", "ms")
    offsets = _offsets(stage, item)
    for _ in range(stage.options.rounds):
        with stage.mount(variant) as mounted, PlainClient(variant) as client:
            client.range(item, 0, LENGTH)
            with stage.traffic() as traffic:
                ours.values += _read(
                    mounted.file(item),
                    item,
                    offsets,
                    lambda at: plain.values.append(client.range(item, at, LENGTH) * 1000),
                )
        stage.expect(traffic.api_total == 1, f"{variant.label}: {traffic} instead of 1 API request")
    mine = [one for one in traffic.requests if one.path.startswith("/signed/")]
    fetched = sum(one.sent for one in mine) / len(offsets) / 1024
    each = f"{len(mine) / len(offsets):.2f} requests, {fetched:.0f} KiB a read"
    ours.note = f"p95 {percentile(ours.values, 0.95):.1f} ms; {each}"
    plain.note = f"p95 {percentile(plain.values, 0.95):.1f} ms"
    result.series += [ours, plain]
    result.verdicts += [
        Verdict(
            f"{variant.label}: median, times the plain GET's",
            ours.median / plain.median,
            1.15,
            at_least=False,
        ),
        Verdict(
            f"{variant.label}: p95, times the plain GET's median",
            percentile(ours.values, 0.95) / plain.median,
            1.5,
            at_least=False,
        ),
    ]
    if stage.options.peers == "none" or variant.scheme != "http":
        return
    peers = [RCLONE_OFF[0]] + ([Fsspec()] if stage.options.peers == "all" else [])
    for peer in peers:
        series = Series(f"{peer.label}, {variant.label}", "ms")
        with peer.mount(stage.directory("peer"), variant, item.group) as other:
            other.file(item).stat()
            series.values = _read(other.file(item), item, offsets, lambda _: None)
        series.note = f"p95 {percentile(series.values, 0.95):.1f} ms"
        result.series.append(series)


def _read(path: Path, item: Item, offsets: list[int], between: object) -> list[float]:
    """Read at each offset and return milliseconds; the bytes are compared between two reads."""
    taken = []
    source = os.open(item.source, os.O_RDONLY)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.pread(descriptor, 1, 0)
        time.sleep(0.3)  # what the first read set going has come to rest
        for at in offsets:
            began = time.perf_counter()
            content = os.pread(descriptor, LENGTH, at)
            taken.append((time.perf_counter() - began) * 1000)
            check(content == os.pread(source, LENGTH, at), f"{item.name}: bytes differ at {at}")
            between(at)  # type: ignore[operator]
    finally:
        os.close(descriptor)
        os.close(source)
    return taken
