"""What warming and `kallglotfs cache` ask of the disk tier: the truth of the files, and right counts."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from conftest import wait_until
from kallglotfs.clock import Clock
from kallglotfs.content.arena import BLOCK
from kallglotfs.content.disk import DiskTier
from kallglotfs.content.inspection import Inspection
from kallglotfs.model import Rendition, Secret, Validator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KEY = Secret("sk_test_key")
RENDITION = Rendition("rec_a", "mp3")
VALIDATOR = Validator(2 * BLOCK + 1000, '"etag"')
LENGTHS = (BLOCK, BLOCK, 1000)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], DiskTier]]:
    """Start tiers on one directory."""
    with contextlib.ExitStack() as stack:

        def make() -> DiskTier:
            tier = DiskTier(tmp_path / "cache", 100 * BLOCK, lambda: KEY, Clock())
            stack.callback(tier.close, 0.5)
            tier._scan.join(10)
            return tier

        yield make


def fill(tier: DiskTier) -> None:
    for index, length in enumerate(LENGTHS):
        tier.put(RENDITION, VALIDATOR, index, os.urandom(length))
    assert tier.settle(RENDITION.recording_id, 20)


def kept(tier: DiskTier, *, used: bool = False) -> list[bool]:
    return [
        tier.keeps(RENDITION, VALIDATOR, index, length, used=used) for index, length in enumerate(LENGTHS)
    ]


def files_in(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "cache").rglob("*") if len(path.name) == 32]


def test_what_is_written_is_kept(start: Callable[[], DiskTier], tmp_path: Path) -> None:
    """The files are looked at: what is removed or cut is not kept, and can be written again."""
    tier = start()
    assert kept(tier) == [False] * 3
    fill(tier)
    assert kept(tier) == [True] * 3
    assert tier.room().used == tier.room_for(VALIDATOR.size)
    for path in files_in(tmp_path):
        os.truncate(path, 10)
    assert kept(tier) == [False] * 3
    fill(tier)
    assert kept(tier) == [True] * 3


def test_what_another_has_written_is_found_and_used(start: Callable[[], DiskTier], tmp_path: Path) -> None:
    """A use marks the file, and whoever looks counts it from then on."""
    first, second = start(), start()
    fill(first)
    assert not second.holds(RENDITION, VALIDATOR, 0)
    for path in files_in(tmp_path):
        os.utime(path, (0, 0))
    assert kept(second) == [True] * 3
    assert all(path.stat().st_mtime == 0 for path in files_in(tmp_path))
    assert second.holds(RENDITION, VALIDATOR, 0)
    assert second.counts().blocks == 3
    assert kept(second, used=True) == [True] * 3
    assert all(path.stat().st_mtime > 0 for path in files_in(tmp_path))


def test_what_another_process_removed_is_counted_no_more(
    start: Callable[[], DiskTier], tmp_path: Path
) -> None:
    """After a recount; and what is there is found while that goes on."""
    tier = start()
    fill(tier)
    inspection = Inspection(tmp_path / "cache")
    assert inspection.unlock(KEY)
    (folder,) = inspection.folders(0.0)
    assert folder.name == inspection.folder_of("rec_a")
    gone = folder.blocks[0]
    inspection.remove(gone.name)
    assert tier.counts().blocks == 3
    tier.recount()
    assert wait_until(lambda: tier.counts().blocks == 2)
    assert tier.counts().used == folder.taken - gone.taken
    assert tier.destroy_folder(folder.name)
    assert tier.counts().used == 0
    assert list(inspection.folders(0.0)) == []


def test_a_look_changes_nothing(start: Callable[[], DiskTier], tmp_path: Path) -> None:
    """Blocks are compared with what they should be; strangers are told and left."""
    tier = start()
    fill(tier)
    (tmp_path / "cache" / "aa").mkdir()
    (tmp_path / "cache" / "aa" / "link").symlink_to("/etc")
    before = {path: path.lstat().st_mtime_ns for path in (tmp_path / "cache").rglob("*")}
    inspection = Inspection(tmp_path / "cache")
    assert inspection.unlock(KEY)
    (folder,) = inspection.folders(0.0)
    places = inspection.places(RENDITION, VALIDATOR)
    assert {block.name for block in folder.blocks} == set(places)
    assert [inspection.fault(block, places[block.name]) for block in folder.blocks] == [None] * 3
    other = inspection.places(RENDITION, Validator(VALIDATOR.size, '"other"'))
    (wrong,) = (place for place in other.values() if place.index == 2)
    short = next(block for block in folder.blocks if places[block.name].index == 2)
    assert inspection.fault(short, wrong) == "its seal is broken"
    assert inspection.strays == ["aa/link"]
    assert {path: path.lstat().st_mtime_ns for path in (tmp_path / "cache").rglob("*")} == before
