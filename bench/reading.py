"""Reading files as fast as a program can, and comparing them with their source."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from bench.checks import check
from bench.corpus import MIB

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from bench.corpus import Item


def read_through(path: Path, buffer: bytearray | None = None) -> int:
    """Read a file front to back into one buffer of 1 MiB and return how many bytes it had."""
    into = memoryview(buffer if buffer is not None else bytearray(MIB))
    total = 0
    descriptor = os.open(path, os.O_RDONLY)
    try:
        while count := os.readv(descriptor, [into]):
            total += count
    finally:
        os.close(descriptor)
    return total


def timed(path: Path, size: int) -> float:
    """Read a file and return the seconds from before `open` to after `close`.

    Raises:
        CheckFailed: it had another size.
    """
    buffer = bytearray(MIB)
    began = time.perf_counter()
    total = read_through(path, buffer)
    seconds = time.perf_counter() - began
    check(total == size, f"{path.name}: read {total} bytes of {size}")
    return seconds


def warm(paths: Iterable[Path]) -> None:
    """Bring files into the page cache."""
    buffer = bytearray(MIB)
    for path in paths:
        read_through(path, buffer)


def cool(root: Path) -> None:
    """Drop what the page cache holds of every file below a directory."""
    os.sync()
    for directory, _, names in os.walk(root):
        for name in names:
            descriptor = os.open(os.path.join(directory, name), os.O_RDONLY)  # noqa: PTH118 - 10,000 block files
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)


def verify(path: Path, item: Item) -> None:
    """Compare a file with its source, 1 MiB at a time.

    Raises:
        CheckFailed: a byte differs or the length does.
    """
    here, there = bytearray(MIB), bytearray(MIB)
    position = 0
    with path.open("rb", buffering=0) as mounted, item.source.open("rb", buffering=0) as source:
        while True:
            wanted = source.readinto(there)
            got = _fill(mounted, memoryview(here)[:wanted]) if wanted else len(mounted.read(1))
            same = here[:got] == there[:wanted] if got != MIB else here == there
            check(got == wanted and same, f"{path.name}: bytes differ from the source near {position}")
            if not wanted:
                return
            position += wanted


def _fill(file: object, target: memoryview) -> int:
    """Read until the target is full: only the bytes are compared here, short reads are tested elsewhere."""
    total = 0
    while total < len(target):
        count = file.readinto(target[total:])  # type: ignore[attr-defined]
        if not count:
            break
        total += count
    return total
