"""The disk tier: right bytes or none, within its capacity, whatever happens to the disk or the process."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import random
import resource
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from conftest import wait_until
from fakes import FakeClock
from kallglotfs.clock import Clock
from kallglotfs.content import block_scan, cache_directory, disk, outage, write_queue
from kallglotfs.content.disk import FRESH, DiskTier
from kallglotfs.content.sealing import OVERHEAD
from kallglotfs.errors import ConfigError
from kallglotfs.model import Rendition, Secret, Validator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KEY = "sk_test_canarykey"
RENDITION = Rendition("rec_canaryid", "mp3")
OTHER = Rendition("rec_other", "mp3")
VALIDATOR = Validator(10_000_000, '"canaryetag"')
#: Bytes of a block in these tests, and what it takes on a disk with pages of 4 KiB.
SIZE, TAKEN = 10_000, 12_288
MEBIBYTE = 1024 * 1024
AMPLE = 1000 * MEBIBYTE
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a filesystem")


def block_of(index: int, rendition: Rendition = RENDITION, size: int = SIZE) -> bytes:
    """Return the bytes that a block should have."""
    return random.Random(f"{rendition} {index}").randbytes(size)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the cache is, not made yet."""
    return tmp_path / "cache"


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still, at the files' time."""
    clock = FakeClock()
    clock.epoch = time.time()
    return clock


@pytest.fixture
def start(folder: Path, clock: FakeClock) -> Iterator[Callable[..., DiskTier]]:
    """Start tiers, whose scan has ended, and close them."""
    with contextlib.ExitStack() as stack:

        def make(
            capacity: int = AMPLE, key: str = KEY, directory: Path = folder, time: Clock = clock
        ) -> DiskTier:
            tier = DiskTier(directory, capacity, lambda: Secret(key), time)
            stack.callback(tier.close, 0.5)
            tier._scan.join(10)
            assert not tier._scan.is_alive()
            return tier

        yield make


@pytest.fixture(autouse=True)
def _nothing_is_told(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No id, ETag or key is in any log line of any test here."""
    caplog.set_level(logging.DEBUG)
    yield
    text = "\n".join(record.getMessage() for record in caplog.get_records("call"))
    assert "canary" not in text
    assert "rec_" not in text


def drain(tier: DiskTier) -> None:
    """Wait until nothing is to be written."""
    assert wait_until(lambda: not tier._queue._unfinished, 20)


def got(
    tier: DiskTier, rendition: Rendition, validator: Validator, index: int, size: int = SIZE
) -> bytes | None:
    """Return a block that a tier has."""
    target = memoryview(bytearray(size))
    return bytes(target) if tier.get(rendition, validator, index, target) else None


def fill(tier: DiskTier, indices: range, rendition: Rendition = RENDITION) -> None:
    """Put blocks one after the other, so that their order is theirs."""
    for index in indices:
        tier.put(rendition, VALIDATOR, index, block_of(index, rendition))
        drain(tier)


def there(tier: DiskTier, indices: range, rendition: Rendition = RENDITION) -> list[int]:
    """Return which blocks a tier has, having compared their bytes."""
    found = []
    for index in indices:
        block = got(tier, rendition, VALIDATOR, index)
        assert block is None or block == block_of(index, rendition)
        if block is not None:
            found.append(index)
    return found


def files_in(folder: Path) -> list[Path]:
    """Return the files of blocks."""
    return sorted(path for path in folder.glob("*/*/*") if path.is_file() and len(path.name) == 32)


def file_of(folder: Path, tier: DiskTier, index: int) -> Path:
    """Return the one file that putting a block makes."""
    before = set(files_in(folder))
    fill(tier, range(index, index + 1))
    (path,) = set(files_in(folder)) - before
    return path


def taken(folder: Path) -> int:
    """Return the bytes that the files of blocks take."""
    return sum(path.stat().st_blocks * 512 for path in files_in(folder))


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# What is kept


def test_a_block_comes_back(start: Callable[..., DiskTier]) -> None:
    """What was put is there at once, while it is still to be written, and later from the disk."""
    tier = start()
    assert got(tier, RENDITION, VALIDATOR, 0) is None
    assert not tier.holds(RENDITION, VALIDATOR, 0)
    tier.put(RENDITION, VALIDATOR, 0, block_of(0))
    assert tier.holds(RENDITION, VALIDATOR, 0)
    assert got(tier, RENDITION, VALIDATOR, 0) == block_of(0)
    drain(tier)
    assert tier._queue._jobs == {}
    assert tier.holds(RENDITION, VALIDATOR, 0)
    assert got(tier, RENDITION, VALIDATOR, 0) == block_of(0)
    counts = tier.counts()
    assert (counts.hits, counts.misses, counts.written, counts.dropped) == (2, 1, 1, 0)
    assert (counts.blocks, counts.used, counts.failing) == (1, TAKEN, False)


@pytest.mark.parametrize("size", [0, 1, 4096 - OVERHEAD, 256 * 1024])
def test_blocks_of_any_size_come_back_after_a_restart(start: Callable[..., DiskTier], size: int) -> None:
    """The last block of a file is shorter, and no length is special."""
    tier = start()
    tier.put(RENDITION, VALIDATOR, 0, block_of(0, size=size))
    tier.close()
    assert got(start(), RENDITION, VALIDATOR, 0, size) == block_of(0, size=size)


@pytest.mark.parametrize(
    ("rendition", "validator", "index"),
    [
        (OTHER, VALIDATOR, 0),
        (Rendition("rec_canaryid", "wav"), VALIDATOR, 0),
        (Rendition("rec_canaryid", "mp3", 8000), VALIDATOR, 0),
        (RENDITION, Validator(9_999_999, '"canaryetag"'), 0),
        (RENDITION, Validator(10_000_000, '"b"'), 0),
        (RENDITION, Validator(10_000_000), 0),
        (RENDITION, VALIDATOR, 1),
    ],
)
def test_a_block_belongs_to_one_version(
    start: Callable[..., DiskTier], rendition: Rendition, validator: Validator, index: int
) -> None:
    """Another recording, format, rate, size, ETag or index is another block."""
    tier = start()
    fill(tier, range(1))
    assert not tier.holds(rendition, validator, index)
    assert got(tier, rendition, validator, index) is None
    assert got(tier, RENDITION, VALIDATOR, 0) == block_of(0)


def test_a_cache_tells_nothing_and_is_private(start: Callable[..., DiskTier], folder: Path) -> None:
    """Neither names nor contents show an id, a key or audio, and nobody else may look."""
    tier = start()
    tier.put(RENDITION, VALIDATOR, 0, b"audible " * 1000)
    drain(tier)
    paths = [folder, *folder.rglob("*")]
    assert len(paths) == 5  # directory, salt, two levels, block
    for path in paths:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
        content = path.read_bytes() if path.is_file() else b""
        for word in ("canary", "audible", "rec_", KEY):
            assert word not in str(path.relative_to(folder))
            assert word.encode() not in content
    assert "canary" not in repr(tier) + repr(vars(tier))


def test_nothing_runs_before_the_first_block(start: Callable[..., DiskTier]) -> None:
    """An idle tier has no writers, and a used one has two, which sleep."""
    tier = start()

    def writers() -> list[str]:
        return [each.name for each in threading.enumerate() if each.name in {"disk-0", "disk-1"}]

    assert writers() == []
    fill(tier, range(5))
    assert sorted(writers()) == ["disk-0", "disk-1"]
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.1
    tier.close()
    assert wait_until(lambda: not writers())


def test_closing_writes_what_waits(start: Callable[..., DiskTier]) -> None:
    """What was put before the end is there after it; what is put later is dropped."""
    tier = start()
    for index in range(50):
        tier.put(RENDITION, VALIDATOR, index, block_of(index))
    tier.close(10)
    tier.put(RENDITION, VALIDATOR, 50, block_of(50))
    assert tier.counts().dropped == 1
    assert there(start(), range(51)) == list(range(50))


# Capacity and order


def test_the_capacity_holds_after_every_block(start: Callable[..., DiskTier], folder: Path) -> None:
    """The least recently used blocks make room, and the directory never takes more than allowed."""
    tier = start(4 * TAKEN + 100)
    for index in range(12):
        fill(tier, range(index, index + 1))
        assert taken(folder) <= 4 * TAKEN + 100
        assert tier.counts().used == taken(folder)
    assert there(tier, range(12)) == [8, 9, 10, 11]


def test_what_is_read_stays(start: Callable[..., DiskTier]) -> None:
    """A hit makes a block the one used last."""
    tier = start(3 * TAKEN)
    fill(tier, range(3))
    assert got(tier, RENDITION, VALIDATOR, 0) == block_of(0)
    fill(tier, range(3, 4))
    assert there(tier, range(4)) == [0, 2, 3]


def test_the_order_survives_a_restart(start: Callable[..., DiskTier], folder: Path) -> None:
    """What was used least before the restart goes first after it, a hit counting as use."""
    tier = start()
    for index in range(4):
        path = file_of(folder, tier, index)
        os.utime(path, (0, time.time() - 10_000 + index))
    assert got(tier, RENDITION, VALIDATOR, 0) == block_of(0)
    tier.close()
    again = start(4 * TAKEN)
    assert again.counts().blocks == 4
    fill(again, range(4, 6))
    assert there(again, range(6)) == [0, 3, 4, 5]


def test_a_hit_marks_the_file_once_a_minute(start: Callable[..., DiskTier], folder: Path) -> None:
    """A file whose time is old is marked as used now, and one whose time is fresh is left alone."""
    tier = start()
    path = file_of(folder, tier, 0)
    for age, marked in ((2 * FRESH, True), (FRESH / 2, False)):
        before = time.time() - age
        os.utime(path, (before, before))
        assert got(tier, RENDITION, VALIDATOR, 0) == block_of(0)
        assert (path.stat().st_mtime > before + 1) is marked


def test_a_directory_over_capacity_is_brought_down_at_start(
    start: Callable[..., DiskTier], folder: Path
) -> None:
    """A smaller `disk_cache` takes effect without a single read or write."""
    tier = start()
    for index in range(10):
        path = file_of(folder, tier, index)
        os.utime(path, (0, time.time() - 10_000 + index))
    tier.close()
    smaller = start(3 * TAKEN)
    assert taken(folder) == 3 * TAKEN == smaller.counts().used
    assert there(smaller, range(10)) == [7, 8, 9]


def test_a_block_larger_than_all_is_not_kept(start: Callable[..., DiskTier], folder: Path) -> None:
    """A block that cannot fit evicts nothing."""
    tier = start(TAKEN)
    fill(tier, range(1))
    tier.put(RENDITION, VALIDATOR, 1, bytes(2 * SIZE))
    drain(tier)
    assert there(tier, range(2)) == [0]
    assert tier.counts().dropped == 1


@pytest.fixture
def slow_scan(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Let scans see the directory at once and tell of it only when the event is set."""
    go = threading.Event()

    def slow(directory: cache_directory.CacheDirectory, now: float) -> Iterator[tuple[int, bytes, int]]:
        found = list(block_scan.scan(directory, now))
        go.wait(20)
        yield from found

    monkeypatch.setattr(disk, "scan", slow)
    yield go
    go.set()


def test_what_happens_during_the_scan_counts(
    folder: Path, slow_scan: threading.Event, start: Callable[..., DiskTier]
) -> None:
    """Start does not wait for the scan: blocks are served, kept and destroyed, and counted once it ends."""
    slow_scan.set()
    first = start()
    fill(first, range(20))
    fill(first, range(5), OTHER)
    first.close()
    slow_scan.clear()
    tier = DiskTier(folder, AMPLE, lambda: Secret(KEY), FakeClock())
    time.sleep(0.2)
    assert not tier._index.complete
    assert tier.holds(RENDITION, VALIDATOR, 3)
    assert not tier.holds(RENDITION, VALIDATOR, 99)
    assert there(tier, range(20)) == list(range(20))
    fill(tier, range(2), OTHER)  # there already
    fill(tier, range(20, 22))
    assert tier.destroy("rec_other") is True
    fill(tier, range(7, 8), OTHER)
    files_in(folder)[0].write_bytes(b"")
    assert len(there(tier, range(22))) + len(there(tier, range(8), OTHER)) == 22
    slow_scan.set()
    tier._scan.join(10)
    tier.close()
    assert tier._index.complete
    assert tier.counts().blocks == len(files_in(folder)) == 22
    assert tier.counts().used == taken(folder)
    assert not any(tier.holds(OTHER, VALIDATOR, index) for index in range(5))


# Damage


def flip(position: int) -> Callable[[Path, Path], None]:
    def damage(path: Path, other: Path) -> None:
        content = bytearray(path.read_bytes())
        content[position] ^= 0x10
        path.write_bytes(content)

    return damage


def cut(length: int) -> Callable[[Path, Path], None]:
    return lambda path, other: os.truncate(path, length)


DAMAGES: dict[str, Callable[[Path, Path], object]] = {
    "flipped in the magic": flip(0),
    "another version": flip(11),
    "flipped in the length": flip(15),
    "flipped in the nonce": flip(20),
    "flipped in the first byte": flip(28),
    "flipped in the middle": flip(SIZE // 2),
    "flipped in the last byte": flip(28 + SIZE - 1),
    "flipped in the tag": flip(-1),
    "empty": cut(0),
    "cut in the header": cut(20),
    "cut to the header": cut(28),
    "cut to the overhead": cut(OVERHEAD),
    "cut in the block": cut(SIZE // 2),
    "cut by one": cut(SIZE + OVERHEAD - 1),
    "grown by a hole": cut(SIZE + OVERHEAD + 1),
    "grown beyond memory": cut(1 << 40),
    "zeroed": lambda path, other: path.write_bytes(bytes(SIZE + OVERHEAD)),
    "second half zeroed": lambda path, other: (os.truncate(path, 5000), os.truncate(path, SIZE + OVERHEAD)),
    "another block's": lambda path, other: shutil.copy(other, path),
    "a fifo": lambda path, other: (path.unlink(), os.mkfifo(path)),
}


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_block_is_detected_dropped_and_written_anew(
    start: Callable[..., DiskTier], folder: Path, damage: Callable[[Path, Path], object], *, restarted: bool
) -> None:
    """Whatever happened to a file: no block, no file, a count; its neighbours are untouched."""
    tier = start()
    path, other = file_of(folder, tier, 0), file_of(folder, tier, 1)
    if restarted:
        tier.close()
    damage(path, other)
    if restarted:
        tier = start()
    assert got(tier, RENDITION, VALIDATOR, 0) is None
    assert not os.path.lexists(path)
    assert not tier.holds(RENDITION, VALIDATOR, 0)
    assert tier.counts().damaged == 1
    assert there(tier, range(2)) == [1]
    fill(tier, range(1))
    assert there(tier, range(2)) == [0, 1]
    assert tier.counts().used == taken(folder) == 2 * TAKEN


def test_swapped_files_are_both_detected(start: Callable[..., DiskTier], folder: Path) -> None:
    """Two whole files in each other's place are two damaged blocks."""
    tier = start()
    one, two, aside = file_of(folder, tier, 0), file_of(folder, tier, 1), folder / "aside"
    one.rename(aside)
    two.rename(one)
    aside.rename(two)
    assert there(tier, range(2)) == []
    assert tier.counts().damaged == 2


def test_a_link_in_the_place_of_a_block_is_not_followed(
    start: Callable[..., DiskTier], folder: Path, tmp_path: Path
) -> None:
    """Even a good block is not read through a link."""
    tier = start()
    path = file_of(folder, tier, 0)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert got(tier, RENDITION, VALIDATOR, 0) is None


def test_another_key_sees_nothing(start: Callable[..., DiskTier], folder: Path) -> None:
    """Under another API key there are no blocks, though what is there counts and is evicted in the end."""
    first = start()
    fill(first, range(3))
    first.close()
    second = start(4 * TAKEN, key="sk_test_another")
    assert there(second, range(3)) == []
    assert second.counts().blocks == 3
    fill(second, range(10, 14))
    assert there(second, range(10, 14)) == [10, 11, 12, 13]
    assert len(files_in(folder)) == 4


def test_a_file_copied_under_another_key_s_name_does_not_open(
    start: Callable[..., DiskTier], folder: Path
) -> None:
    """A block sealed under one key is damaged under another, even in the right place."""
    first = start()
    path = file_of(folder, first, 0)
    second = start(key="sk_test_another")
    target = file_of(folder, second, 0)
    shutil.copy(path, target)
    assert got(second, RENDITION, VALIDATOR, 0) is None
    assert second.counts().damaged == 1


@pytest.mark.parametrize("salt", [b"", b"short", bytes(33)])
def test_a_damaged_salt_costs_only_the_cache(
    start: Callable[..., DiskTier], folder: Path, salt: bytes
) -> None:
    """With a new salt the tier starts empty and works."""
    first = start()
    fill(first, range(2))
    first.close()
    (folder / "salt").write_bytes(salt)
    second = start()
    assert there(second, range(2)) == []
    fill(second, range(2))
    second.close()
    assert (folder / "salt").stat().st_size == 32
    assert there(start(), range(2)) == [0, 1]


def test_a_salt_is_not_read_through_a_link(
    start: Callable[..., DiskTier], folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A link in the place of the salt is not followed: a warning, and a tier for this run."""
    folder.mkdir(mode=0o700)
    (tmp_path / "known").write_bytes(bytes(32))
    (folder / "salt").symlink_to(tmp_path / "known")
    tier = start()
    assert tier._salt != bytes(32)
    assert len(warnings(caplog)) == 1


# Destroyed recordings


def test_destroying_takes_every_version_and_nothing_else(
    start: Callable[..., DiskTier], folder: Path
) -> None:
    """All formats, rates and versions of a recording go, on the disk too; other recordings stay."""
    tier = start()
    versions = [
        (RENDITION, VALIDATOR),
        (Rendition("rec_canaryid", "wav"), VALIDATOR),
        (Rendition("rec_canaryid", "mp3", 8000), VALIDATOR),
        (RENDITION, Validator(5)),
    ]
    for rendition, validator in versions:
        for index in range(3):
            tier.put(rendition, validator, index, block_of(index))
    fill(tier, range(2), OTHER)
    assert len(files_in(folder)) == 14
    assert tier.destroy("rec_canaryid") is True
    assert not any(tier.holds(*version, index) for version in versions for index in range(3))
    assert all(got(tier, *version, index) is None for version in versions for index in range(3))
    assert len(files_in(folder)) == 2
    assert there(tier, range(2), OTHER) == [0, 1]
    assert tier.counts().used == taken(folder) == 2 * TAKEN
    assert tier.destroy("rec_never") is True


def test_destroying_finds_blocks_of_before_the_restart(start: Callable[..., DiskTier], folder: Path) -> None:
    """A recording is destroyed by a process that never read it, half-written files included."""
    tier = start()
    path = file_of(folder, tier, 0)
    tier.close()
    left = path.with_name(f".{os.getppid()}-0123456789abcdef-1")
    left.write_bytes(b"half")
    again = start()
    assert left.exists()
    again.destroy("rec_canaryid")
    assert not path.parent.exists()


def test_destroying_beats_what_waits_to_be_written(start: Callable[..., DiskTier], folder: Path) -> None:
    """Of a recording destroyed amid a flood of its blocks, nothing is there afterwards, at any moment."""
    tier = start()
    for _ in range(40):
        for index in range(30):
            tier.put(RENDITION, VALIDATOR, index, bytes(50_000))
            tier.put(OTHER, VALIDATOR, index, block_of(index, OTHER))
        tier.destroy("rec_canaryid")
        assert not any(tier.holds(RENDITION, VALIDATOR, index) for index in range(30))
        drain(tier)
        assert not any(tier.holds(RENDITION, VALIDATOR, index) for index in range(30))
        assert len(list(folder.glob("*/*"))) == 1  # the other recording's
    assert there(tier, range(30), OTHER) == list(range(30))
    assert tier.counts().used == taken(folder)
    fill(tier, range(1))
    assert there(tier, range(1)) == [0]  # a recording that is back is kept again


@pytest.mark.parametrize("step", ["create", "rename"])
def test_destroying_beats_a_write_at_every_step(
    start: Callable[..., DiskTier], folder: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A block called off after its file was written, or just before it gets its name, is not kept."""
    tier = start()
    renames = []
    before = {name: getattr(tier._directory, name) for name in ("create", "rename")}

    def create(path: str, pieces: tuple[bytes, ...]) -> int:
        size: int = before["create"](path, pieces)
        if step == "create":
            tier._queue.cancel(tier._sealer.folder("rec_canaryid"))
        return size

    def rename(old: str, new: str) -> None:
        renames.append(new)
        # Its folder was looked through a moment ago, and only the file being written was there.
        if step == "rename":
            tier._queue.cancel(tier._sealer.folder("rec_canaryid"))
        before["rename"](old, new)

    monkeypatch.setattr(tier._directory, "create", create)
    monkeypatch.setattr(tier._directory, "rename", rename)
    tier.put(RENDITION, VALIDATOR, 0, block_of(0))
    drain(tier)
    assert len(renames) == (step == "rename")
    assert not tier.holds(RENDITION, VALIDATOR, 0)
    assert list(folder.glob("*/*")) == []
    assert (tier.counts().written, tier.counts().dropped, tier.counts().used) == (0, 1, 0)


def test_a_read_that_is_under_way_does_not_bring_a_destroyed_block_back(
    start: Callable[..., DiskTier], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block that is destroyed while it is read is not counted as there afterwards."""
    tier = start()
    fill(tier, range(1))
    read = tier._files.read

    def read_and_destroy(name: bytes, refresh: float, target: memoryview) -> tuple[int, int]:
        found = read(name, refresh, target)
        tier.destroy("rec_canaryid")
        return found

    monkeypatch.setattr(tier._files, "read", read_and_destroy)
    assert got(tier, RENDITION, VALIDATOR, 0) == block_of(0)
    assert not tier.holds(RENDITION, VALIDATOR, 0)
    assert tier.counts().used == 0


@ROOT
def test_what_cannot_be_destroyed_is_said(
    start: Callable[..., DiskTier], small: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    """On a disk that became read-only, the caller learns that blocks are still there."""
    place = small("size=8M")
    tier = start(directory=place / "cache")
    fill(tier, range(2))
    remount(place, "ro")
    assert tier.destroy("rec_canaryid") is False
    assert len(warnings(caplog)) == 1
    remount(place, "rw")
    assert tier.destroy("rec_canaryid") is True
    assert files_in(place / "cache") == []


# The directory


def test_a_missing_directory_is_made_private(start: Callable[..., DiskTier], tmp_path: Path) -> None:
    """The directory and those above it are made for their owner alone, whatever the umask."""
    before = os.umask(0)
    try:
        start(directory=tmp_path / "a" / "b" / "c")
    finally:
        os.umask(before)
    for made in ("a", "a/b", "a/b/c"):
        assert stat.S_IMODE((tmp_path / made).stat().st_mode) == 0o700


def make_unsafe(how: str, path: Path) -> None:
    target = path.with_name("target")
    target.mkdir(mode=0o700)
    if how == "link":
        path.symlink_to(target)
    elif how == "dangling link":
        path.symlink_to(path.with_name("nothing"))
    elif how == "file":
        path.write_text("")
    elif how == "foreign":
        path.mkdir(mode=0o700)
        os.chown(path, 12345, 12345)
    else:
        path.mkdir()
        path.chmod(int(how, 8))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("link", "link"),
        ("dangling link", "link"),
        ("file", "Not a directory"),
        ("0750", "chmod 700"),
        ("0720", "chmod 700"),
        ("0710", "chmod 700"),
        ("0704", "chmod 700"),
        ("0702", "chmod 700"),
        ("0701", "chmod 700"),
        pytest.param("foreign", "another user", marks=ROOT),
    ],
)
def test_an_unsafe_directory_is_refused(folder: Path, how: str, words: str) -> None:
    """A link, a file, another user's directory, one that others may reach: one line says what to do."""
    make_unsafe(how, folder)
    with pytest.raises(ConfigError) as refused:
        DiskTier(folder, AMPLE, lambda: Secret(KEY), FakeClock())
    assert str(refused.value).startswith(f"cache_dir: {folder}: ")
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
    assert descriptors_of(folder.parent) == 0


def test_swapping_the_path_later_is_harmless(
    start: Callable[..., DiskTier], folder: Path, tmp_path: Path
) -> None:
    """The tier stays in the directory it opened, whatever takes its name."""
    tier = start()
    fill(tier, range(1))
    folder.rename(tmp_path / "moved")
    (tmp_path / "trap").mkdir()
    folder.symlink_to(tmp_path / "trap")
    fill(tier, range(1, 2))
    assert there(tier, range(2)) == [0, 1]
    assert os.listdir(tmp_path / "trap") == []
    assert len(files_in(tmp_path / "moved")) == 2


def descriptors_of(folder: Path) -> int:
    """Return how many descriptors of this process are of a directory or of files below it."""
    count = 0
    for each in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            count += os.readlink(f"/proc/self/fd/{each}").startswith(str(folder))
    return count


def test_the_descriptor_is_closed_with_the_tier(folder: Path) -> None:
    """A tier leaves no descriptor behind."""
    tier = DiskTier(folder, AMPLE, lambda: Secret(KEY), Clock())
    tier.put(RENDITION, VALIDATOR, 0, block_of(0))
    tier.close()
    tier._scan.join(10)
    assert descriptors_of(folder) == 1
    del tier

    def is_closed() -> bool:
        gc.collect()  # a writer that is ending may still hold on to it
        return descriptors_of(folder) == 0

    assert wait_until(is_closed)


def test_half_written_files_are_removed_when_their_writer_is_gone(
    start: Callable[..., DiskTier], folder: Path
) -> None:
    """Leftovers of the dead, of an earlier process of our number and of long ago go; a living one's stays."""
    tier = start()
    path = file_of(folder, tier, 0)
    tier.close()
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    token = "0123456789abcdef"
    dead = path.with_name(f".{ended.pid}-{token}-1")
    namesake = path.with_name(f".{os.getpid()}-{token}-1")
    living = path.with_name(f".{os.getppid()}-{token}-1")
    old = path.with_name(f".{os.getppid()}-{token}-2")
    above = folder / f".{ended.pid}-{token}-3"
    foreign = folder / "README"
    for each in (dead, namesake, living, old, above, foreign):
        each.write_bytes(b"half")
    before = time.time() - block_scan.GIVEN_UP - 1
    os.utime(old, (before, before))
    (folder / "ab").mkdir()
    (folder / "ab" / ("0" * 30)).mkdir()
    again = start()
    assert [each.exists() for each in (dead, namesake, living, old, above, foreign)] == [
        False,
        False,
        True,
        False,
        False,
        True,
    ]
    assert not (folder / "ab" / ("0" * 30)).exists()
    assert again.counts().blocks == 1


# Faults of the disk


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Mount small filesystems in memory, on which no space is left to others."""
    mounted: list[Path] = []

    def make(options: str, floor: int = 0) -> Path:
        monkeypatch.setattr(cache_directory, "FLOOR_BYTES", floor)
        monkeypatch.setattr(cache_directory, "FLOOR_PART", 10**12)
        place = tmp_path / f"small{len(mounted)}"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"mode=700,{options}", "tmpfs", str(place)]
        subprocess.run(command, check=True, timeout=10)
        mounted.append(place)
        return place

    try:
        yield make
    finally:
        for place in mounted:
            subprocess.run(["umount", "-l", str(place)], check=True, timeout=10)


def remount(place: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(place)], check=True, timeout=10)


def break_disk(fault: str, place: Path) -> None:
    """Bring about a real fault of the filesystem at `place`."""
    ballast = place / "ballast"
    if fault == "read-only":
        remount(place, "ro")
    elif fault == "removed":
        shutil.rmtree(place / "cache")
    elif fault == "inodes":
        ballast.mkdir()
        with contextlib.suppress(OSError):
            for count in range(100):
                (ballast / str(count)).touch()
    else:
        # To the last byte, or just below the floor.
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            for _ in range(10_000 if fault == "full" else 9 * 16):
                file.write(bytes(64 * 1024))


def mend_disk(fault: str, place: Path) -> None:
    """Take the fault away again."""
    if fault == "read-only":
        remount(place, "rw")
    elif fault == "inodes":
        shutil.rmtree(place / "ballast")
    elif fault != "removed":  # that is mended by the tier
        (place / "ballast").unlink()


@ROOT
@pytest.mark.parametrize("fault", ["full", "inodes", "read-only", "floor", "removed"])
def test_a_disk_that_fails_is_gone_without_and_tried_again(
    start: Callable[..., DiskTier],
    small: Callable[..., Path],
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    fault: str,
) -> None:
    """Reads go on, one warning is logged, nothing is tried for a minute, and then all is well again."""
    place = small("size=16M,nr_inodes=40", floor=8 * MEBIBYTE if fault == "floor" else 0)
    cache = place / "cache"
    tier = start(directory=cache)
    fill(tier, range(3))
    break_disk(fault, place)
    kept = [] if fault == "removed" else [0, 1, 2]
    fill(tier, range(3, 9))
    assert there(tier, range(9)) == kept
    assert len(warnings(caplog)) == 1
    assert tier.counts().failing
    assert tier.counts().dropped == 6
    assert [path for path in place.rglob(".*") if path.is_file()] == []
    if fault != "removed":
        # Still broken when it is tried again: no second warning.
        clock.sleep(outage.PAUSE + 1)
        fill(tier, range(9, 10))
        assert there(tier, range(10)) == kept
        assert len(warnings(caplog)) == 1
    mend_disk(fault, place)
    fill(tier, range(10, 11))
    assert there(tier, range(11)) == kept  # the minute is not over
    clock.sleep(outage.PAUSE + 1)
    fill(tier, range(11, 14))
    assert there(tier, range(14)) == [*kept, 11, 12, 13]
    assert not tier.counts().failing
    assert len(warnings(caplog)) == 1
    assert any("again" in record.getMessage() for record in caplog.records if record.levelno == logging.INFO)
    # It is the same cache after a restart.
    tier.close()
    assert there(start(directory=cache), range(14)) == [*kept, 11, 12, 13]
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700


@ROOT
def test_a_read_only_disk_is_read_from_the_start(
    start: Callable[..., DiskTier], small: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    """A cache on a disk that is read-only when we start serves what it has."""
    place = small("size=16M")
    tier = start(directory=place / "cache")
    path = file_of(place / "cache", tier, 0)
    os.utime(path, (1, 1))
    tier.close()
    remount(place, "ro")
    assert there(start(directory=place / "cache"), range(2)) == [0]
    assert warnings(caplog) == []


@ROOT
def test_a_full_disk_at_the_start_is_no_error(
    start: Callable[..., DiskTier],
    small: Callable[..., Path],
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Where not even the salt can be written, the tier waits for better times and keeps its salt then."""
    place = small("size=16M,nr_inodes=10")
    (place / "cache").mkdir(mode=0o700)
    ballast = place / "ballast"
    ballast.mkdir()
    with contextlib.suppress(OSError):
        for count in range(100):
            (ballast / str(count)).touch()
    tier = start(directory=place / "cache")
    fill(tier, range(1))
    assert there(tier, range(1)) == []
    assert len(warnings(caplog)) == 1
    shutil.rmtree(ballast)
    clock.sleep(outage.PAUSE + 1)
    fill(tier, range(1))
    tier.close()
    assert there(start(directory=place / "cache"), range(1)) == [0]


def test_no_descriptors_left_is_a_miss_and_not_damage(
    start: Callable[..., DiskTier], clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Out of descriptors, blocks are neither read nor written, nor taken for damaged."""
    tier = start()
    fill(tier, range(2))
    gc.collect()  # no descriptor becomes free by chance
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        tier.put(RENDITION, VALIDATOR, 2, block_of(2))
        drain(tier)
        assert got(tier, RENDITION, VALIDATOR, 0) is None
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert tier.counts().damaged == 0
    assert len(warnings(caplog)) == 2  # one for reading, one for writing
    assert there(tier, range(3)) == [0, 1]
    clock.sleep(outage.PAUSE + 1)
    fill(tier, range(2, 3))
    assert there(tier, range(3)) == [0, 1, 2]


@pytest.fixture
def frozen(tmp_path: Path) -> Iterator[Path]:
    """A directory on a disk that takes no write until it is thawed: writers hang in the kernel."""
    image, place = tmp_path / "image", tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(256 * MEBIBYTE)
    place.mkdir()
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True, timeout=30)
    subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True, timeout=10)
    (place / "cache").mkdir(mode=0o700)
    try:
        yield place / "cache"
    finally:
        subprocess.run(["fsfreeze", "-u", str(place)], check=False, capture_output=True, timeout=10)
        subprocess.run(["umount", "-l", str(place)], check=True, timeout=10)


@ROOT
def test_a_disk_that_hangs_does_not_stop_reading(start: Callable[..., DiskTier], frozen: Path) -> None:
    """Readers wait a second in all, then blocks are dropped; when the disk is back, so is the tier."""
    tier = start(directory=frozen, time=Clock())
    size = MEBIBYTE
    for index in range(3):
        tier.put(RENDITION, VALIDATOR, index, block_of(index, size=size))
    drain(tier)
    subprocess.run(["fsfreeze", "-f", str(frozen.parent)], check=True, timeout=10)
    began = time.monotonic()
    blocks = write_queue.QUEUE // size + 20
    for index in range(100, 100 + blocks):
        tier.put(RENDITION, VALIDATOR, index, bytes(size))
    took = time.monotonic() - began
    assert write_queue.PATIENCE - 0.1 < took < write_queue.PATIENCE + 1
    assert tier.counts().dropped == 20
    assert got(tier, RENDITION, VALIDATOR, 0, size) == block_of(0, size=size)
    assert got(tier, RENDITION, VALIDATOR, 110, size) == bytes(size)
    subprocess.run(["fsfreeze", "-u", str(frozen.parent)], check=True, timeout=10)
    drain(tier)
    tier.put(RENDITION, VALIDATOR, 500, bytes(size))
    drain(tier)
    assert tier.counts().dropped == 20
    assert got(tier, RENDITION, VALIDATOR, 500, size) == bytes(size)


# Many at once, and the end at any moment


RENDITIONS = [RENDITION, OTHER, Rendition("rec_third", "wav")]


def step(tier: DiskTier, folder: Path, dice: random.Random, hits: list[int]) -> None:
    """Do one thing to a tier, and check what it answers."""
    rendition, index, chance = dice.choice(RENDITIONS), dice.randrange(40), dice.random()
    if chance < 0.5:
        block = got(tier, rendition, VALIDATOR, index)
        if block is not None:
            hits.append(index)
            assert block == block_of(index, rendition)
    elif chance < 0.98:
        tier.put(rendition, VALIDATOR, index, block_of(index, rendition))
    elif chance < 0.985:
        tier.destroy(rendition.recording_id)
    else:
        with contextlib.suppress(OSError, IndexError):
            os.truncate(dice.choice(files_in(folder)), 100)


def test_sixteen_threads_get_right_bytes_or_none(start: Callable[..., DiskTier], folder: Path) -> None:
    """Reading, writing, evicting, destroying and damaging at once: never a wrong byte, never too much."""
    capacity = 60 * TAKEN
    tier = start(capacity)
    failures: list[str] = []
    hits: list[int] = []
    ends = time.monotonic() + 4

    def work(seed: int) -> None:
        dice = random.Random(seed)
        while time.monotonic() < ends:
            try:
                step(tier, folder, dice, hits)
            except BaseException as error:  # noqa: BLE001 - the test is that there is none
                failures.append(repr(error)[:500])
            time.sleep(0.001)  # sixteen threads that never wait leave the interpreter to nobody else

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    drain(tier)
    counts = tier.counts()
    assert len(hits) > 100
    assert counts.damaged > 0
    assert counts.failing is False
    # What the index counts and the disk holds differ by no file once each was looked at.
    for rendition in RENDITIONS:
        there(tier, range(40), rendition)
    counts = tier.counts()
    assert counts.blocks == len(files_in(folder)) > 10
    assert counts.used == taken(folder) <= capacity
    assert [path for path in folder.rglob(".*") if path.is_file()] == []


CHILD = """
import sys
from hashlib import sha256
from pathlib import Path
from kallglotfs.clock import Clock
from kallglotfs.content.disk import DiskTier
from kallglotfs.model import Rendition, Secret, Validator

tier = DiskTier(Path(sys.argv[1]), 8_000_000, lambda: Secret("sk_test_canarykey"), Clock())
index = int(sys.argv[2])
print("ready", flush=True)
while True:
    index += 1
    block = (sha256(str(index).encode()).digest() * 8192)[: 262144 - index % 5]
    tier.put(Rendition(f"rec_{index % 7}", "mp3"), Validator(10**9), index, block)
    if index % 50 == 0:
        tier.destroy(f"rec_{index // 50 % 7}")
"""


def test_killed_at_any_moment_the_cache_is_right(start: Callable[..., DiskTier], folder: Path) -> None:
    """After kill -9 amid writing and destroying, every block is right or absent, and nothing is left over."""
    right = 0
    for round_ in range(12):
        command = [sys.executable, "-c", CHILD, str(folder), str(round_ * 100_000)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            time.sleep(0.05 + 0.03 * round_)
            child.send_signal(signal.SIGKILL)
            child.wait(10)
        tier = start(8_000_000)
        assert taken(folder) <= 8_000_000
        assert [path for path in folder.rglob(".*") if path.is_file()] == []
        found = len(files_in(folder))
        for index in range(round_ * 100_000, round_ * 100_000 + 3000):
            size = 262144 - index % 5
            block = got(tier, Rendition(f"rec_{index % 7}", "mp3"), Validator(10**9), index, size)
            if block is not None:
                assert block == (sha256(str(index).encode()).digest() * 8192)[:size]
                right += 1
        assert tier.counts().damaged == 0
        assert tier.counts().blocks == found
        tier.close()
    assert right > 50
