"""`kallglotfs cache`: what is there is told, what is broken found, what is purged gone; beside a mount."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

import pytest
from shell import Shell

from conftest import environment, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from shell import Done

    from conftest import MountedFolder
    from kallglotfs.demo.requestlog import RequestLog
    from kallglotfs.demo.server import DemoServer

SESSION = "sess_01HDELIVERY"
BLOCK = 256 * 1024


@pytest.fixture(scope="module")
def shell(demo: DemoServer) -> Iterator[Shell]:
    with Shell(environment(demo.api_key)) as running:
        yield running


@pytest.fixture
def cache(shell: Shell, service: DemoServer, tmp_path: Path) -> Callable[..., Done]:
    """Run `kallglotfs cache` on the test's directories."""
    options = {
        "--cache-dir": tmp_path / "cache", "--state-dir": tmp_path / "state", "--api-url": service.api_url,
        "--disk-cache": "64M",
    }  # fmt: skip
    given = [part for pair in options.items() for part in pair]
    return lambda *arguments: shell.run("cache", *arguments, *given)


@pytest.fixture
def folder(service: DemoServer, mount: Callable[..., MountedFolder], tmp_path: Path) -> MountedFolder:
    """Mount with three recordings on the disk: 4, 4 and 12 blocks."""
    for name in ("rec_a", "rec_b"):
        service.add_recording(name, size=1_000_000)
    service.add_recording("rec_long", size=3_000_000)
    mounted = mount(disk_cache="64M", cache_dir=tmp_path / "cache")
    for name in ("rec_a", "rec_b", "rec_long"):
        (mounted.recordings / f"{name}.mp3").read_bytes()
    assert wait_until(lambda: settled(tmp_path, 20))
    service.requests.clear()
    return mounted


def files_in(tmp_path: Path) -> list[Path]:
    return sorted(path for path in (tmp_path / "cache").rglob("*") if len(path.name) == 32)


def settled(tmp_path: Path, count: int) -> bool:
    return len(files_in(tmp_path)) == count


def disk(folder: MountedFolder) -> dict[str, int]:
    state: dict[str, int] = json.loads((folder.path / ".kallglotfs" / "status.json").read_text())["disk"]
    return state


def on_disk(tmp_path: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in files_in(tmp_path))


def test_what_is_cached_is_listed(
    folder: MountedFolder, cache: Callable[..., Done], requests_made: RequestLog, tmp_path: Path
) -> None:
    """By recording, whole or in part, with totals; for people and for programs; without a request."""
    (large,) = (each for each in {path.parent for path in files_in(tmp_path)} if len(os.listdir(each)) == 12)
    for path in sorted(large.iterdir())[:8]:
        path.unlink()
    listed = cache("list")
    assert (listed.returncode, listed.stderr) == (0, "")
    lines = listed.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert sorted(line.split()[-1] for line in lines[1:-1]) == ["rec_a.mp3", "rec_b.mp3", "rec_long.mp3"]
    assert sum("complete" in line for line in lines[1:-1]) == 2
    assert any("33 %" in line for line in lines)
    assert "3 recordings and sessions, 2 complete" in lines[-1]
    assert lines[-1].endswith("of 64M")
    told = json.loads(cache("list", "--json").stdout)
    assert (told["used"], told["blocks"], told["limit"]) == (on_disk(tmp_path), 12, 64 * 1024 * 1024)
    whole = {each["id"]: each["complete"] for each in told["recordings"]}
    assert whole == {"rec_a": True, "rec_b": True, "rec_long": False}
    checked = cache("verify")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout == "12 blocks of 3 recordings and sessions checked: all whole\n"
    assert folder.process.poll() is None
    assert requests_made.count() == 0


def test_what_is_broken_is_found_and_mended(
    service: DemoServer,
    folder: MountedFolder,
    cache: Callable[..., Done],
    requests_made: RequestLog,
    tmp_path: Path,
) -> None:
    """A flipped bit, a cut file, two that changed places, a stranger, a half-written one: each is told."""
    flipped, cut, one, other, *_ = files_in(tmp_path)
    content = bytearray(flipped.read_bytes())
    content[1000] ^= 1
    flipped.write_bytes(content)
    os.truncate(cut, 5000)
    swapped = one.read_bytes(), other.read_bytes()
    one.write_bytes(swapped[1])
    other.write_bytes(swapped[0])
    half = one.parent / ".1-0123456789abcdef-7"
    half.write_bytes(b"half")
    os.utime(half, (0, 0))
    stray = tmp_path / "cache" / "notes\n.txt"
    stray.write_text("hello")
    found = cache("verify")
    assert found.returncode == 1
    assert found.stdout.startswith("20 blocks of 3 recordings and sessions checked: 4 broken; ")
    assert found.stderr.count("its seal is broken") + found.stderr.count("bytes, should be") == 4
    assert "5000 bytes, should be " in found.stderr
    assert "txt: does not belong there; left alone" in found.stderr
    assert "given up half-written: 1 file" in found.stderr
    assert len(files_in(tmp_path)) == 20
    mended = cache("verify", "--repair")
    # The stranger is still there.
    assert mended.returncode == 1
    assert not half.exists()
    stray.unlink()
    # Of the small ones every block may have been among the broken.
    whole = cache("verify").stdout
    assert re.fullmatch(r"16 blocks of [123] recordings and sessions checked: all whole\n", whole)
    assert json.loads(cache("verify", "--json").stdout)["broken"] == []
    assert wait_until(lambda: disk(folder)["blocks"] == 16 and disk(folder)["used"] == on_disk(tmp_path))
    for name in ("rec_a", "rec_b", "rec_long"):
        assert (folder.recordings / f"{name}.mp3").read_bytes() == service.audio(name)
    assert requests_made.count("api") == 0


def test_what_is_purged_is_gone_and_comes_again(
    service: DemoServer,
    folder: MountedFolder,
    cache: Callable[..., Done],
    tmp_path: Path,
) -> None:
    """Beside a running mount, whose counts stay right and whose readers get the right bytes."""
    (folder.path / "sessions" / SESSION / "transcript.txt").read_text()
    agent = next(path for path in (folder.path / "sessions" / SESSION).iterdir() if path.is_symlink())
    assert agent.read_bytes()
    assert wait_until(lambda: len(files_in(tmp_path)) > 20)
    purged = cache("purge", SESSION)
    assert purged.stdout.startswith("2 recordings and sessions purged (")
    assert cache("purge", "rec_a", "rec_never").stdout.startswith("1 recording or session purged (")
    assert len(files_in(tmp_path)) == 16
    assert wait_until(lambda: disk(folder)["blocks"] == 16 and disk(folder)["used"] == on_disk(tmp_path))
    for path in files_in(tmp_path)[:4]:
        os.utime(path, (0, 0))
    for name in ("rec_a", "rec_b"):
        assert (folder.recordings / f"{name}.mp3").read_bytes() == service.audio(name)
    assert "purged" in cache("purge", "--older-than", "1h").stdout
    everything = cache("purge", "--all")
    assert (everything.returncode, everything.stderr) == (0, "")
    assert files_in(tmp_path) == []
    assert wait_until(lambda: disk(folder)["used"] == 0)
    assert folder.unmount() == 0
    assert cache("list").stdout == f"nothing is cached in {tmp_path / 'cache'}\n"


def test_it_works_without_a_mount_and_says_what_is_wrong(
    folder: MountedFolder, cache: Callable[..., Done], shell: Shell, tmp_path: Path
) -> None:
    """No mount, no key where none is needed, no directory, no sense."""
    folder.unmount()
    assert "20 blocks" in cache("verify").stdout
    for wrong, words in (
        (["purge"], "name ids, or --all, or --older-than"),
        (["purge", "--all", "rec_a"], "name ids, or --all, or --older-than"),
        (["purge", "../etc"], "not an id"),
        (["purge", "--older-than", "soon"], "'soon' is not an age"),
    ):
        refused = cache(*wrong)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert words in refused.stderr
        assert refused.stderr.count("\n") == 1
    with Shell(environment(None)) as keyless:
        needed = keyless.run("cache", "list", "--cache-dir", tmp_path / "cache")
        assert needed.returncode == 1
        assert needed.stderr.count("\n") == 1
        done = keyless.run("cache", "purge", "--all", "--cache-dir", tmp_path / "cache")
        assert done.stdout.startswith("3 recordings and sessions purged (")
    nowhere = shell.run("cache", "list", "--cache-dir", tmp_path / "none")
    assert nowhere.stdout == f"nothing is cached in {tmp_path / 'none'}\n"
    assert not (tmp_path / "none").exists()
    (tmp_path / "cache").chmod(0o755)
    assert "others may reach it" in cache("list").stderr
