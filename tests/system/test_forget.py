"""`kallglotfs forget` while mounted: the catalog, the cache on disk, the transcript."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from conftest import environment, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import MountedFolder
    from kallglotfs.demo.requestlog import RequestLog
    from kallglotfs.demo.server import DemoServer


def forget(service: DemoServer, tmp_path: Path, *ids: str) -> subprocess.CompletedProcess[str]:
    """Run the command on the test's catalog and cache."""
    return subprocess.run(
        [sys.executable, "-m", "kallglotfs", "forget", *ids, "--api-url", service.api_url,
         "--state-dir", tmp_path / "state", "--cache-dir", tmp_path / "cache", "--disk-cache", "64M"],
        env=environment(service.api_key), capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


def blocks(tmp_path: Path) -> int:
    """Count the files of the cache that are blocks."""
    return sum(1 for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.stat().st_size > 4096)


def test_a_forgotten_recording_is_gone_from_listing_and_cache(
    service: DemoServer, mount: Callable[..., MountedFolder], requests_made: RequestLog, tmp_path: Path
) -> None:
    """At once, with the mount running; opened by its name it is fetched anew."""
    service.add_recording("rec_a", size=600_000)
    service.add_recording("rec_b", size=600_000)
    folder = mount(disk_cache="64M", cache_dir=tmp_path / "cache")
    for name in ("rec_a", "rec_b"):
        assert (folder.recordings / f"{name}.mp3").read_bytes() == service.audio(name)
    assert wait_until(lambda: blocks(tmp_path) == 6)
    done = forget(service, tmp_path, "rec_a", "not-an-id", "rec_never")
    assert done.returncode == 1
    assert "rec_a: 1 recording forgotten" in done.stdout
    assert "rec_never: was not known" in done.stdout
    assert "'not-an-id': not an id" in done.stderr
    assert os.listdir(folder.recordings) == ["rec_b.mp3"]
    assert blocks(tmp_path) == 3
    assert requests_made.count("api") == 2


def test_a_forgotten_session_takes_its_recordings_and_its_transcript_along(
    service: DemoServer, mount: Callable[..., MountedFolder], tmp_path: Path
) -> None:
    """What was said is as personal as how it sounded."""
    folder = mount(disk_cache="64M", cache_dir=tmp_path / "cache")
    session = folder.path / "sessions" / "sess_01HDELIVERY"
    assert (session / "transcript.txt").read_text()
    assert len(os.listdir(session)) > 6
    folder.unmount()
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    done = forget(service, tmp_path, "sess_01HDELIVERY")
    assert (done.returncode, done.stderr) == (0, "")
    assert "sess_01HDELIVERY: 3 recordings forgotten" in done.stdout
    assert len([path for path in (tmp_path / "cache").rglob("*") if path.is_file()]) < len(files)
    again = mount(disk_cache="64M", cache_dir=tmp_path / "cache")
    assert os.listdir(again.recordings) == []
    assert os.listdir(again.path / "sessions") == []
