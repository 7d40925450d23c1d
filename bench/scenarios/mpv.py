"""A person plays an hour-long call: start, seek to the middle, seek to the end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import kallglotfs.demo
from bench.figures import Result, Series, Verdict
from bench.player import Mpv
from bench.reading import verify
from kallglotfs.demo.sources import Voice

if TYPE_CHECKING:
    from bench.corpus import Item
    from bench.stage import Stage

VOICE = Path(kallglotfs.demo.__file__).parent / "voices" / "long.flac"
#: How often the voice is repeated: an hour.
REPEATS = 209
#: Seconds listened after each step, so that read-ahead shows in the count.
LISTENED = 2.0
#: Storage requests of the ideal: the head, mpv's look at the tail, the middle, and the end.
IDEAL_REQUESTS = 4
#: Part of the file that a start and two seeks may fetch and still be no whole-file download.
NOT_WHOLE = 0.75
#: Without these mpv reads the whole file by itself (its `rchar` shows it): it fills a cache of its own, and
#: finds a place in an MP3 by reading up to it.
SEEKING = ("--cache=no", "--demuxer-lavf-o=fflags=+fastseek")


def run(stage: Stage) -> Result:
    """Count what a player's steps cost."""
    result = Result(
        "mpv",
        "mpv: start, seek to 50 %, seek to the end",
        "An MP3 of an hour, shaped storage, `--ao=null`; until mpv says `playback-restart`, then "
        f"{LISTENED:g} s are listened. Ideal: 1 API request, and a storage request each for the head, mpv's "
        "look at the tail, the middle and the end. Once with `" + " ".join(SEEKING) + "`, where mpv "
        "reads only what it plays, and once with its defaults, where mpv itself reads the whole file.",
        checked=["every byte", "1 API request", "no byte of the storage's twice", "no whole-file download"],
    )
    item = stage.corpus.add(
        "calls",
        Voice(VOICE, "mixed", stage.options.size(REPEATS, REPEATS // 4)).render("mp3", 8000, mono=False),
    )
    stage.publish([item])
    requests, part = _play(stage, result, item, "seeking", SEEKING)
    if not stage.options.quick:
        stage.expect(part < NOT_WHOLE, f"seeking fetched {part:.0%} of the file")
        _play(stage, result, item, "mpv's defaults", ())
    result.verdicts += [
        Verdict("storage requests, seeking", requests, IDEAL_REQUESTS, at_least=False, counts=True),
        Verdict("part of the file fetched, seeking", part, NOT_WHOLE, at_least=False),
    ]
    return result


def _play(
    stage: Stage, result: Result, item: Item, label: str, options: tuple[str, ...]
) -> tuple[float, float]:
    """Play in every round; return the storage requests and the part of the file that was fetched, medians."""
    variant = stage.storage.variant(shaped=True)
    steps = [
        Series(f"{label}: {step}", "ms")
        for step in ("start to first audio", "seek to 50 %", "seek to the end")
    ]
    requests = Series(f"{label}: storage requests", "")
    fetched = Series(f"{label}: fetched of the file", "%")
    for _ in range(stage.options.rounds):
        with stage.mount(variant) as mounted:
            with stage.traffic() as traffic, Mpv(stage.directory("mpv"), *options) as player:
                mark, had = stage.storage.mark(), player.read
                for number, series in enumerate(steps):
                    series.values.append(_step(player, number, mounted.file(item)) * 1000)
                    time.sleep(LISTENED)
                    seen, has = stage.storage.since(mark), player.read
                    mark = stage.storage.mark()
                    series.note = (
                        f"{len(seen)} storage requests, {sum(one.sent for one in seen) / 1e6:.2f} MB; "
                        f"mpv read {(has - had) / 1e6:.2f} MB"
                    )
                    had = has
            verify(mounted.file(item), item)
        requests.values.append(traffic.storage.requests)
        fetched.values.append(traffic.storage.sent / item.size * 100)
        stage.expect(traffic.api_total == 1, f"{label}: {traffic} instead of 1 API request")
        stage.expect(traffic.storage.twice == 0, f"{label}: {traffic}: bytes were fetched twice")
    fetched.note = f"the file has {item.size / 1e6:.1f} MB"
    result.series += [*steps, requests, fetched]
    return requests.median, fetched.median / 100


def _step(player: Mpv, number: int, path: Path) -> float:
    if number == 0:
        return player.load(path)
    return player.seek(50, "absolute-percent") if number == 1 else player.seek(-8, "absolute")
