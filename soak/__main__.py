"""Run the load, print the table, write the figures."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from soak import report
from soak.options import MIB, Options
from soak.preads import SIZES, read_at_random
from soak.run import Run
from soak.stage import Stage


def parse(arguments: list[str]) -> list[Options]:
    """Return the runs that the command line asks for; ends the program when it says nonsense."""
    parser = argparse.ArgumentParser(
        prog="scripts/soak",
        description="Read from a real mount with 64 processes that check every byte. Without a duration: the"
        " load alone, 15 minutes. With them: URLs live 30 s and 5 % of all requests go wrong.",
        epilog="example: scripts/soak --hours 8 --json soak.json",
    )
    parser.add_argument("--hours", type=float, default=0.0, help="soak for so long")
    parser.add_argument("--minutes", type=float, default=0.0, help="and for so long")
    parser.add_argument(
        "--quick", action="store_true", help="the load for 60 s, then bad weather for 20 s; for CI"
    )
    parser.add_argument(
        "--preads", type=int, metavar="N", help="instead, N reads at random against an oracle"
    )
    parser.add_argument("--calm", action="store_true", help="no faults, whatever the duration")
    parser.add_argument("--disk", action="store_true", help="with a disk tier, of 128 MiB")
    parser.add_argument("--seed", type=int, default=1, help="of everything left to chance [1]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help="one more mount option"
    )
    given = parser.parse_args(arguments)
    pairs = tuple((name, value) for name, _, value in (each.partition("=") for each in given.option))
    plain = Options(
        disk_cache=128 * MIB if given.disk else 0, mount_options=pairs, seed=given.seed, json=given.json
    )
    if given.preads:
        halves = replace(plain, preads=given.preads // 2, files=0, memory_cache=8 * MIB)
        return [replace(halves, disk_cache=0), replace(halves, disk_cache=64 * MIB, seed=given.seed + 1)]
    if given.quick:
        calm = replace(plain, seconds=60.0, warm_up=8.0)
        return [calm, replace(calm, seconds=20.0, warm_up=4.0, weather=True)]
    seconds = (given.hours * 60 + given.minutes) * 60
    return [replace(plain, seconds=seconds, weather=not given.calm) if seconds else plain]


def _stop(number: int, _frame: object) -> NoReturn:
    # As an exception, so that the mount and every process is taken down on the way out.
    raise SystemExit(128 + number)


def _preads(options: Options) -> dict[str, Any]:
    """Read at random, print what came of it and return it."""
    tier = (
        f"with a disk tier of {options.disk_cache // MIB} MiB"
        if options.disk_cache
        else "without a disk tier"
    )
    print(f"== {options.preads} reads at random {tier}", flush=True)
    with Stage(options) as stage:
        files = {}
        for index, size in enumerate(SIZES):
            stage.service.add_recording(f"rec_pread{index:02}", size)
            files[stage.recordings / f"rec_pread{index:02}.mp3"] = stage.service.audio(f"rec_pread{index:02}")
        reads = read_at_random(files, options.preads, options.seed)
        asked = stage.service.requests
        found = {
            "seconds": reads.seconds,
            "ways": dict(reads.ways),
            "bytes": reads.compared,
            "differences": reads.differences,
            "wrong": reads.wrong,
            "requests": {kind: asked.count(kind) for kind in ("api", "storage")},
            "sent": sum(each.bytes_sent for each in asked.records("storage")),
            "longest_s": reads.latencies.longest,
        } | {f"p{part * 100:g}_s": reads.latencies.percentile(part) for part in (0.5, 0.99, 0.999)}
    print(json.dumps(found, indent=1), flush=True)
    return found


def main(arguments: list[str]) -> int:
    """Run; 0 when all was as promised, 1 when not, 130 when interrupted from the keyboard."""
    runs = parse(arguments)
    # The service's complaints that readers went elsewhere in the middle of an answer, thousands of them.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    # Not as an exception: what has been found until then is told.
    stopped = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: stopped.set())
    figures: list[dict[str, Any]] = []
    failed = interrupted = False
    for options in runs:
        if options.preads:
            found = _preads(options)
            figures.append(found)
            failed |= bool(found["differences"])
            continue
        what = "URLs of 30 s and 5 % faults" if options.weather else "load"
        print(f"== {what}: {options.seconds:.0f} s after a warm-up of {options.warm_up:.0f} s", flush=True)
        with Stage(options) as stage:
            outcome = Run(stage, options, stopped).run()
            print(report.as_text(outcome), flush=True)
            figures.append(report.as_json(outcome))
            failed |= bool(outcome.violations)
            interrupted |= outcome.interrupted
            if outcome.violations:
                print("the daemon's log ends with:\n" + "\n".join(stage.log.splitlines()[-20:]), flush=True)
        if interrupted:
            break
    if runs[0].json is not None:
        runs[0].json.write_text(json.dumps(figures, indent=1))
    if failed:
        return 1
    return 130 if interrupted else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
