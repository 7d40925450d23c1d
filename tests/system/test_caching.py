"""What is kept and what is fetched ahead, on a real mount: bytes and requests counted."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from conftest import wait_until
from kallglotfs.demo.knobs import Fault

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import MountedFolder
    from kallglotfs.demo.server import DemoServer

SIZE = 3_000_001
COUNT = 40


@pytest.fixture
def cached(
    service: DemoServer, mount: Callable[..., MountedFolder], tmp_path: Path
) -> Callable[[], MountedFolder]:
    """Mount with a disk tier that outlives each mount."""
    service.add_recording("rec_d", size=SIZE)
    return lambda: mount(cache_dir=tmp_path / "cache", disk_cache="100M")


def blocks_in(folder: Path) -> list[Path]:
    """Return the files of blocks in a cache directory."""
    return [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size > 10_000]


def fill(folder: MountedFolder, service: DemoServer, cache: Path, name: str = "rec_d") -> None:
    """Read a recording and wait until all of it is on disk."""
    assert (folder.recordings / f"{name}.mp3").read_bytes() == service.audio(name, "mp3")
    assert wait_until(lambda: len(blocks_in(cache)) >= -(-SIZE // (256 * 1024)))


def test_what_is_on_disk_is_read_with_no_request_at_all(
    service: DemoServer, cached: Callable[[], MountedFolder], tmp_path: Path
) -> None:
    """After a remount, and with the network down."""
    first = cached()
    fill(first, service, tmp_path / "cache")
    first.unmount()
    second = cached()
    service.knobs.faults = [Fault("api", "reset", times=-1), Fault("storage", "reset", times=-1)]
    assert (second.recordings / "rec_d.mp3").read_bytes() == service.audio("rec_d", "mp3")
    assert service.requests.count() == 0


def test_nothing_on_disk_tells_whose_call_it_is(
    service: DemoServer, cached: Callable[[], MountedFolder], tmp_path: Path
) -> None:
    """Neither name nor content, and nobody else may look."""
    fill(cached(), service, tmp_path / "cache")
    content = service.audio("rec_d", "mp3")
    for path in (tmp_path / "cache").rglob("*"):
        assert "rec_d" not in str(path.relative_to(tmp_path))
        assert path.stat().st_mode & 0o077 == 0
        if path.is_file():
            assert content[1000:1064] not in path.read_bytes()


def test_a_damaged_block_is_fetched_again(
    service: DemoServer, cached: Callable[[], MountedFolder], tmp_path: Path
) -> None:
    """Bits flipped, zeroed, cut, swapped: exact bytes, and only what was damaged costs a request."""
    first = cached()
    fill(first, service, tmp_path / "cache")
    first.unmount()
    files = sorted(blocks_in(tmp_path / "cache"))
    flipped = bytearray(files[0].read_bytes())
    flipped[5000] ^= 1
    files[0].write_bytes(flipped)
    files[1].write_bytes(bytes(files[1].stat().st_size))
    os.truncate(files[2], 1000)
    files[3].write_bytes(files[4].read_bytes())
    second = cached()
    assert (second.recordings / "rec_d.mp3").read_bytes() == service.audio("rec_d", "mp3")
    sent = sum(each.bytes_sent for each in service.requests.records("storage"))
    assert 0 < sent < SIZE / 2


def test_a_disk_that_is_full_does_not_stop_reading(
    service: DemoServer, mount: Callable[..., MountedFolder], tmp_path: Path
) -> None:
    """One warning, and on without it."""
    service.add_recording("rec_d", size=SIZE)
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M,mode=700", "none", small], check=True)
    try:
        folder = mount(cache_dir=small / "cache", disk_cache="100M")
        assert (folder.recordings / "rec_d.mp3").read_bytes() == service.audio("rec_d", "mp3")
        folder.unmount()
        assert folder.log.count("WARNING kallglotfs.content") == 1
    finally:
        subprocess.run(["umount", "-l", small], check=True)


@pytest.mark.parametrize("end", ["deleted", "expired"])
def test_what_is_cached_of_a_recording_that_is_no_more_is_destroyed(
    end: str, service: DemoServer, cached: Callable[[], MountedFolder], tmp_path: Path
) -> None:
    """In memory and on disk: deleted at the service, or its retention over."""
    cache = tmp_path / "cache"
    if end == "expired":
        soon = datetime.now(UTC) + timedelta(seconds=8)
        service.add_recording("rec_d", size=SIZE, expires_at=soon)
    folder = cached()
    path = folder.recordings / "rec_d.mp3"
    fill(folder, service, cache)
    if end == "deleted":
        service.remove_recording("rec_d")
        folder.unmount()
        subprocess.run(["find", folder.state_dir, "-name", "*.sqlite*", "-delete"], check=True)
        folder = cached()
        path = folder.recordings / "rec_d.mp3"
    assert wait_until(lambda: not path.exists(), 20)
    assert wait_until(lambda: not blocks_in(cache))
    with pytest.raises(FileNotFoundError):
        path.read_bytes()


def test_a_walk_of_the_listing_costs_one_request_a_file_and_is_ahead(
    service: DemoServer, mount: Callable[..., MountedFolder], tmp_path: Path
) -> None:
    """Rsync of forty files: exactly forty API requests, no storage byte twice, several at once."""
    names = [f"rec_w{index:02}" for index in range(COUNT)]
    for name in names:
        service.add_recording(name, size=300_000)
    folder = mount()
    for name in names:
        (folder.recordings / f"{name}.mp3").stat()
    service.requests.clear()
    service.revoke_urls()
    service.knobs.change({"api_latency": 0.02, "storage_latency": 0.02})
    command = ["rsync", "-a", f"{folder.recordings}/", f"{tmp_path}/out/"]
    subprocess.run(command, check=True, timeout=60)
    for name in names:
        assert (tmp_path / "out" / f"{name}.mp3").read_bytes() == service.audio(name, "mp3")
    assert service.requests.count("api") == COUNT
    served = [each for each in service.requests.records("storage") if each.status == 206]
    assert sum(each.bytes_sent for each in served) == COUNT * 300_000
    assert service.requests.peak("storage") > 1


def test_files_opened_at_random_bring_nothing_along(
    service: DemoServer, mount: Callable[..., MountedFolder]
) -> None:
    """Only what is asked for is fetched."""
    order = [7, 31, 2, 19, 11, 28, 5, 23]
    for index in range(COUNT):
        service.add_recording(f"rec_r{index:02}", size=100_000)
    folder = mount()
    for index in range(COUNT):
        (folder.recordings / f"rec_r{index:02}.mp3").stat()
    service.requests.clear()
    for index in order:
        (folder.recordings / f"rec_r{index:02}.mp3").read_bytes()
    assert {each.recording for each in service.requests.records("storage")} == {
        f"rec_r{index:02}" for index in order
    }


def test_reading_again_is_the_kernels_business(
    service: DemoServer, mount: Callable[..., MountedFolder]
) -> None:
    """Its pages are kept over opens while the version stays, and dropped when it changes."""
    service.add_recording("rec_k", size=SIZE)
    folder = mount(memory_cache="8M")
    path = folder.recordings / "rec_k.mp3"
    assert path.read_bytes() == service.audio("rec_k", "mp3")
    service.requests.clear()
    for _ in range(3):
        assert path.read_bytes() == service.audio("rec_k", "mp3")
    assert service.requests.count() == 0
    descriptor = os.open(path, os.O_RDONLY)
    try:
        old = os.pread(descriptor, SIZE, 0)
        new = bytes(reversed(old))
        service.replace_content("rec_k", new)
        # Nothing has shown the change yet: what is cached goes on being served, whole.
        assert path.read_bytes() == old
    finally:
        os.close(descriptor)


def test_two_versions_open_at_once_never_mix(
    service: DemoServer, mount: Callable[..., MountedFolder]
) -> None:
    """The old one is stale beyond what is cached, the new one is read past the kernel's pages."""
    service.add_recording("rec_v", size=20_000_000)
    folder = mount(memory_cache="8M")
    path = folder.recordings / "rec_v.mp3"
    old = service.audio("rec_v", "mp3")
    descriptor = os.open(path, os.O_RDONLY)
    try:
        assert os.pread(descriptor, 1000, 0) == old[:1000]
        new = bytes(reversed(old))
        service.replace_content("rec_v", new)
        with pytest.raises(OSError) as caught:  # noqa: PT011
            os.pread(descriptor, 1000, 15_000_000)
        assert caught.value.errno == errno.ESTALE
        assert path.read_bytes() == new
        assert os.pread(descriptor, 1000, 0) == old[:1000]
        with pytest.raises(OSError) as caught:  # noqa: PT011
            os.pread(descriptor, 1000, 12_000_000)
        assert caught.value.errno == errno.ESTALE
    finally:
        os.close(descriptor)
    assert path.read_bytes() == new


def test_a_slow_player_does_not_download_the_file(
    service: DemoServer, mount: Callable[..., MountedFolder]
) -> None:
    """A hundred times real time is still no copy: what is fetched stays near what is read."""
    service.add_recording("rec_s", size=30_000_000)
    folder = mount()
    with (folder.recordings / "rec_s.mp3").open("rb", buffering=0) as file:
        for index in range(200):
            assert len(file.read(16_000)) == 16_000, index
            time.sleep(0.01)
    sent = sum(each.bytes_sent for each in service.requests.records("storage"))
    assert sent < 3_200_000 + 8_000_000


def test_ls_answers_while_every_reader_waits(
    service: DemoServer, mount: Callable[..., MountedFolder]
) -> None:
    """Forty slow look-ups and reads keep nobody from listing or from another file."""
    for index in range(COUNT):
        service.add_recording(f"rec_q{index:02}", size=100_000)
    service.add_recording("rec_z", size=100_000)
    folder = mount(timeout="30s")
    assert (folder.recordings / "rec_z.mp3").read_bytes() == service.audio("rec_z", "mp3")
    service.knobs.faults = [Fault("api", "stall_headers", times=-1, seconds=20, match="rec_q")]
    readers = [
        subprocess.Popen(["cat", folder.recordings / f"rec_q{index:02}.mp3"], stdout=subprocess.DEVNULL)
        for index in range(COUNT)
    ]
    try:
        assert wait_until(lambda: service.requests.count("api") >= COUNT, 10)
        listed = subprocess.run(["ls", folder.recordings], check=True, capture_output=True, timeout=2)
        assert listed.stdout == b"rec_z.mp3\n"
        read = subprocess.run(
            ["cat", folder.recordings / "rec_z.mp3"], check=True, capture_output=True, timeout=2
        )
        assert read.stdout == service.audio("rec_z", "mp3")
    finally:
        for reader in readers:
            reader.kill()
            reader.wait(timeout=5)
