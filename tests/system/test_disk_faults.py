"""Faults of the disk under a real mount: exact bytes, one warning; and mended, all is well again."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from conftest import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import MountedFolder
    from kallglotfs.demo.server import DemoServer

SIZE = 1_500_000
#: Bytes of a block, and of its sealed file.
BLOCK, SEALED = 256 * 1024, 256 * 1024 + 44
BLOCKS = -(-SIZE // BLOCK)
NAMES = [f"rec_f{index}" for index in range(6)]
#: linux/fs.h, FS_IOC_SHUTDOWN, without writing the journal: from then on the filesystem answers EIO.
SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="mounts filesystems")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a small filesystem of a test's own: tmpfs with options, or ext4 in a file."""
    places: list[Path] = []

    def make(options: str) -> Path:
        place = tmp_path / f"disk{len(places)}"
        place.mkdir()
        if options == "ext4":
            image = tmp_path / "image"
            with image.open("wb") as file:
                file.truncate(256 * 1024 * 1024)
            subprocess.run(["mkfs.ext4", "-q", image], check=True, timeout=30)
            subprocess.run(["mount", "-o", "loop", image, place], check=True, timeout=10)
        else:
            command = ["mount", "-t", "tmpfs", "-o", f"mode=700,{options}", "tmpfs", place]
            subprocess.run(command, check=True, timeout=10)
        places.append(place)
        return place

    try:
        yield make
    finally:
        for place in places:
            subprocess.run(["umount", "-l", place], check=False, capture_output=True, timeout=10)


def files_in(cache: Path) -> list[Path]:
    """Return the files of blocks."""
    return sorted(path for path in cache.rglob("*") if path.is_file() and len(path.name) == 32)


def fill_up(place: Path) -> None:
    """Leave not one byte."""
    with contextlib.suppress(OSError), (place / "ballast").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1024 * 1024))


def use_up_inodes(place: Path) -> None:
    """Leave not one inode."""
    (place / "ballast").mkdir()
    with contextlib.suppress(OSError):
        for count in range(1_000_000):
            (place / "ballast" / str(count)).touch()


def remount(place: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", place], check=True, timeout=10)


def replace_by_link(place: Path) -> None:
    """Put a link to a directory that is as private in the place of the cache."""
    (place / "elsewhere").mkdir(mode=0o700)
    shutil.rmtree(place / "cache")
    (place / "cache").symlink_to(place / "elsewhere")


def take_link_away(place: Path) -> None:
    assert os.listdir(place / "elsewhere") == []
    (place / "cache").unlink()


def shut_down(place: Path) -> None:
    """Make a real filesystem fail every call with EIO."""
    descriptor = os.open(place, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
    finally:
        os.close(descriptor)


def remove_ballast(place: Path) -> None:
    ballast = place / "ballast"
    shutil.rmtree(ballast) if ballast.is_dir() else ballast.unlink()


#: Fault: filesystem, how it breaks, how it is mended (None: not while it is mounted).
FAULTS: dict[str, tuple[str, Callable[[Path], None], Callable[[Path], None] | None]] = {
    "full": ("size=100M", fill_up, remove_ballast),
    "inodes": ("size=100M,nr_inodes=60", use_up_inodes, remove_ballast),
    "read-only": ("size=100M", lambda place: remount(place, "ro"), lambda place: remount(place, "rw")),
    "removed": ("size=100M", lambda place: shutil.rmtree(place / "cache"), lambda _: None),
    "link": ("size=100M", replace_by_link, take_link_away),
    "error": ("ext4", shut_down, None),
}


def warnings(folder: MountedFolder) -> list[str]:
    """Return the warnings and errors of the disk tier."""
    return re.findall(r"(?:WARNING|ERROR) kallglotfs\.(?:content|catalog)\..*", folder.log)


@ROOT
@pytest.mark.parametrize("readers", [1, 16])
@pytest.mark.parametrize("fault", FAULTS)
def test_reads_go_on_without_the_cache(
    fault: str,
    readers: int,
    service: DemoServer,
    mount: Callable[..., MountedFolder],
    disk: Callable[[str], Path],
) -> None:
    """Exact bytes, one warning, one request a recording; and blocks are kept again within a few seconds."""
    for name in NAMES:
        service.add_recording(name, size=SIZE)
    options, break_it, mend = FAULTS[fault]
    place = disk(options)
    (place / "cache").mkdir(mode=0o700)
    folder = mount(cache_dir=place / "cache", disk_cache="60M", memory_cache="8M")

    def read(name: str) -> bool:
        return (folder.recordings / f"{name}.mp3").read_bytes() == service.audio(name, "mp3")

    assert read("rec_f0")
    assert wait_until(lambda: len(files_in(place / "cache")) == BLOCKS)
    break_it(place)
    with ThreadPoolExecutor(readers) as pool:
        assert all(pool.map(read, NAMES[:4] * (4 if readers > 1 else 1)))
    assert wait_until(lambda: len(warnings(folder)) == 1), warnings(folder)
    assert service.requests.count("api") == 4
    assert "cache_dir" in warnings(folder)[0]
    assert str(place) not in warnings(folder)[0]
    if mend is not None:
        mend(place)
        # The first tries come soon, and then less and less often.
        turns = iter(range(10_000))

        def kept_again() -> bool:
            name = f"rec_again{next(turns)}"
            service.add_recording(name, size=1000)
            assert len((folder.recordings / f"{name}.mp3").read_bytes()) == 1000
            return "blocks can be written again" in folder.log

        assert wait_until(kept_again, 20)
        assert read("rec_f5")
        assert wait_until(lambda: len(files_in(place / "cache")) >= BLOCKS)
    assert len(warnings(folder)) == 1
    assert folder.unmount() == 0


def flip(path: Path, _: Path) -> None:
    content = bytearray(path.read_bytes())
    content[SEALED // 2] ^= 1
    path.write_bytes(content)


def swap(path: Path, other: Path) -> None:
    first, second = path.read_bytes(), other.read_bytes()
    path.write_bytes(second)
    other.write_bytes(first)


def append(path: Path, _: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


#: Damage done to the first file, or to two, and how many blocks it costs.
DAMAGES: dict[str, tuple[Callable[[Path, Path], object], int]] = {
    "flipped": (flip, 1),
    "swapped": (swap, 2),
    "truncated": (lambda path, _: os.truncate(path, SEALED - 1), 1),
    "emptied": (lambda path, _: os.truncate(path, 0), 1),
    "zeroed": (lambda path, _: path.write_bytes(bytes(SEALED)), 1),
    "appended": (append, 1),
    "copied": (lambda path, other: path.write_bytes(other.read_bytes()), 1),
    "removed": (lambda path, _: path.unlink(), 1),
    "linked": (lambda path, other: (path.unlink(), path.symlink_to(other)), 1),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_block_is_dropped_and_fetched_again(
    damage: str, service: DemoServer, mount: Callable[..., MountedFolder], tmp_path: Path
) -> None:
    """Over a remount: exact bytes, only what was damaged is asked for, and it is whole on disk again."""
    service.add_recording("rec_d", size=BLOCK * 6)
    cache = tmp_path / "cache"
    first = mount(cache_dir=cache, disk_cache="60M")
    content = service.audio("rec_d", "mp3")
    assert (first.recordings / "rec_d.mp3").read_bytes() == content
    assert wait_until(lambda: len(files_in(cache)) == 6)
    assert first.unmount() == 0
    harm, cost = DAMAGES[damage]
    harm(*files_in(cache)[:2])
    second = mount(cache_dir=cache, disk_cache="60M")
    assert (second.recordings / "rec_d.mp3").read_bytes() == content
    assert service.requests.count("api") == 1
    sent = sum(each.bytes_sent for each in service.requests.records("storage"))
    assert cost * BLOCK <= sent <= 6 * BLOCK
    assert wait_until(
        lambda: len(files_in(cache)) == 6 and {path.stat().st_size for path in files_in(cache)} == {SEALED}
    )
    assert not any(path.is_symlink() for path in files_in(cache))
    assert second.unmount() == 0
    assert warnings(second) == []
    damaged = re.search(r"(\d+) damaged", second.log)
    assert damaged is not None
    assert int(damaged[1]) == (0 if damage in ("removed", "linked") else cost)
    service.requests.clear()
    assert (mount(cache_dir=cache, disk_cache="60M").recordings / "rec_d.mp3").read_bytes() == content
    assert service.requests.count() == 0


def test_blocks_of_another_version_or_key_are_not_served(
    service: DemoServer, mount: Callable[..., MountedFolder], tmp_path: Path
) -> None:
    """Files of the old version under the names of the new one, and those of one key under another's."""
    cache, catalogs = tmp_path / "cache", iter(range(10))

    def contents(key: str | None = None) -> bytes:
        folder = mount(
            cache_dir=cache, disk_cache="60M", state_dir=tmp_path / f"state{next(catalogs)}", api_key=key
        )
        found = (folder.recordings / "rec_v.mp3").read_bytes()
        assert wait_until(lambda: len(files_in(cache)) >= 2)
        assert folder.unmount() == 0
        return found

    service.add_recording("rec_v", size=BLOCK * 2)
    old = service.audio("rec_v", "mp3")
    assert contents() == old
    sealed = {path: path.read_bytes() for path in files_in(cache)}
    for path in sealed:
        path.unlink()
    new = bytes(reversed(old))
    service.replace_content("rec_v", new)
    assert contents() == new
    for path, content in zip(files_in(cache), sealed.values(), strict=True):
        path.write_bytes(content)
    service.requests.clear()
    assert contents() == new
    assert service.requests.count("storage") >= 1
    # Another key: other names, and the same files under them do not open.
    service.set_api_key("sk_test_another")
    assert contents("sk_test_another") == new
    mine = [path for path in files_in(cache) if path not in sealed]
    assert len(mine) >= 2
    for path, content in zip(mine, list(sealed.values()) * 3, strict=False):
        path.write_bytes(content)
    service.requests.clear()
    assert contents("sk_test_another") == new
    assert service.requests.count("storage") >= 1


@ROOT
@pytest.mark.parametrize("fault", ["full", "removed", "inodes", "error"])
def test_reads_go_on_without_the_catalog(
    fault: str, service: DemoServer, mount: Callable[..., MountedFolder], disk: Callable[[str], Path]
) -> None:
    """New recordings can be read, known ones stay readable, and the log is not filled with it."""
    for name in NAMES:
        service.add_recording(name, size=100_000)
    options, break_it, _ = FAULTS[fault]
    place = disk(options)
    folder = mount(state_dir=place / "cache")
    assert (folder.recordings / "rec_f0.mp3").read_bytes() == service.audio("rec_f0", "mp3")
    break_it(place)
    for name in NAMES * 2:
        assert (folder.recordings / f"{name}.mp3").read_bytes() == service.audio(name, "mp3")
    assert service.requests.count("api") <= len(NAMES) + 1
    os.listdir(folder.recordings)
    # A removed file goes on working, and a full directory does no harm to the files in it.
    assert (fault in ("full", "error")) <= len(warnings(folder)) <= 3, warnings(folder)
    assert folder.unmount() == 0
