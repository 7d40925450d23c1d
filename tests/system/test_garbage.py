"""A service that answers garbage under a real mount: an errno, bounded memory, and other files right."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from conftest import MountedFolder, mounted
from scripted import Asked, ranged, reply, scripted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CORPUS = sorted((Path(__file__).parent.parent / "remote" / "corpus").iterdir())
CONTENT = bytes(range(256)) * 2000
ALLOWED = {0, errno.ENOENT, errno.EACCES, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.EBUSY, errno.EIO}
LARGE = 10_000_000


class Garbage:
    """A service that is right about `rec_good`, and answers the rest as told."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {}
        self.served: dict[str, int] = {}
        self.origin = ""

    def answer(self, asked: Asked) -> bytes:
        if asked.path.startswith("/audio/"):
            return ranged(asked, CONTENT)
        name = asked.path.split("/")[3]
        if name in self.answers:
            self.served[name] = self.served.get(name, 0) + 1
            return self.answers[name]
        if name.startswith("rec_good"):
            url = f"{self.origin}/audio/{name}?signature=00"
            details = {"id": name, "status": "ready", "size": len(CONTENT), "download_url": url}
            return reply(200, json.dumps(details).encode())
        return reply(404, b'{"error":{"code":"not_found"}}')


@pytest.fixture
def garbage(tmp_path: Path) -> Iterator[tuple[Garbage, MountedFolder]]:
    """The service, and a mount of it."""
    with scripted() as server:
        service = Garbage()
        service.origin, server.answer = server.origin, service.answer
        where = SimpleNamespace(api_url=f"{server.origin}/v1", api_key="sk_test_x")
        options: dict[str, object] = {"timeout": "2s", "throttle_timeout": "2s", "memory_cache": "16M"}
        with mounted(where, tmp_path / "mnt", tmp_path / "state", None, options) as folder:  # type: ignore[arg-type]
            yield service, folder


def outcome(path: Path) -> int:
    """Return the errno of reading a file, 0 where it is right."""
    try:
        path.stat()
        content = path.read_bytes()
    except OSError as error:
        return error.errno or -1
    assert content in (b"", CONTENT), path.name
    return 0


def memory(folder: MountedFolder, which: str) -> int:
    """Return how many bytes of memory the daemon has, or has had at most."""
    status = Path(f"/proc/{folder.process.pid}/status").read_text()
    found = re.search(rf"{which}:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


@pytest.mark.parametrize("status", [200, 404])
def test_garbage_at_every_route_is_an_errno(status: int, garbage: tuple[Garbage, MountedFolder]) -> None:
    """The corpus, one recording for each file of it; the good one is read all the while."""
    service, folder = garbage
    names = [f"rec_x{index}" for index in range(len(CORPUS))]
    for name, path in zip(names, CORPUS, strict=True):
        service.answers[name] = reply(status, path.read_bytes(), Content_Type="application/json")
    assert outcome(folder.recordings / "rec_good.mp3") == 0
    with ThreadPoolExecutor(16) as pool:
        ends = list(pool.map(lambda name: outcome(folder.recordings / f"{name}.mp3"), names))
        assert outcome(folder.recordings / "rec_good2.mp3") == 0
    assert set(ends) <= ALLOWED
    assert set(service.served) == set(names)
    if status == 404:
        assert set(ends) == {errno.ENOENT}
    listed = os.listdir(folder.recordings)
    assert all(re.fullmatch(r"rec_[a-z0-9]+\.[a-z0-9]{2,8}", name) for name in listed)
    shown = 0
    for name in listed:
        with contextlib.suppress(OSError):  # its size cannot be found out
            for attribute in os.listxattr(folder.recordings / name):
                shown += os.getxattr(folder.recordings / name, attribute).decode("ascii").isprintable()
    assert shown >= 4
    assert folder.process.poll() is None
    assert "unexpected" not in folder.log
    assert folder.unmount() == 0
    passed = re.search(r"passed over in the service's answers: (.*)", folder.log)
    assert passed is not None
    assert (passed[1] != "nothing") == (status == 200)


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        (lambda: reply(200, b'{"id":"' + b"x" * LARGE + b'"}'), errno.EIO),
        (lambda: reply(200, b"[" * LARGE), errno.EIO),
        (lambda: reply(403, b'{"error":{"code":"' + b"x" * LARGE + b'"}}'), errno.EACCES),
        (lambda: reply(404, b"<" * LARGE), errno.ENOENT),
        (lambda: reply(500, b"x" * LARGE), errno.EIO),
    ],
    ids=["long", "deep", "403", "404", "500"],
)
def test_ten_megabytes_of_it_for_sixteen_readers_take_no_memory(
    answer: Callable[[], bytes], number: int, garbage: tuple[Garbage, MountedFolder]
) -> None:
    """The daemon's peak grows by less than a quarter of one such body for each of them."""
    service, folder = garbage
    assert outcome(folder.recordings / "rec_good.mp3") == 0
    body = answer()
    names = [f"rec_x{index}" for index in range(16)]
    service.answers = dict.fromkeys(names, body)
    before = memory(folder, "VmRSS")
    barrier = threading.Barrier(len(names))

    def read(name: str) -> int:
        barrier.wait(30)
        return outcome(folder.recordings / f"{name}.mp3")

    with ThreadPoolExecutor(len(names)) as pool:
        assert set(pool.map(read, names)) == {number}
    assert set(service.served) == set(names)
    assert memory(folder, "VmHWM") - before < len(names) * LARGE / 4
    assert outcome(folder.recordings / "rec_good2.mp3") == 0
