"""A key that is refused or rotated under a real mount."""

from __future__ import annotations

import errno
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from conftest import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import MountedFolder
    from kallglotfs.demo.server import DemoServer

SIZE = 300_000
NEW = "sk_test_rotated987654321"


def put(path: Path, key: str) -> None:
    """Write a key file as an administrator does: under another name, then into its place."""
    fresh = path.with_suffix(".new")
    fresh.write_text(key)
    fresh.chmod(0o600)
    fresh.replace(path)


@pytest.fixture
def key_file(service: DemoServer, tmp_path: Path) -> Path:
    """The file that holds the key."""
    path = tmp_path / "key"
    put(path, service.api_key)
    return path


def failure(path: Path) -> int | None:
    """Return the errno of reading a file, None when it can be read."""
    try:
        path.read_bytes()
    except OSError as error:
        return error.errno
    return None


def refusals(service: DemoServer) -> int:
    """Return how many API requests were answered with a 401."""
    return [each.status for each in service.requests.records("api")].count(401)


@pytest.mark.parametrize("generation", [1, 2])
def test_a_refused_key_costs_one_request_for_everybody_until_it_changes(
    generation: int, service: DemoServer, mount: Callable[..., MountedFolder], key_file: Path
) -> None:
    """Sixteen readers, for the API and for audio that it streams itself; then it works at once."""
    for index in range(18):
        service.add_recording(f"rec_k{index}", size=SIZE)
    service.knobs.change({"generation": generation})
    folder = mount(api_key_file=key_file)
    paths = [folder.recordings / f"rec_k{index}.mp3" for index in range(18)]
    # Known, but not read: what is asked for later is the audio.
    for path in paths[:8]:
        path.stat()
    assert len(paths[17].read_bytes()) == SIZE
    service.set_api_key(NEW)
    assert failure(paths[16]) == errno.EACCES
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(failure, paths[8:16] * 2))
        assert found == [errno.EACCES] * 16
        if generation == 2:
            # Generation 1 got its leases with the metadata.
            assert set(pool.map(failure, paths[:8])) == {errno.EACCES}
    assert refusals(service) == 1
    assert paths[17].read_bytes() == service.audio("rec_k17", "mp3")
    put(key_file, NEW)
    assert wait_until(lambda: failure(paths[16]) is None, 5)
    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(failure, paths[:16])) == {None}
    assert refusals(service) == 1


def test_a_key_that_is_rotated_under_sixteen_readers_fails_none(
    service: DemoServer, mount: Callable[..., MountedFolder], key_file: Path
) -> None:
    """The old one is revoked when the new one is in its place: who was refused tries again."""
    for index in range(200):
        service.add_recording(f"rec_k{index}", size=1000)
    folder = mount(api_key_file=key_file)
    paths = [folder.recordings / f"rec_k{index}.mp3" for index in range(200)]
    with ThreadPoolExecutor(16) as pool:
        found = [pool.submit(failure, path) for path in paths]
        assert wait_until(lambda: service.requests.count("api") > 40, 30)
        put(key_file, NEW)
        service.set_api_key(NEW)
        assert {each.result() for each in found} == {None}
    # No more than were on their way.
    assert 1 <= refusals(service) <= 16
    assert service.requests.count("api") == 200 + refusals(service)


def test_a_key_that_is_not_there_for_a_moment_is_found_when_it_is(
    service: DemoServer, mount: Callable[..., MountedFolder], key_file: Path
) -> None:
    """Empty, gone, no file, nonsense, open to others: the old one is used while it is good, else EACCES."""
    for index in range(9):
        service.add_recording(f"rec_k{index}", size=1000)
    folder = mount(api_key_file=key_file)
    paths = iter([folder.recordings / f"rec_k{index}.mp3" for index in range(9)])
    key_file.write_text("")
    assert failure(next(paths)) is None
    service.set_api_key(NEW)
    assert failure(next(paths)) == errno.EACCES
    for spoil in (
        key_file.unlink,
        key_file.mkdir,
        key_file.rmdir,
        lambda: put(key_file, "two words"),
        lambda: (put(key_file, NEW), key_file.chmod(0o644)),
    ):
        spoil()
        # The place is looked at once a second.
        time.sleep(1.05)
        assert failure(next(paths)) == errno.EACCES
    put(key_file, NEW)
    path = next(paths)
    assert wait_until(lambda: failure(path) is None, 5)
    assert refusals(service) == 1
    assert "Traceback" not in folder.log
    assert NEW not in folder.log
    assert service.api_key not in folder.log


def test_a_new_key_that_nobody_needs_yet_breaks_nothing(
    service: DemoServer, mount: Callable[..., MountedFolder], key_file: Path
) -> None:
    """The old one is good still."""
    for index in range(3):
        service.add_recording(f"rec_k{index}", size=1000)
    folder = mount(api_key_file=key_file)
    assert failure(folder.recordings / "rec_k0.mp3") is None
    put(key_file, NEW)
    assert failure(folder.recordings / "rec_k1.mp3") is None
    service.set_api_key(NEW)
    assert failure(folder.recordings / "rec_k2.mp3") is None
    assert service.requests.count("api") == 4
    assert refusals(service) == 1


def test_a_rotated_key_leaves_the_disk_tier_right_before_and_after_a_remount(
    service: DemoServer, mount: Callable[..., MountedFolder], key_file: Path, tmp_path: Path
) -> None:
    """The mount goes on with what it has; the next one does not find what was sealed under the old key."""
    for name in ("rec_a", "rec_b"):
        service.add_recording(name, size=SIZE)
    options = {"api_key_file": key_file, "disk_cache": "64M", "cache_dir": tmp_path / "cache"}
    folder = mount(**options)

    def right(name: str) -> bool:
        path = folder.recordings / f"{name}.mp3"
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            return os.pread(descriptor, SIZE, 0) == service.audio(name, "mp3")
        finally:
            os.close(descriptor)

    assert right("rec_a")
    put(key_file, NEW)
    service.set_api_key(NEW)
    assert right("rec_b")
    assert right("rec_a")
    assert wait_until(lambda: blocks(tmp_path / "cache") == 4)
    assert folder.unmount() == 0

    # The same contents under the same key: nothing is fetched.
    put(key_file, "sk_test_demo0123456789")
    service.set_api_key("sk_test_demo0123456789")
    folder = mount(**options)
    began = time.monotonic()
    assert right("rec_a")
    assert right("rec_b")
    assert service.requests.count() == 0
    assert time.monotonic() - began < 5
    folder.unmount()

    # Under the new key, other contents at that: nothing of the old is found, let alone served.
    put(key_file, NEW)
    service.set_api_key(NEW)
    service.replace_content("rec_a", bytes(reversed(service.audio("rec_a", "mp3"))))
    folder = mount(**options)
    assert right("rec_a")
    assert right("rec_b")
    assert service.requests.count("storage") >= 2
    assert wait_until(lambda: blocks(tmp_path / "cache") == 8)


def blocks(folder: Path) -> int:
    """Return how many files of blocks there are."""
    return sum(1 for path in folder.rglob("*") if path.is_file() and path.stat().st_size > 10_000)
