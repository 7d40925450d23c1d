"""Twenty thousand reads at random against an oracle; `scripts/soak --preads 1000000` makes more of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from soak.preads import SIZES, read_at_random

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import MountedFolder
    from kallglotfs.demo.server import DemoServer

pytestmark = pytest.mark.load

#: Reads, half of them with a disk tier.
COUNT = 20_000
WAYS = {
    "pread",
    "preadv",
    "seek and read",
    "mmap",
    "O_DIRECT",
    "SEEK_DATA, SEEK_HOLE",
    "negative offset",
    "open",
}


@pytest.mark.parametrize("disk", ["0", "64M"])
def test_reads_at_random_are_as_the_oracle_says(
    disk: str, service: DemoServer, mount: Callable[..., MountedFolder], tmp_path: Path
) -> None:
    """Every way to read, at every kind of place; memory is smaller than the files and evicts."""
    folder = mount(memory_cache="8M", disk_cache=disk, cache_dir=tmp_path / "cache")
    files = {}
    for index, size in enumerate(SIZES):
        service.add_recording(f"rec_pread{index:02}", size)
        files[folder.recordings / f"rec_pread{index:02}.mp3"] = service.audio(f"rec_pread{index:02}")
    reads = read_at_random(files, COUNT // 2, seed=int(disk == "0"))
    assert reads.wrong == []
    assert reads.ways.keys() >= WAYS
    assert reads.latencies.longest < 10
    assert service.requests.count("api") == len(SIZES)
    sent = sum(each.bytes_sent for each in service.requests.records("storage"))
    assert sent > 2 * sum(SIZES) if disk == "0" else sent >= sum(SIZES)


def test_a_wrong_byte_is_noticed(service: DemoServer, mount: Callable[..., MountedFolder]) -> None:
    """The check can fail: an oracle of which one byte differs."""
    service.add_recording("rec_flip", 100_000)
    content = bytearray(service.audio("rec_flip"))
    content[50_000] ^= 1
    folder = mount()
    reads = read_at_random({folder.recordings / "rec_flip.mp3": bytes(content)}, 200, seed=1)
    assert reads.differences > 0
    assert service.requests.count("api") == 1
