"""How long a program waits for the first byte of a recording that nobody has opened yet."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from bench.corpus import MB
from bench.figures import Result, Series, Verdict, percentile
from bench.peers import RCLONE_OFF, Fsspec
from bench.plain_http import PlainClient
from bench.reading import verify

if TYPE_CHECKING:
    from pathlib import Path

    from bench.corpus import Item
    from bench.stage import Stage
    from bench.storage import Variant

#: Seconds between two samples: read-ahead of the last one is done by then.
PAUSE = 0.15


def run(stage: Stage) -> Result:
    """Open and read one byte, each time of another recording."""
    result = Result(
        "first-byte",
        "Open to first byte, cold recording",
        "`open` and a read of one byte, a new recording each time, on a mount that is otherwise idle. The "
        "floor is one plain keep-alive request to the API plus one to the storage (one byte), measured next.",
        checked=["every byte", "1 API request a recording"],
    )
    count = stage.options.size(30, 5)
    items = stage.files("openings", count, stage.options.size(4 * MB, MB))
    for variant in stage.variants(shaped=True):
        _one(stage, result, variant, items)
    return result


def _one(stage: Stage, result: Result, variant: Variant, items: list[Item]) -> None:
    ours = Series(f"kallglotfs, {variant.label}", "ms")
    api = Series(f"plain API request, {variant.label}", "ms")
    storage = Series(f"plain storage request, {variant.label}", "ms")
    for _ in range(stage.options.rounds):
        with stage.mount(variant) as mounted, PlainClient(variant) as plain:
            with stage.traffic() as traffic:
                for item in items:
                    ours.values.append(first_byte(mounted.file(item)) * 1000)
                    time.sleep(PAUSE)
            stage.expect(
                traffic.api == {item.id: 1 for item in items},
                f"{variant.label}: {traffic} for {len(items)} files",
            )
            plain.metadata(stage.api, items[0])
            plain.range(items[0], 0, 1)
            for item in items:
                api.values.append(plain.metadata(stage.api, item) * 1000)
                storage.values.append(plain.range(item, 0, 1) * 1000)
            for item in items:
                verify(mounted.file(item), item)
    per_file = traffic.storage.requests / len(items)
    ours.note = f"p95 {percentile(ours.values, 0.95):.1f} ms; {per_file:.1f} storage requests a file"
    result.series += [ours, api, storage]
    floor = api.median + storage.median
    result.verdicts.append(
        Verdict(
            f"{variant.label}: times one API + one storage round trip",
            ours.median / floor,
            1.25,
            at_least=False,
        )
    )
    if stage.options.peers == "none" or variant.scheme != "http":
        return
    peers = [RCLONE_OFF[0]] + ([Fsspec()] if stage.options.peers == "all" else [])
    for peer in peers:
        series = Series(f"{peer.label}, {variant.label}", "ms", note="asks no API; listed beforehand")
        with peer.mount(stage.directory("peer"), variant, items[0].group) as other:
            for item in items:
                other.file(item).stat()
            for item in items:
                series.values.append(first_byte(other.file(item)) * 1000)
                time.sleep(PAUSE)
                verify(other.file(item), item)
        result.series.append(series)


def first_byte(path: Path) -> float:
    """Open a file and read one byte; return the seconds that took."""
    began = time.perf_counter()
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.read(descriptor, 1)
        return time.perf_counter() - began
    finally:
        os.close(descriptor)
