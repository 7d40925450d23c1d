"""What faults mean for open files, killed readers, the key and the end; the matrix has the others."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from conftest import wait_until
from kallglotfs.demo.knobs import Fault

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import MountedFolder
    from kallglotfs.demo.server import DemoServer

SIZE = 3_000_000


@pytest.fixture
def folder(service: DemoServer, mount: Callable[..., MountedFolder]) -> MountedFolder:
    """A mount with short patience and one recording."""
    service.add_recording("rec_f", size=SIZE)
    service.add_recording("rec_other", size=SIZE)
    return mount(timeout="3s")


def failure(path: Path) -> int:
    """Return the errno that reading a file ends with."""
    with pytest.raises(OSError) as caught:  # noqa: PT011
        path.read_bytes()
    assert caught.value.errno is not None
    return caught.value.errno


def test_a_rate_limit_that_fits_is_waited_for(service: DemoServer, folder: MountedFolder) -> None:
    """The reader sees a pause and the exact bytes."""
    fault = Fault("api", "status", status=429, headers={"Retry-After": "1"})
    service.knobs.faults = [fault]
    assert (folder.recordings / "rec_f.mp3").read_bytes() == service.audio("rec_f", "mp3")
    assert fault.fired == 1


def test_a_rate_limit_that_does_not_fit_is_told_at_once(service: DemoServer, folder: MountedFolder) -> None:
    """ETIMEDOUT, never EAGAIN; what is cached is read meanwhile."""
    other = folder.recordings / "rec_other.mp3"
    assert other.read_bytes() == service.audio("rec_other", "mp3")
    fault = Fault("api", "status", status=429, times=-1, headers={"Retry-After": "1000"})
    service.knobs.faults = [fault]
    began = time.monotonic()
    assert failure(folder.recordings / "rec_f.mp3") == errno.ETIMEDOUT
    assert time.monotonic() - began < 1
    assert fault.fired == 1
    assert other.read_bytes() == service.audio("rec_other", "mp3")


def test_content_that_changes_under_an_open_file_is_stale_and_a_new_open_is_right(
    service: DemoServer, folder: MountedFolder
) -> None:
    """Never a mixed file, and no error for who opens anew."""
    path = folder.recordings / "rec_f.mp3"
    old, new = service.audio("rec_f", "mp3"), bytes(reversed(service.audio("rec_f", "mp3"))) + b"more"
    descriptor = os.open(path, os.O_RDONLY)
    try:
        assert os.pread(descriptor, 1000, 0) == old[:1000]
        service.replace_content("rec_f", new)
        with pytest.raises(OSError) as caught:  # noqa: PT011
            os.pread(descriptor, 1000, 2_500_000)
        assert caught.value.errno == errno.ESTALE
        assert path.read_bytes() == new
        assert path.stat().st_size == len(new)
    finally:
        os.close(descriptor)


def test_content_that_changed_while_nobody_looked_opens_without_an_error(
    service: DemoServer, mount: Callable[..., MountedFolder]
) -> None:
    """Linux repeats an open that finds the file stale."""
    service.add_recording("rec_c", size=1000)
    first = mount()
    assert len((first.recordings / "rec_c.mp3").read_bytes()) == 1000
    first.unmount()
    service.replace_content("rec_c", b"x" * 4321)
    second = mount()
    assert (second.recordings / "rec_c.mp3").stat().st_size == 1000
    assert (second.recordings / "rec_c.mp3").read_bytes() == b"x" * 4321
    assert (second.recordings / "rec_c.mp3").stat().st_size == 4321


def test_a_metadata_size_that_is_wrong_cuts_nothing(service: DemoServer, folder: MountedFolder) -> None:
    """The storage decides what the size is."""
    service.knobs.change({"metadata_has_size": False})
    assert (folder.recordings / "rec_f.mp3").stat().st_size == SIZE
    assert service.requests.count("api") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_killed_reader_is_let_go_while_the_storage_stalls(
    number: int, service: DemoServer, mount: Callable[..., MountedFolder]
) -> None:
    """Not after the timeout, and `ls` answers meanwhile."""
    service.add_recording("rec_f", size=SIZE)
    folder = mount(timeout="60s")
    service.knobs.faults = [Fault("storage", "stall_headers", times=-1, seconds=60)]
    with subprocess.Popen(["cat", folder.recordings / "rec_f.mp3"], stdout=subprocess.DEVNULL) as reader:
        assert wait_until(lambda: service.requests.count("storage") > 0)
        began = time.monotonic()
        assert "recordings" in os.listdir(folder.path)
        reader.send_signal(number)
        reader.wait(timeout=5)
        assert time.monotonic() - began < 2


def test_sigterm_ends_the_daemon_with_reads_under_way(
    service: DemoServer, mount: Callable[..., MountedFolder]
) -> None:
    """Exit 0 within seconds, unmounted, nobody left hanging."""
    for index in range(20):
        service.add_recording(f"rec_t{index}", size=SIZE)
    folder = mount(timeout="60s")
    service.knobs.faults = [Fault("storage", "stall_headers", times=-1, seconds=60)]
    readers = [
        subprocess.Popen(
            ["cat", folder.recordings / f"rec_t{index}.mp3"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for index in range(20)
    ]
    try:
        assert wait_until(lambda: service.requests.count("storage") >= 20, 10)
        folder.process.send_signal(signal.SIGTERM)
        assert folder.process.wait(timeout=5) == 0
        assert not os.path.ismount(folder.path)
        assert all(reader.wait(timeout=5) != 0 for reader in readers)
    finally:
        for reader in readers:
            reader.kill()
            reader.wait()


def test_a_network_that_is_down_says_so(service: DemoServer, mount: Callable[..., MountedFolder]) -> None:
    """EHOSTUNREACH, in time; the mount itself is not stopped by it."""
    folder = mount(api_url="http://127.0.0.1:9/v1", timeout="2s")
    began = time.monotonic()
    assert failure(folder.recordings / "rec_f.mp3") == errno.EHOSTUNREACH
    assert time.monotonic() - began < 3.5
    assert os.listdir(folder.recordings) == []


def test_a_rotated_key_works_without_a_remount(
    service: DemoServer, mount: Callable[..., MountedFolder], tmp_path: Path
) -> None:
    """The key is read again when it is refused."""
    key_file = tmp_path / "key"
    key_file.touch(mode=0o600)
    key_file.write_text(service.api_key)
    old = service.api_key
    service.add_recording("rec_f", size=1000)
    service.add_recording("rec_g", size=1000)
    folder = mount(api_key_file=key_file)
    try:
        assert (folder.recordings / "rec_f.mp3").stat().st_size == 1000
        service.set_api_key("sk_test_rotated")
        assert failure(folder.recordings / "rec_g.mp3") == errno.EACCES
        spent = service.requests.count("api")
        assert failure(folder.recordings / "rec_h.mp3") == errno.EACCES
        assert service.requests.count("api") == spent
        key_file.write_text("sk_test_rotated\n")
        # The file is looked at once a second at most.
        assert wait_until(lambda: os.access(folder.recordings / "rec_g.mp3", os.R_OK), 3)
        assert (folder.recordings / "rec_g.mp3").read_bytes() == service.audio("rec_g", "mp3")
    finally:
        service.set_api_key(old)
