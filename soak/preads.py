"""A million reads at random against an oracle: every way to read a file, every place in it that is special.

Used by `scripts/soak --preads N` and by the tests, which make fewer.
"""

from __future__ import annotations

import errno
import mmap
import multiprocessing
import os
import random
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from soak.latency import Latencies
from soak.options import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

T = TypeVar("T")

KIB = 1024
#: Bytes of a block of the mount's cache, and of a page.
BLOCK, PAGE = 256 * KIB, 4 * KIB
#: Sizes of files at which something changes, two odd ones, and two that do not fit into memory together.
SIZES = (
    0, 1, PAGE - 1, PAGE, PAGE + 1, BLOCK - 1, BLOCK, BLOCK + 1, MIB - 1, MIB, MIB + 1, 777_777, 3_000_017,
    14 * MIB + 13, 12 * MIB,
)  # fmt: skip
#: Offsets that no file here reaches, a real one's limit among them.
_BEYOND = (2**31, 2**32 + 5, 2**40, 2**62)
#: Differences told in full; more are only counted.
TOLD = 20


@dataclass(slots=True)
class Reads:
    """What was read.

    Attributes:
        ways: way of reading to how often.
        latencies: of all of them.
        compared: bytes.
        wrong: what differed from the oracle, the first ones.
        differences: how many did.
        seconds: all together.
    """

    ways: Counter[str] = field(default_factory=Counter)
    latencies: Latencies = field(default_factory=Latencies)
    compared: int = 0
    wrong: list[str] = field(default_factory=list)
    differences: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class _File:
    name: str
    path: Path
    content: bytes
    descriptor: int
    direct: int


def read_at_random(files: Mapping[Path, bytes], count: int, seed: int) -> Reads:
    """Read `count` times and compare each time.

    It is done by a process of its own: a page fault in mapped memory holds Python's lock, and the service, if
    it runs in the caller's process, could not answer.

    Args:
        files: mounted paths, and what they must hold.
        count: reads.
        seed: of all choices.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(_read, dict(files), count, seed).result()


def _read(files: dict[Path, bytes], count: int, seed: int) -> Reads:
    return _Reading(files, seed).run(count)


class _Reading:
    def __init__(self, files: Mapping[Path, bytes], seed: int) -> None:
        self._random = random.Random(seed)
        self._files = [
            _File(
                path.name, path, content, os.open(path, os.O_RDONLY), os.open(path, os.O_RDONLY | os.O_DIRECT)
            )
            for path, content in files.items()
        ]
        # O_DIRECT wants memory that begins at a page.
        self._aligned = mmap.mmap(-1, MIB)
        self._reads = Reads()

    def run(self, count: int) -> Reads:
        ways: list[Callable[[_File], None]] = [
            self._pread, self._preadv, self._seek_and_read, self._mapped, self._direct, self._holes,
            self._negative, self._again, self._drop,
        ]  # fmt: skip
        weights = [60, 10, 8, 6, 6, 3, 2, 2, 3]
        began = time.monotonic()
        try:
            for _ in range(count):
                file = self._random.choice(self._files)
                self._random.choices(ways, weights)[0](file)
        finally:
            for file in self._files:
                os.close(file.descriptor)
                os.close(file.direct)
        self._reads.seconds = time.monotonic() - began
        return self._reads

    def _offset(self, file: _File) -> int:
        """Return an offset: anywhere, close to a block's border or to the end, beyond it, far beyond it."""
        size = len(file.content)
        match self._random.randrange(10):
            case 0:
                return 0
            case 1 | 2:
                return max(0, self._random.randrange(size // BLOCK + 2) * BLOCK + self._random.randint(-3, 3))
            case 3 | 4:
                return max(0, size + self._random.randint(-10, 10))
            case 5:
                return self._random.choice(_BEYOND) if self._random.random() < 0.1 else size  # noqa: PLR2004
            case _:
                return self._random.randrange(size + 1)

    def _length(self) -> int:
        chosen = self._random.choice((0, 1, 2, 100, PAGE, PAGE, 16 * KIB, 16 * KIB, 64 * KIB, BLOCK, MIB))
        return max(0, chosen + self._random.choice((0, 0, -1, 1, 17)))

    def _pread(self, file: _File) -> None:
        offset, length = self._offset(file), self._length()
        got = self._timed("pread", lambda: os.pread(file.descriptor, length, offset))
        self._compare("pread", file, offset, length, got)

    def _preadv(self, file: _File) -> None:
        offset = self._offset(file)
        into = [bytearray(self._length()) for _ in range(3)]
        count = self._timed("preadv", lambda: os.preadv(file.descriptor, into, offset))
        self._compare("preadv", file, offset, sum(map(len, into)), b"".join(into)[:count])

    def _seek_and_read(self, file: _File) -> None:
        """From the start, from here, from the end."""
        size, offset, length = len(file.content), min(self._offset(file), 2**40), self._length()
        match self._random.randrange(3):
            case 0:
                at = os.lseek(file.descriptor, offset, os.SEEK_SET)
            case 1:
                here = os.lseek(file.descriptor, size // 2, os.SEEK_SET)
                at = os.lseek(file.descriptor, offset - here, os.SEEK_CUR)
            case _:
                at = os.lseek(file.descriptor, offset - size, os.SEEK_END)
        if at != offset:
            self._differs("lseek", file, offset, f"came to {at}")
        got = self._timed("seek and read", lambda: os.read(file.descriptor, length))
        self._compare("seek and read", file, offset, length, got)

    def _mapped(self, file: _File) -> None:
        size = len(file.content)
        if not size:
            return
        offset, length = self._random.randrange(size), self._length()
        with mmap.mmap(file.descriptor, 0, prot=mmap.PROT_READ) as mapped:
            if len(mapped) != size:
                self._differs("mmap", file, 0, f"is of {len(mapped)} bytes")
            got = self._timed("mmap", lambda: mapped[offset : offset + length])
        self._compare("mmap", file, offset, length, got)

    def _direct(self, file: _File) -> None:
        """Past the page cache, in whole pages."""
        offset = self._offset(file) // PAGE * PAGE
        length = self._random.choice((PAGE, 16 * KIB, BLOCK, MIB))
        view = memoryview(self._aligned)[:length]
        count = self._timed("O_DIRECT", lambda: os.preadv(file.direct, [view], offset))
        self._compare("O_DIRECT", file, offset, length, bytes(view[:count]))

    def _holes(self, file: _File) -> None:
        """There are none: all is one run of content up to the end."""
        size = len(file.content)
        offset = self._random.randint(0, size + 1)
        for how, wanted in ((os.SEEK_DATA, offset), (os.SEEK_HOLE, size)):
            found: int | None
            try:
                found = self._timed("SEEK_DATA, SEEK_HOLE", partial(os.lseek, file.descriptor, offset, how))
            except OSError as error:
                found = None if error.errno == errno.ENXIO else -1
            if found != (wanted if offset < size else None):
                self._differs("lseek", file, offset, f"SEEK_DATA or SEEK_HOLE gave {found}")

    def _negative(self, file: _File) -> None:
        """Before the file there is nothing."""
        for call in (
            lambda: os.pread(file.descriptor, 10, -self._random.randrange(1, 2**40)),
            lambda: os.lseek(file.descriptor, -len(file.content) - 1, os.SEEK_END),
        ):
            try:
                call()
            except OSError as error:
                if error.errno == errno.EINVAL:
                    continue
            self._differs("negative offset", file, -1, "was not refused with EINVAL")
        self._reads.ways["negative offset"] += 1

    def _again(self, file: _File) -> None:
        """Close and open; the size is right."""
        os.close(file.descriptor)
        file.descriptor = self._timed("open", lambda: os.open(file.path, os.O_RDONLY))
        size = os.fstat(file.descriptor).st_size
        if size != len(file.content):
            self._differs("fstat", file, 0, f"is of {size} bytes")

    def _drop(self, file: _File) -> None:
        """Drop the kernel's pages of the file, so that the mount answers again."""
        os.posix_fadvise(file.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        self._pread(file)

    def _timed(self, way: str, call: Callable[[], T]) -> T:
        began = time.perf_counter()
        try:
            return call()
        finally:
            self._reads.latencies.add(time.perf_counter() - began)
            self._reads.ways[way] += 1

    def _compare(self, way: str, file: _File, offset: int, length: int, got: bytes) -> None:
        self._reads.compared += len(got)
        if got != file.content[offset : offset + length]:
            self._differs(way, file, offset, f"{len(got)} bytes for {length} asked")

    def _differs(self, way: str, file: _File, offset: int, what: str) -> None:
        self._reads.differences += 1
        if len(self._reads.wrong) < TOLD:
            self._reads.wrong.append(f"{way} of {file.name} at {offset}: {what}")
