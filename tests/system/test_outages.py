"""A network that is down, as a whole or in part: what is cached is served, the rest errs in time."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from conftest import MountedFolder, wait_until
from fault_proxy import FaultProxy, Trouble
from kallglotfs.demo.knobs import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kallglotfs.demo.server import DemoServer

SIZE = 1_300_000
MEBIBYTE = 1024 * 1024


@pytest.fixture
def proxies(service: DemoServer) -> Iterator[dict[str, FaultProxy]]:
    """A proxy in front of the API and one in front of the storage."""
    with contextlib.ExitStack() as stack:
        made = {
            name: stack.enter_context(FaultProxy(("127.0.0.1", urlsplit(url).port or 0)))
            for name, url in (("api", service.api_url), ("storage", service.storage_url))
        }
        service.public_storage_url = made["storage"].origin
        yield made


def failure(path: Path) -> tuple[int | None, float]:
    """Return the errno that reading a file ends with, and the seconds the call took that it came from."""
    began = time.monotonic()
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        return error.errno, time.monotonic() - began
    try:
        began = time.monotonic()
        os.read(descriptor, 1000)
    except OSError as error:
        return error.errno, time.monotonic() - began
    finally:
        os.close(descriptor)
    return None, 0.0


def drop_pages(path: Path) -> None:
    """Let the kernel forget a file."""
    descriptor = os.open(path, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def is_right(path: Path, expected: bytes) -> bool:
    """Tell whether a file can be read and is what it should be."""
    try:
        return path.read_bytes() == expected
    except OSError:
        return False


@pytest.mark.parametrize("how", ["refuse", "blackhole"])
@pytest.mark.parametrize("down", [("api",), ("storage",), ("api", "storage")], ids="+".join)
def test_what_is_cached_is_served_while_the_network_is_down_and_the_rest_errs_in_time(
    down: tuple[str, ...],
    how: str,
    service: DemoServer,
    mount: Callable[..., MountedFolder],
    proxies: dict[str, FaultProxy],
    tmp_path: Path,
) -> None:
    """From memory and from disk, with no request; the mount recovers within two seconds of the network."""
    names = ("rec_warm", "rec_cold", "rec_known", "rec_later")
    for name in names:
        service.add_recording(name, size=SIZE)
    expected = {name: service.audio(name) for name in names}
    disk = {"disk_cache": "64M", "cache_dir": tmp_path / "cache", "api_url": f"{proxies['api'].origin}/v1"}
    first = mount(**disk)
    assert (first.recordings / "rec_warm.mp3").read_bytes() == expected["rec_warm"]
    assert first.unmount() == 0
    folder = mount(**disk, timeout="2s", memory_cache="16M")
    files = {name: folder.recordings / f"{name}.mp3" for name in names}
    assert files["rec_known"].stat().st_size == SIZE
    for name in down:
        getattr(proxies[name], how)()
    spent = service.requests.count()
    for _ in range(2):  # from disk, then from memory
        assert files["rec_warm"].read_bytes() == expected["rec_warm"]
        drop_pages(files["rec_warm"])
    assert service.requests.count() == spent
    assert "recordings" in os.listdir(folder.path)
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(failure, [files["rec_cold"]]))
        if "storage" in down:
            results += pool.map(failure, [files["rec_known"]])
    for number, took in results:
        assert number in ({errno.EHOSTUNREACH} | ({errno.ETIMEDOUT} if how == "blackhole" else set()))
        assert took <= 3
    for name in down:
        proxies[name].listen()
    back = time.monotonic()
    for name in ("rec_cold", "rec_known", "rec_later"):
        assert wait_until(lambda name=name: is_right(files[name], expected[name]), 10)
    assert time.monotonic() - back <= 2
    assert service.requests.count("api", "rec_warm") == 0


def test_a_name_that_cannot_be_resolved_is_an_errno_in_time(mount: Callable[..., MountedFolder]) -> None:
    """EHOSTUNREACH, or ETIMEDOUT where the resolver itself takes that long."""
    folder = mount(api_url="http://kallglot.invalid/v1", timeout="2s")
    number, took = failure(folder.recordings / "rec_1.mp3")
    assert number in (errno.EHOSTUNREACH, errno.ETIMEDOUT)
    assert took <= 3
    assert os.listdir(folder.recordings) == []


def test_a_storage_without_ranges_is_read_once_and_within_the_memory_allowed(
    service: DemoServer, mount: Callable[..., MountedFolder]
) -> None:
    """A file of six times the memory cache, front to back: one request, and no more memory than that."""
    service.knobs.accept_ranges = False
    service.add_recording("rec_small", size=1000)
    service.add_recording("rec_large", size=48 * MEBIBYTE)
    folder = mount(memory_cache="8M")
    assert len((folder.recordings / "rec_small.mp3").read_bytes()) == 1000
    before = peak(folder)
    assert (folder.recordings / "rec_large.mp3").read_bytes() == service.audio("rec_large")
    assert peak(folder) - before < 24 * MEBIBYTE
    assert service.requests.count("storage", "rec_large") == 1
    assert service.requests.count("api", "rec_large") == 1


def peak(folder: MountedFolder) -> int:
    """Return the most memory the daemon has used so far, in bytes."""
    status = (folder.process_directory / "status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def test_connections_of_calls_that_timed_out_are_closed(
    service: DemoServer, mount: Callable[..., MountedFolder], proxies: dict[str, FaultProxy]
) -> None:
    """Sixteen stalled transfers leave no socket and no thread behind."""
    for index in range(17):
        service.add_recording(f"rec_s{index}", size=SIZE)
    folder = mount(api_url=f"{proxies['api'].origin}/v1", timeout="2s")
    assert is_right(folder.recordings / "rec_s16.mp3", service.audio("rec_s16"))
    quiet, idle = sockets(folder), threads(folder)
    stall = Trouble("stall", match="/recordings/rec_s", at=1000, times=-1)
    proxies["storage"].set([stall])
    with ThreadPoolExecutor(16) as pool:
        failures = list(pool.map(lambda index: failure(folder.recordings / f"rec_s{index}.mp3"), range(16)))
    assert {number for number, _ in failures} == {errno.ETIMEDOUT}
    assert max(took for _, took in failures) <= 3
    assert stall.struck >= 16
    proxies["storage"].lift()
    # What is left are the idle connections of the API's pool, which sixteen callers at once have filled.
    assert wait_until(lambda: proxies["storage"].open <= 1, 10), proxies["storage"].open
    assert wait_until(lambda: sockets(folder) <= quiet + proxies["api"].open, 10), (quiet, sockets(folder))
    assert threads(folder) <= idle + 64
    for index in range(16):
        assert is_right(folder.recordings / f"rec_s{index}.mp3", service.audio(f"rec_s{index}"))
    assert service.requests.count("api") == 17


def sockets(folder: MountedFolder) -> int:
    """Return how many sockets the daemon has open."""
    found = 0
    for each in (folder.process_directory / "fd").iterdir():
        with contextlib.suppress(OSError):
            found += str(each.readlink()).startswith("socket:")
    return found


def threads(folder: MountedFolder) -> int:
    """Return how many threads the daemon has."""
    return len(list((folder.process_directory / "task").iterdir()))


@pytest.mark.parametrize("status", [402, 403])
def test_an_account_that_is_not_in_order_is_told_once(
    status: int, service: DemoServer, mount: Callable[..., MountedFolder]
) -> None:
    """EACCES for every file, one request each and no retry, and one line in the log."""
    service.add_recording("rec_fine", size=1000)
    folder = mount()
    assert (folder.recordings / "rec_fine.mp3").stat().st_size == 1000
    fault = Fault("api", "status", status=status, times=-1)
    service.knobs.faults = [fault]
    for index in range(30):
        assert failure(folder.recordings / f"rec_n{index}.mp3")[0] == errno.EACCES
        assert failure(folder.recordings / f"rec_n{index}.mp3")[0] == errno.EACCES
    assert fault.fired == 30
    assert sum(" WARNING " in line and f" {status} " in line for line in folder.log.splitlines()) == 1


#: Maps a file, says so, and on each line of its input tells what it sees: "old", "new" or something else.
MAPPER = """
import mmap, os, sys
descriptor = os.open(sys.argv[1], os.O_RDONLY)
kind = getattr(mmap, sys.argv[2])
try:
    view = mmap.mmap(descriptor, 0, flags=kind, prot=mmap.PROT_READ)
except OSError as error:
    print("refused", flush=True)
    sys.exit()
print("mapped", flush=True)
for line in sys.stdin:
    at = int(line)
    print({b"o": "old", b"n": "new"}.get(view[at:at + 1], "else"), flush=True)
"""


@contextlib.contextmanager
def mapper(path: Path, kind: str) -> Iterator[Callable[[int], str]]:
    """Map a file in a process of its own, which a SIGBUS may end; yields what looks at an offset."""
    with subprocess.Popen(
        [sys.executable, "-c", MAPPER, str(path), kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        first = process.stdout.readline().strip()

        def look(at: int) -> str:
            if first == "refused":
                return first
            assert process.stdin is not None
            assert process.stdout is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(f"{at}\n")
                process.stdin.flush()
            return process.stdout.readline().strip() or "died"

        try:
            yield look
        finally:
            process.kill()


def test_a_file_that_is_mapped_is_never_two_versions(
    service: DemoServer, mount: Callable[..., MountedFolder]
) -> None:
    """Who has the old one mapped sees that or dies of it; who opens the new one sees that or is refused."""
    service.add_recording("rec_m", size=1)
    service.replace_content("rec_m", b"o" * 6 * MEBIBYTE)
    folder = mount()
    path = folder.recordings / "rec_m.mp3"
    with mapper(path, "MAP_SHARED") as old:
        assert old(0) == "old"
        service.replace_content("rec_m", b"n" * (6 * MEBIBYTE + 1))
        # Somebody notices, reading what nobody has read yet.
        descriptor = os.open(path, os.O_RDONLY)
        with pytest.raises(OSError) as caught:  # noqa: PT011
            os.pread(descriptor, 10, 5 * MEBIBYTE)
        assert caught.value.errno == errno.ESTALE
        assert path.read_bytes() == b"n" * (6 * MEBIBYTE + 1)
        with mapper(path, "MAP_SHARED") as new:
            assert new(0) in ("new", "refused")
            assert new(4 * MEBIBYTE) in ("new", "refused")
            assert old(0) == "old"
            assert os.pread(descriptor, 10, 0) == b"o" * 10
            assert old(4 * MEBIBYTE) in ("old", "died")
        os.close(descriptor)
    with mapper(path, "MAP_SHARED") as new:
        assert [new(at) for at in (0, 3 * MEBIBYTE, 6 * MEBIBYTE)] == ["new"] * 3
    assert service.requests.count("api") <= 2
