"""Run the scenarios, print what they found and write the report."""

from __future__ import annotations

import argparse
import signal
import sys
import time
import traceback
from typing import TYPE_CHECKING, NoReturn

from bench import report
from bench.checks import CheckFailed
from bench.options import PEERS, SCHEMES, Options
from bench.scenarios import SCENARIOS
from bench.stage import Stage

if TYPE_CHECKING:
    from bench.figures import Result


def parse(arguments: list[str]) -> Options:
    """Return what the command line says; ends the program when it says nonsense."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measure kallglotfs beside its peers; bytes and request counts are checked each round.",
    )
    parser.add_argument("--quick", action="store_true", help="small, one round, asserts counts but no times")
    parser.add_argument(
        "--only", action="append", metavar="NAME", choices=list(SCENARIOS), help="this one; repeatable"
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds per scenario (3; with --quick 1)")
    parser.add_argument("--peers", choices=PEERS, default="all", help="which peers run beside it")
    parser.add_argument("--schemes", choices=SCHEMES, default="both", help="storage over http, https or both")
    parser.add_argument("--huge", action="store_true", help="growth up to 10 GB")
    parser.add_argument("--no-write", action="store_true", help="leave docs/performance as it is")
    parser.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help="one more mount option"
    )
    parser.add_argument("--list", action="store_true", help="print the names of the scenarios")
    given = parser.parse_args(arguments)
    if given.list:
        print("\n".join(SCENARIOS))
        raise SystemExit(0)
    return Options(
        quick=given.quick,
        names=tuple(given.only or SCENARIOS),
        rounds=given.rounds or (1 if given.quick else 3),
        peers="fast" if given.quick and given.peers == "all" else given.peers,
        schemes=("http", "https") if given.schemes == "both" else (given.schemes,),
        huge=given.huge,
        write=not (given.no_write or given.quick),
        mount_options=tuple(given.option),
    )


def _stop(number: int, _frame: object) -> NoReturn:
    # As an exception, so that every mount and every process is taken down on the way out.
    raise SystemExit(128 + number)


def main(arguments: list[str]) -> int:
    """Run; 0 when every check held, 1 when one did not."""
    options = parse(arguments)
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGHUP, _stop)
    results: list[Result] = []
    failures: list[str] = []
    failed = 0
    began = time.monotonic()
    with Stage(options) as stage:
        for name in options.names:
            started = time.monotonic()
            stage.failures()
            try:
                result = SCENARIOS[name](stage)
            except CheckFailed as failure:
                failures.append(f"{name}: {failure}")
                failed += 1
                print(f"FAILED {name}: {failure}", flush=True)
            except Exception as error:  # noqa: BLE001 - one broken scenario must not cost the others
                traceback.print_exc()
                failed += 1
                failures.append(f"{name}: {type(error).__name__}: {error}")
                print(f"FAILED {failures[-1]}", flush=True)
            else:
                print(report.as_text(result, judged=not options.quick), flush=True)
                results.append(result)
                wrong = stage.failures()
                failures += [f"{name}: {one}" for one in wrong]
                for one in wrong:
                    print(f"FAILED {name}: {one}", flush=True)
                failed += bool(wrong)
                print(f"({name}: {time.monotonic() - started:.1f} s)\n", flush=True)
        if options.write and results:
            report.write(results, failures, options)
    print(f"took {time.monotonic() - began:.0f} s")
    print(f"{len(options.names) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
