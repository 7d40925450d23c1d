"""`kallglotfs demo` and `python -m kallglotfs.demo`: the service in the foreground."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import sys
import threading

from kallglotfs.demo.knobs import Knobs


def main(arguments: list[str] | None = None) -> int:
    """Run the service until SIGINT or SIGTERM.

    Args:
        arguments: without the program's name.

    Returns:
        The exit code.

    Raises:
        ImportError: the packages of the extra are not installed.
    """
    given = _parser().parse_args(arguments)
    # Not at the top: `--help` needs no packages of the extra.
    service = importlib.import_module("kallglotfs.demo.server")

    knobs = Knobs(
        generation=given.generation,
        url_lifetime=given.url_lifetime,
        rate_limit=given.rate_limit,
        api_latency=given.latency / 1000,
        storage_latency=given.latency / 1000,
    )
    try:
        server = service.DemoServer(
            knobs,
            api_key=given.api_key or service.API_KEY,
            host=given.host,
            api_port=given.api_port,
            storage_port=given.storage_port,
        )
    except OSError as error:
        sys.stderr.write(f"kallglotfs demo: {given.host}: {error.strerror}\n")
        return 1
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with server:
        facts = {
            "api_url": server.api_url,
            "storage_url": server.storage_url,
            "api_key": server.api_key,
            "control_url": server.control_url,
            "pid": os.getpid(),
        }
        if given.json:
            text = json.dumps(facts)
        else:
            text = "\n".join(
                [
                    *(f"{name:12}{value}" for name, value in facts.items()),
                    "",
                    "mount it, from another terminal, with:",
                    f"  export KALLGLOT_API_KEY={server.api_key}",
                    f"  mount.kallglotfs /mnt/calls -o api_url={server.api_url}",
                ]
            )
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
        ended.wait()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kallglotfs demo",
        description="Run a Kallglot-compatible service on localhost with real recordings.",
        epilog="example: kallglotfs demo --url-lifetime 60 --rate-limit 60",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on [127.0.0.1]")
    parser.add_argument("--api-port", type=int, default=0, help="[a free one]")
    parser.add_argument("--storage-port", type=int, default=0, help="[a free one]")
    parser.add_argument("--api-key", help="the key it accepts")
    parser.add_argument("--generation", type=int, choices=(1, 2), default=1, help="of the API [1]")
    parser.add_argument("--url-lifetime", type=float, default=3600.0, metavar="SECONDS", help="[3600]")
    parser.add_argument("--rate-limit", type=int, metavar="N", help="API requests per minute [unlimited]")
    parser.add_argument("--latency", type=float, default=0.0, metavar="MS", help="of every answer [0]")
    parser.add_argument("--json", action="store_true", help="print one line of JSON when ready")
    return parser


if __name__ == "__main__":
    sys.exit(main())
