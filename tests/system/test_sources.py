"""Where recordings come from by themselves, on a real mount, with the requests that costs."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from conftest import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import MountedFolder
    from kallglotfs.demo.requestlog import RequestLog
    from kallglotfs.demo.server import DemoServer


def test_what_is_written_into_the_watched_file_appears(
    service: DemoServer, mount: Callable[..., MountedFolder], requests_made: RequestLog, tmp_path: Path
) -> None:
    """Recordings and sessions, one request each; what is known or no id costs nothing."""
    service.add_recording("rec_a", size=1000)
    service.add_recording("rec_b", size=1000)
    ids = tmp_path / "ids"
    folder = mount(ids_file=ids)
    assert os.listdir(folder.recordings) == []
    ids.write_text("rec_a\nnonsense\n")
    assert wait_until(lambda: os.listdir(folder.recordings) == ["rec_a.mp3"], 10)
    ids.write_text("# calls of today\nrec_a\nrec_b\nsess_01HDELIVERY\n")
    assert wait_until(lambda: len(os.listdir(folder.recordings)) == 5, 10)
    assert requests_made.count("api") == 3


def test_a_recording_in_processing_becomes_a_file_by_itself(
    service: DemoServer, mount: Callable[..., MountedFolder], requests_made: RequestLog
) -> None:
    """Nobody has to look at it again."""
    service.add_recording("rec_p", size=1000)
    service.set_status("rec_p", "processing")
    folder = mount()
    assert (folder.recordings / "rec_p.mp3").stat().st_size == 0
    assert os.listdir(folder.recordings) == []
    service.set_status("rec_p", "ready")
    assert wait_until(lambda: os.listdir(folder.recordings) == ["rec_p.mp3"], 20)
    assert requests_made.count("api") <= 3
    assert (folder.recordings / "rec_p.mp3").read_bytes() == service.audio("rec_p")


def test_a_failed_recording_is_never_listed(service: DemoServer, mount: Callable[..., MountedFolder]) -> None:
    """Not while it is processed, and not when that has failed."""
    service.add_recording("rec_p", size=1000)
    service.set_status("rec_p", "processing")
    folder = mount()
    (folder.recordings / "rec_p.mp3").stat()
    service.set_status("rec_p", "failed")
    assert wait_until(lambda: not (folder.recordings / "rec_p.mp3").exists(), 20)
    assert os.listdir(folder.recordings) == []


def test_sessions_that_the_service_lists_are_paged_in(
    service: DemoServer, mount: Callable[..., MountedFolder]
) -> None:
    """A page for the sessions, one request for each of them, and after a restart nothing but news."""
    folder = mount(backfill="true")
    sessions = len({call.session_id for call in service.calls})
    assert wait_until(lambda: len(os.listdir(folder.path / "sessions")) == sessions, 20)
    # From the mount's own log: a request may be made before the fixture empties the service's.
    assert wait_until(lambda: folder.log.count("API GET /v1/sessions") == sessions + 1, 20)
    calls = {f"{call.id}.{call.format}" for call in service.calls}
    assert wait_until(lambda: set(os.listdir(folder.recordings)) == calls)
    folder.unmount()
    again = mount(backfill="true")
    assert wait_until(lambda: "API GET /v1/sessions" in again.log, 10)
    assert set(os.listdir(again.recordings)) == calls
    assert again.log.count("API GET /v1/sessions") == 1


def test_a_service_without_a_list_is_asked_once(
    service: DemoServer, mount: Callable[..., MountedFolder]
) -> None:
    """The newer generation: a 404 ends it for the run."""
    service.knobs.change({"generation": 2})
    folder = mount(backfill="true")
    assert wait_until(lambda: "lists no sessions" in folder.log)
    assert folder.log.count("API GET /v1/sessions") == 1
    assert len(os.listdir(folder.path / "sessions" / "sess_01HDELIVERY")) > 3


def test_an_indexer_may_open_nothing(
    service: DemoServer, mount: Callable[..., MountedFolder], requests_made: RequestLog, tmp_path: Path
) -> None:
    """EACCES, whatever it is after, at no cost; others are not disturbed."""
    service.add_recording("rec_a", size=1000)
    folder = mount()
    indexer = tmp_path / "tracker-extract"
    shutil.copy("/bin/cat", indexer)
    path = folder.recordings / "rec_a.mp3"
    path.stat()
    spent = requests_made.count("api")
    refused = subprocess.run([indexer, path], capture_output=True, text=True, timeout=10, check=False)
    assert os.strerror(errno.EACCES) in refused.stderr
    assert requests_made.count("api") == spent
    assert requests_made.count("storage") == 0
    assert path.read_bytes() == service.audio("rec_a")


@pytest.mark.parametrize("name", [".nomedia", ".trackerignore", ".metadata_never_index"])
def test_markers_keep_indexers_out(name: str, mount: Callable[..., MountedFolder]) -> None:
    """Empty files at the root."""
    folder = mount()
    assert name in os.listdir(folder.path)
    assert (folder.path / name).read_bytes() == b""
