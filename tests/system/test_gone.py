"""A recording that is no more leaves nothing behind: in listings, open files, memory, disk or kernel."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from conftest import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import MountedFolder
    from kallglotfs.demo.server import DemoServer

SIZE = 20_000_000
#: Seconds that anything of it may stay: less than the minute that is promised, for it is noticed sooner.
SOON = 30


def outcome(descriptor: int, offset: int) -> int:
    """Return the errno of a read, 0 where it succeeds."""
    try:
        assert len(os.pread(descriptor, 1000, offset)) == 1000
    except OSError as error:
        return error.errno or -1
    return 0


def end_now(folder: MountedFolder, recording_id: str) -> None:
    """Have a retention end a second ago, as `kallglotfs add` may write it into the catalog meanwhile."""
    (path,) = folder.state_dir.glob("*.sqlite")
    with contextlib.closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as catalog:
        changed = catalog.execute(
            "UPDATE recordings SET expires_at = ? WHERE id = ?", (time.time() - 1, recording_id)
        )
        assert changed.rowcount == 1


def blocks_in(cache: Path) -> int:
    """Return how many files of blocks there are."""
    return sum(path.is_file() and path.name != "salt" for path in cache.rglob("*"))


@pytest.mark.parametrize("disk", ["100M", "0"])
def test_when_retention_ends_open_files_are_stale_and_nothing_is_kept(
    disk: str, service: DemoServer, mount: Callable[..., MountedFolder], tmp_path: Path
) -> None:
    """What was read a moment ago, from the kernel's pages too, is not to be had, and no request is spent."""
    service.add_recording("rec_end", size=SIZE, expires_at=datetime.now(UTC) + timedelta(days=1))
    service.add_recording("rec_stay", size=100_000)
    folder = mount(cache_dir=tmp_path / "cache", disk_cache=disk)
    path, other = folder.recordings / "rec_end.mp3", folder.recordings / "rec_stay.mp3"
    assert path.read_bytes() == service.audio("rec_end", "mp3")
    assert other.read_bytes() == service.audio("rec_stay", "mp3")
    first, second, third = (os.open(name, os.O_RDONLY) for name in (path, path, other))
    try:
        assert outcome(first, 0) == outcome(second, SIZE - 1000) == outcome(third, 0) == 0
        assert sorted(os.listdir(folder.recordings)) == ["rec_end.mp3", "rec_stay.mp3"]
        service.requests.clear()
        end_now(folder, "rec_end")
        assert wait_until(lambda: outcome(first, 0) == errno.ESTALE, SOON)
        assert {outcome(first, at) for at in range(0, SIZE - 1000, 500_000)} == {errno.ESTALE}
        assert outcome(second, SIZE - 1000) == errno.ESTALE
        with pytest.raises(FileNotFoundError):  # the kernel asks by name
            os.fstat(first)
        assert os.listdir(folder.recordings) == ["rec_stay.mp3"]
        assert wait_until(lambda: not path.exists(), SOON)
        assert wait_until(lambda: blocks_in(tmp_path / "cache") == (disk != "0"), SOON)
        assert outcome(third, 0) == 0
        assert other.read_bytes() == service.audio("rec_stay", "mp3")
        assert service.requests.count() == 0
    finally:
        for descriptor in (first, second, third):
            os.close(descriptor)
    assert folder.unmount() == 0


def test_a_deletion_that_one_reader_meets_ends_all_of_them(
    service: DemoServer, mount: Callable[..., MountedFolder], tmp_path: Path
) -> None:
    """Two requests: the renewal that says so, and the question whether only that format is gone."""
    service.add_recording("rec_del", size=SIZE)
    folder = mount(cache_dir=tmp_path / "cache", disk_cache="100M", memory_cache="8M")
    path = folder.recordings / "rec_del.mp3"
    reader, other = os.open(path, os.O_RDONLY), os.open(path, os.O_RDONLY)
    try:
        assert outcome(reader, 0) == outcome(other, 1_000_000) == 0
        assert wait_until(lambda: blocks_in(tmp_path / "cache") > 2)
        service.remove_recording("rec_del")
        service.revoke_urls()
        service.requests.clear()
        began = time.monotonic()
        assert outcome(reader, 15_000_000) == errno.ESTALE
        assert time.monotonic() - began < 3
        # What the kernel had in its pages, and we in memory and on disk.
        assert wait_until(lambda: outcome(other, 1_000_000) == errno.ESTALE, SOON)
        assert wait_until(lambda: outcome(reader, 0) == errno.ESTALE, SOON)
        assert wait_until(lambda: os.listdir(folder.recordings) == [], SOON)
        assert wait_until(lambda: blocks_in(tmp_path / "cache") == 0, SOON)
        assert wait_until(lambda: not path.exists(), SOON)
        assert 2 <= service.requests.count("api") <= 4
    finally:
        os.close(reader)
        os.close(other)
    assert folder.unmount() == 0


def test_a_format_that_is_missing_ends_no_other(
    service: DemoServer, mount: Callable[..., MountedFolder]
) -> None:
    """The storage has lost one conversion: who reads the native file goes on."""
    service.add_recording("rec_two", size=3_000_000)
    folder = mount()
    native = os.open(folder.recordings / "rec_two.mp3", os.O_RDONLY)
    try:
        assert outcome(native, 0) == 0
        service.knobs.change(
            {
                "faults": [
                    {"kind": "storage", "action": "status", "status": 404, "times": -1, "match": "ogg|wav"}
                ]
            }
        )
        for _ in range(3):
            with pytest.raises(FileNotFoundError):
                (folder.recordings / "rec_two.wav").read_bytes()
        assert service.knobs.faults[0].fired >= 1
        content = service.audio("rec_two", "mp3")
        assert os.pread(native, 3_000_000, 0) == content
        assert os.listdir(folder.recordings) == ["rec_two.mp3"]
    finally:
        os.close(native)
