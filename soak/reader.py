"""One reader, a process of its own: reads from the mount and compares every byte with the oracle.

`python -m soak.reader ORDER` with a JSON order; prints violations as they happen, and a summary at the end,
one JSON object a line. Standard library only, so that 64 of them start quickly. It ends when the stop file
appears: a signal would interrupt the very calls that are measured.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import random
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from soak.latency import Latencies

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

#: Violations told in full; more are only counted.
TOLD = 20
KIB = 1024


@dataclass(frozen=True, slots=True)
class Order:
    """What a reader is to do.

    Attributes:
        kind: `sequential`, `random` or `churn`.
        mount: directory of the mounted files.
        oracle: directory of files with the bytes that must come.
        names: files, in both directories.
        seed: of its choices.
        limit: seconds a call may take.
        stop: it ends when this file is there.
    """

    kind: str
    mount: str
    oracle: str
    names: list[str]
    seed: int
    limit: float
    stop: str


@dataclass(slots=True)
class Tally:
    """What a reader saw."""

    latencies: Latencies = field(default_factory=Latencies)
    compared: int = 0
    errors: int = 0
    mismatches: int = 0
    late: int = 0


class Reader:
    """Reads until it is told to stop.

    Args:
        order: what to do.
    """

    def __init__(self, order: Order) -> None:
        self._order = order
        self._random = random.Random(order.seed)
        self._oracles = {name: _mapped(Path(order.oracle, name)) for name in order.names}
        self.tally = Tally()

    def run(self) -> None:
        """Read; one round is one file or one call."""
        rounds: dict[str, Callable[[], None]] = {
            "sequential": self._whole_file,
            "random": self._random_reads,
            "churn": self._open_and_close,
        }
        while not self._stopped():
            with contextlib.suppress(OSError):  # counted where it happened
                rounds[self._order.kind]()

    def _stopped(self) -> bool:
        return os.access(self._order.stop, os.F_OK)

    def _whole_file(self) -> None:
        """Read a file front to back; the pages read are dropped, or the kernel would answer the next."""
        name = self._pick()
        size = len(self._oracles[name])
        step = self._random.choice((64 * KIB, 128 * KIB, 1000 * KIB))
        descriptor = self._open(name)
        try:
            self._drop(descriptor)
            at = 0
            while at < size and not self._stopped():
                part = self._timed("read", name, at, lambda: os.read(descriptor, step))
                self._compare(name, at, step, part)
                if not part:
                    return
                at += len(part)
            if at >= size:
                self._compare(name, at, 1, self._timed("read", name, at, lambda: os.read(descriptor, 1)))
            self._drop(descriptor)
        finally:
            self._close(name, descriptor)

    def _random_reads(self) -> None:
        """Read at a hundred places of a file."""
        name = self._pick()
        descriptor = self._open(name)
        try:
            for turn in range(100):
                if self._stopped():
                    return
                if turn % 10 == 0:
                    self._drop(descriptor)
                self._pread(name, descriptor, self._random.choice((1, 4 * KIB, 32 * KIB, 300 * KIB)))
        finally:
            self._close(name, descriptor)

    def _open_and_close(self) -> None:
        """Open, look, read a little, close."""
        name = self._pick()
        descriptor = self._open(name)
        try:
            size = self._timed("fstat", name, 0, lambda: os.fstat(descriptor)).st_size
            if size != len(self._oracles[name]):
                self._tell("mismatch", name, 0, f"{size} bytes, not {len(self._oracles[name])}")
            self._drop(descriptor)
            self._pread(name, descriptor, 4 * KIB)
        finally:
            self._close(name, descriptor)

    def _pread(self, name: str, descriptor: int, length: int) -> None:
        offset = self._random.randrange(len(self._oracles[name]) + 1)
        part = self._timed("pread", name, offset, lambda: os.pread(descriptor, length, offset))
        self._compare(name, offset, length, part)

    def _pick(self) -> str:
        return self._random.choice(self._order.names)

    def _open(self, name: str) -> int:
        path = os.path.join(self._order.mount, name)  # noqa: PTH118 - once per call
        return self._timed("open", name, 0, lambda: os.open(path, os.O_RDONLY))

    def _close(self, name: str, descriptor: int) -> None:
        self._timed("close", name, 0, lambda: os.close(descriptor))

    def _drop(self, descriptor: int) -> None:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def _timed(self, what: str, name: str, offset: int, call: Callable[[], T]) -> T:
        began = time.perf_counter()
        try:
            return call()
        except OSError as error:
            self._tell("error", name, offset, f"{what}: {error.strerror} ({error.errno})")
            raise
        finally:
            seconds = time.perf_counter() - began
            self.tally.latencies.add(seconds)
            if seconds > self._order.limit:
                self._tell("late", name, offset, f"{what} took {seconds:.1f} s")

    def _compare(self, name: str, offset: int, length: int, got: bytes) -> None:
        """Compare; fewer bytes than asked for are right at the end of the file only."""
        if got != self._oracles[name][offset : offset + length]:
            self._tell("mismatch", name, offset, f"{len(got)} bytes for {length} asked")
        self.tally.compared += len(got)

    def _tell(self, kind: str, name: str, offset: int, what: str) -> None:
        tally = self.tally
        match kind:
            case "error":
                tally.errors += 1
            case "mismatch":
                tally.mismatches += 1
            case _:
                tally.late += 1
        if tally.errors + tally.mismatches + tally.late <= TOLD:
            seen = {"violation": kind, "file": name, "offset": offset, "what": what, "at": time.time()}
            print(json.dumps(seen), flush=True)


def _mapped(path: Path) -> mmap.mmap | bytes:
    """Return a file's bytes, shared among all readers."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            return b""
        return mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)


def main(argument: str) -> None:
    """Carry out one order and print the summary."""
    reader = Reader(Order(**json.loads(argument)))
    reader.run()
    tally = reader.tally
    print(
        json.dumps(
            {
                "latencies": tally.latencies.as_json(),
                "compared": tally.compared,
                "errors": tally.errors,
                "mismatches": tally.mismatches,
                "late": tally.late,
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    main(sys.argv[1])
