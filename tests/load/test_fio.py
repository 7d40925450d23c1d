"""Fio, which nobody here wrote, checks its own patterns on the mount: every block carries a sum of itself."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import MountedFolder
    from kallglotfs.demo.server import DemoServer

pytestmark = pytest.mark.load

#: Bytes; more than the memory tier, so that it evicts.
SIZE = 12 * 1024 * 1024
#: Ways to read: pattern, bytes at a time, engine and its options.
WAYS = {
    "in order": ["--rw=read", "--bs=256k", "--ioengine=psync"],
    "at random": ["--rw=randread", "--bs=4k", "--ioengine=psync", f"--io_size={SIZE // 8}"],
    "large and at random": ["--rw=randread", "--bs=1m", "--ioengine=psync"],
    "mapped": ["--rw=randread", "--bs=64k", "--ioengine=mmap"],
    "mapped, in order": ["--rw=read", "--bs=128k", "--ioengine=mmap"],
    "sixteen at a time": ["--rw=randread", "--bs=64k", "--ioengine=libaio", "--direct=1", "--iodepth=16"],
    "four jobs": ["--rw=randread", "--bs=16k", "--ioengine=psync", "--numjobs=4", f"--io_size={SIZE // 8}"],
}


def fio(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run fio on a file of patterns with a sum every 4 KiB."""
    command = ["fio", "--name=job", f"--filename={path}", f"--size={SIZE}", "--verify=crc32c"]
    command += [
        "--verify_interval=4k",
        "--verify_fatal=1",
        "--output-format=json",
        "--group_reporting",
        *options,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd="/tmp")


def patterns(directory: Path) -> bytes:
    """Let fio lay a file out and return it."""
    path = directory / "patterns"
    laid = fio(path, "--rw=write", "--bs=64k", "--do_verify=0", "--verify_state_save=0")
    assert laid.returncode == 0, laid.stderr
    return path.read_bytes()


def job(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return what fio says of its job."""
    found: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])["jobs"][0]
    return found


def test_fio_finds_its_patterns_intact(
    service: DemoServer, mount: Callable[..., MountedFolder], tmp_path: Path
) -> None:
    """In order, at random, mapped, past the page cache, several at a time: each sum is right."""
    service.add_recording("rec_fio", SIZE)
    service.replace_content("rec_fio", patterns(tmp_path))
    folder = mount(memory_cache="8M")
    for way, options in WAYS.items():
        before = service.requests.count("storage")
        done = fio(folder.recordings / "rec_fio.mp3", "--readonly", *options)
        assert done.returncode == 0, f"{way}: {done.stdout} {done.stderr}"
        assert job(done)["error"] == 0, way
        assert job(done)["read"]["io_bytes"] >= SIZE // 8, way
        assert service.requests.count("storage") > before, f"{way}: all came from the page cache"
    assert service.requests.count("api") == 1


@pytest.mark.parametrize("engine", ["psync", "mmap"])
def test_fio_notices_one_wrong_bit(
    engine: str, service: DemoServer, mount: Callable[..., MountedFolder], tmp_path: Path
) -> None:
    """The check can fail: the service has one bit that fio did not write."""
    content = bytearray(patterns(tmp_path))
    content[SIZE // 2 + 1000] ^= 1
    service.add_recording("rec_flipped", SIZE)
    service.replace_content("rec_flipped", bytes(content))
    folder = mount(memory_cache="8M")
    done = fio(
        folder.recordings / "rec_flipped.mp3", "--readonly", "--rw=read", "--bs=256k", f"--ioengine={engine}"
    )
    assert done.returncode != 0
    assert "verify failed" in done.stdout + done.stderr
    assert service.requests.count("api") == 1
