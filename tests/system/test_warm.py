"""`kallglotfs warm` on real mounts: what it costs, that it stays, that it goes on where it was stopped."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from shell import Shell

from conftest import environment, wait_until
from kallglotfs.demo.knobs import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from shell import Done

    from conftest import MountedFolder
    from kallglotfs.demo.requestlog import RequestLog
    from kallglotfs.demo.server import DemoServer

    Warm = Callable[..., Done]

BLOCK = 256 * 1024
SESSION = "sess_01HDELIVERY"
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="mounts filesystems")
#: Runs a command where no control socket of this machine is to be seen.
ALONE = [
    "unshare",
    "-m",
    "sh",
    "-c",
    'mkdir -p /run/kallglotfs && mount -t tmpfs none /run/kallglotfs && "$@"',
    "sh",
]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "kallglotfs", "warm", *map(str, arguments)]


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    """Run the command, which needs no key: the mount has it."""
    with Shell(environment(None)) as shell:
        yield lambda *arguments: shell.run("warm", *arguments)


def blocks(cache: Path) -> int:
    return sum(1 for path in cache.rglob("*") if path.is_file() and len(path.name) == 32)


@pytest.fixture
def kept(mount: Callable[..., MountedFolder], tmp_path: Path) -> Callable[..., MountedFolder]:
    """Mount with a disk tier."""

    def make(**options: object) -> MountedFolder:
        return mount(**{"disk_cache": "200M", "cache_dir": tmp_path / "cache"} | options)

    return make


def test_what_is_warmed_needs_nobody_any_more(
    service: DemoServer, kept: Callable[..., MountedFolder], requests_made: RequestLog, warm: Warm
) -> None:
    """Said first what it costs; one request a recording; after a remount all reads with everything dead."""
    service.add_recording("rec_a", size=1_500_000)
    service.add_recording("rec_b", size=10)
    service.add_recording("rec_c", size=BLOCK, format="wav")
    folder = kept()
    told = warm("rec_a", "rec_b", "rec_c", "rec_a", "--session", SESSION, "-m", folder.path, "--dry-run")
    assert (told.returncode, told.stderr) == (0, "")
    assert "3 files: 0 on disk already (0 B), 3 to fetch" in told.stdout
    assert "costs at least 6 API requests" in told.stdout
    assert requests_made.count("api") == 0
    done = warm("rec_a", "rec_b", "rec_c", "--session", SESSION, "--mount", folder.path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "6 files" in done.stdout
    # A request each, the session's list, transcript and document.
    assert requests_made.count("api") == 3 + 3 + 3
    session = folder.path / "sessions" / SESSION
    assert folder.unmount() == 0
    again = kept()
    service.knobs.faults = [
        Fault("api", "status", -1, status=503),
        Fault("storage", "status", -1, status=503),
    ]
    for name in ("rec_a.mp3", "rec_b.mp3", "rec_c.wav"):
        assert (again.recordings / name).read_bytes() == service.audio(name.partition(".")[0])
    session = again.path / "sessions" / SESSION
    names = os.listdir(session)
    assert {"transcript.txt", "session.json"} <= set(names)
    for name in names:
        assert (session / name).read_bytes()
    assert requests_made.count() == 0


def test_what_is_there_costs_nothing(
    service: DemoServer,
    kept: Callable[..., MountedFolder],
    requests_made: RequestLog,
    tmp_path: Path,
    warm: Warm,
) -> None:
    """What is in memory alone is written without a request, a missing block fetched alone, the rest left."""
    service.add_recording("rec_a", size=2_000_000)
    folder = kept()
    assert (folder.recordings / "rec_a.mp3").read_bytes() == service.audio("rec_a")
    assert wait_until(lambda: blocks(tmp_path / "cache") == 8)
    files = [path for path in (tmp_path / "cache").rglob("*") if len(path.name) == 32]
    files[0].unlink()
    requests_made.clear()
    done = warm(folder.recordings)
    assert (done.returncode, done.stderr) == (0, "")
    assert blocks(tmp_path / "cache") == 8
    assert requests_made.count() == 0
    again = warm(folder.path, "--json")
    assert json.loads(again.stdout) == {
        "mount_point": str(folder.path), "files": 1, "bytes": 2_000_000, "on_disk": 2_000_000,
        "complete": 1, "requests_to_come": 0, "fetched": 0, "api_requests": 0, "failed": {},
    }  # fmt: skip
    assert requests_made.count() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_who_was_stopped_goes_on_where_it_was(
    service: DemoServer,
    kept: Callable[..., MountedFolder],
    requests_made: RequestLog,
    tmp_path: Path,
    number: signal.Signals,
    warm: Warm,
) -> None:
    """Ctrl-C says what remains; however it ended, nothing that is there is fetched or asked for again."""
    names = [f"rec_s{index}" for index in range(6)]
    for name in names:
        service.add_recording(name, size=4_000_000)
    folder = kept()
    service.knobs.storage_bandwidth = 1_500_000.0
    with subprocess.Popen(
        command("-m", folder.path, *names),
        env=environment(None), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert wait_until(lambda: blocks(tmp_path / "cache") > 8, 30)
        began = time.monotonic()
        process.send_signal(number)
        _, complaint = process.communicate(timeout=20)
        assert time.monotonic() - began < 5
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert complaint.count("\n") == 1
        assert "stopped: 6 of 6 files" in complaint or "of 6 files" in complaint
        assert "the same command goes on where it was" in complaint
    service.knobs.storage_bandwidth = None
    done = warm("-m", folder.path, *names)
    assert (done.returncode, done.stderr) == (0, "")
    assert requests_made.count("api") == len(names)
    received = json.loads((folder.path / ".kallglotfs" / "status.json").read_text())["counts"][
        "fetched_bytes"
    ]
    # What was under way when it was stopped may be received twice: at most a request for each worker.
    assert received <= 6 * 4_000_000 + 4 * 8 * 1024 * 1024
    assert blocks(tmp_path / "cache") == 6 * 16
    folder.unmount()
    again = kept()
    for name in names:
        assert (again.recordings / f"{name}.mp3").read_bytes() == service.audio(name)
    assert requests_made.count() == 0


def test_what_fails_is_told_and_the_rest_goes_on(
    service: DemoServer, kept: Callable[..., MountedFolder], requests_made: RequestLog, warm: Warm
) -> None:
    """Deleted, in processing, refused by the storage: each with its reason, and exit code 1."""
    service.add_recording("rec_good", size=300_000)
    service.add_recording("rec_soon", size=300_000, status="processing")
    service.add_recording("rec_bad", size=300_000)
    service.knobs.faults = [Fault("storage", "status", -1, match="rec_bad", status=403)]
    folder = kept()
    done = warm("-m", folder.path, "rec_none", "rec_good", "rec_soon", "rec_bad")
    assert done.returncode == 1
    assert "1 file (293 KiB) is on disk; 3 are not" in done.stdout
    assert "warm: rec_none: the API answers 404" in done.stderr
    assert "rec_soon.mp3: still being processed" in done.stderr
    assert "rec_bad.mp3: " in done.stderr
    service.knobs.faults = []
    requests_made.clear()
    service.set_api_key("another")
    refused = warm("-m", folder.path, "rec_x", "rec_y")
    assert refused.returncode == 1
    assert "401" in refused.stderr


def test_what_does_not_fit_is_said_before(
    service: DemoServer, kept: Callable[..., MountedFolder], requests_made: RequestLog, warm: Warm
) -> None:
    """With figures; where sizes are not known yet, as soon as they are."""
    for name in ("rec_a", "rec_b"):
        service.add_recording(name, size=3_000_000)
    folder = kept(disk_cache="4M")
    unknown = warm("-m", folder.path, "rec_a", "rec_b")
    assert unknown.returncode == 1
    assert "are wanted on the disk, and disk_cache allows 4M" in unknown.stderr
    requests_made.clear()
    known = warm(folder.recordings)
    assert known.returncode == 1
    assert "5.8 MiB are wanted on the disk, and disk_cache allows 4M" in known.stderr
    assert requests_made.count() == 0
    assert warm(folder.recordings / "rec_a.mp3").returncode == 0
    assert requests_made.count("api") <= 1


@ROOT
def test_a_full_disk_is_said(
    service: DemoServer,
    kept: Callable[..., MountedFolder],
    tmp_path: Path,
    requests_made: RequestLog,
    warm: Warm,
) -> None:
    """Before, where it can be reckoned; else as soon as the disk takes nothing more."""
    with small_filesystem(tmp_path / "small") as place:
        service.add_recording("rec_a", size=20_000_000)
        folder = kept(cache_dir=place / "cache")
        (place / "ballast").write_bytes(bytes(30_000_000))
        full = warm("-m", folder.path, "rec_a")
        assert full.returncode == 1
        assert "the cache disk takes nothing more (too little space is left" in full.stderr
        requests_made.clear()
        said = warm(folder.recordings)
        assert said.returncode == 1
        assert "more are wanted on the disk, and its filesystem has" in said.stderr
        assert requests_made.count() == 0
        (place / "ballast").unlink()
        assert wait_until(lambda: warm(folder.recordings).returncode == 0, 20)


@contextlib.contextmanager
def small_filesystem(place: Path) -> Iterator[Path]:
    """Mount 96 MiB, of which 64 are left to others."""
    place.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "mode=700,size=96M", "tmpfs", place], check=True, timeout=10
    )
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=False, timeout=10)


def test_by_time_and_by_directory(
    service: DemoServer, kept: Callable[..., MountedFolder], requests_made: RequestLog, warm: Warm
) -> None:
    """`--since` takes what is known and young enough, a day of by-date what is in it, in any format."""
    now = datetime.now(UTC)
    service.add_recording("rec_new", size=5000, created_at=now - timedelta(days=1))
    service.add_recording("rec_old", size=5000, created_at=now - timedelta(days=30))
    folder = kept()
    for name in ("rec_new", "rec_old"):
        (folder.recordings / f"{name}.mp3").stat()
    requests_made.clear()
    young = json.loads(warm("-m", folder.path, "--since", "7d", "--json").stdout)
    assert (young["files"], young["complete"]) == (1, 1)
    # It was looked at, and its lease came along.
    assert requests_made.count("api") == 0
    day = folder.path / "by-date" / (now - timedelta(days=30)).strftime("%Y/%m/%d")
    other = json.loads(warm(day, "--format", "wav", "--json").stdout)
    assert (other["files"], other["complete"], other["api_requests"]) == (1, 1, 1)
    requests_made.clear()
    assert (folder.recordings / "rec_old.wav").read_bytes() == service.audio("rec_old", "wav")
    assert requests_made.count() == 0
    nothing = warm("-m", folder.path, "--since", (now + timedelta(days=2)).strftime("%Y-%m-%d"))
    assert (nothing.returncode, nothing.stdout) == (0, "nothing is known there: nothing to fetch\n")


def test_two_mounts_share_what_is_on_the_disk(
    service: DemoServer, kept: Callable[..., MountedFolder], requests_made: RequestLog, warm: Warm
) -> None:
    """Which one is meant has to be said; what one has brought the other finds without a request."""
    service.add_recording("rec_a", size=1_000_000)
    first, second = kept(), kept()
    which = warm("rec_a")
    assert which.returncode == 1
    assert "name one with --mount" in which.stderr
    assert warm("rec_a", "-m", first.path).returncode == 0
    requests_made.clear()
    assert warm(second.recordings / "rec_a.mp3").returncode == 0
    assert (second.recordings / "rec_a.mp3").read_bytes() == service.audio("rec_a")
    assert requests_made.count() == 0


@ROOT
def test_what_cannot_work_is_one_line(
    mount: Callable[..., MountedFolder], tmp_path: Path, warm: Warm
) -> None:
    """No disk tier, no such mount, nothing mounted, no sense: each says what to do."""
    folder = mount()
    off = warm(folder.recordings)
    assert "this mount keeps nothing on disk; mount it with disk_cache" in off.stderr
    nowhere = warm(tmp_path / "elsewhere")
    assert "not below a mount of kallglotfs that is running" in nowhere.stderr
    since = warm("--since", "yesterday")
    assert "'yesterday' is neither an age nor a day" in since.stderr
    nothing = warm()
    alone = subprocess.run(
        [*ALONE, *command("rec_a")],
        env=environment(None),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "nothing is mounted" in alone.stderr
    for each in (off, nowhere, since, nothing, alone):
        assert each.returncode not in (0, -1)
        assert (each.stdout, each.stderr.count("\n")) == ("", 1), each.stderr
