"""A real mount of services that keep to the protocol in other ways than ours, or not quite.

Each recording's id names the habit that its storage has; one mount serves them all.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import json
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from conftest import MountedFolder, mounted, wait_until
from scripted import Asked, Scripted, ranged, reply, scripted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SIZE = 700_000
MEBIBYTE = 1024 * 1024
#: What becomes 128 MiB when it is unpacked: a gzip file may have many members.
BOMB = gzip.compress(b" " * MEBIBYTE) * 128


def content(name: str) -> bytes:
    """Return a recording's bytes."""
    return random.Random(name).randbytes(SIZE)


def part(asked: Asked, whole: bytes, most: int = SIZE) -> tuple[bytes, str]:
    """Return the bytes of a range, `most` at the most, and the header that names them."""
    start, stop = asked.span
    stop = min(stop or SIZE, SIZE, start + most)
    return whole[start:stop], f"bytes {start}-{stop - 1}/{SIZE}"


def chunked(asked: Asked, whole: bytes) -> bytes:
    """Answer in chunks of odd sizes, with an extension and a trailer."""
    body, span = part(asked, whole)
    pieces = [body[at : at + 9_999] for at in range(0, len(body), 9_999)]
    wire = b"".join(b"%x;x=y\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return reply(
        206,
        wire + b"0\r\nX-Checksum: 1\r\n\r\n",
        Content_Length="",
        Transfer_Encoding="Chunked",
        Content_Range=span,
    )


def short(asked: Asked, whole: bytes) -> bytes:
    """Answer with 50,000 bytes whatever is asked."""
    body, span = part(asked, whole, 50_000)
    return reply(206, body, Content_Range=span)


def lower(asked: Asked, whole: bytes) -> bytes:
    """Answer with the names of headers in small letters, as proxies do."""
    head, _, body = ranged(asked, whole, ETag='"v"').partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    lines = [name.lower() + b":" + value for name, _, value in (line.partition(b":") for line in lines)]
    return b"\r\n".join([status, *lines, b"", b""]) + body


def fickle(asked: Asked, whole: bytes) -> bytes:
    """Answer with an ETag now and then."""
    start, _ = asked.span
    return ranged(asked, whole, **({"ETag": '"v"'} if start == 0 else {}))


#: Habits under which a file must be read exactly.
FINE: dict[str, Callable[[Asked, bytes], bytes]] = {
    "plain": ranged,
    "http10": lambda asked, whole: ranged(asked, whole, Connection="close").replace(
        b"HTTP/1.1", b"HTTP/1.0", 1
    ),
    "closing": lambda asked, whole: ranged(asked, whole, Connection="close"),
    "undeclared": lambda asked, whole: ranged(asked, whole, Content_Length="", Connection="close"),
    "chunked": chunked,
    "short": short,
    "lower": lower,
    "fickle": fickle,
    "weak": lambda asked, whole: ranged(asked, whole, ETag='W/"v"'),
    "continue": lambda asked, whole: b"HTTP/1.1 100 Continue\r\n\r\n" + ranged(asked, whole),
    "spaces": lambda asked, whole: ranged(asked, whole).replace(b"Range: bytes ", b"Range:   Bytes  ", 1),
    "twice": lambda asked, whole: ranged(asked, whole).replace(
        b"Content-Range", b"X-A: b\r\nX-A: c\r\nContent-Range", 1
    ),
    "identity": lambda asked, whole: ranged(asked, whole, Content_Encoding="identity"),
    "whole": lambda _, whole: reply(200, whole),
    "html206": lambda asked, whole: ranged(asked, whole, Content_Type="text/html"),
}
#: Habits that make a file unreadable, and what the reader is told.
BAD: dict[str, tuple[Callable[[Asked, bytes], bytes], int]] = {
    "portal": (lambda *_: reply(200, b"<html>Sign in</html>", Content_Type="text/html"), errno.EIO),
    "othersize": (lambda _, whole: reply(200, whole + b"more"), errno.EIO),
    "huge403": (lambda *_: reply(403, b"<x/>" * 4_000_000, Content_Type="application/xml"), errno.EACCES),
    "huge500": (lambda *_: reply(500, b"x" * 16_000_000), errno.EIO),
    "undeclared500": (
        lambda *_: reply(500, b"x" * 16_000_000, Content_Length="", Connection="close"), errno.EIO,
    ),
    "bomb": (
        lambda asked, _: reply(
            206, BOMB, Content_Encoding="gzip", Content_Range=f"bytes 0-{SIZE - 1}/{SIZE}"
        ),
        errno.EIO,
    ),
    "xgzip": (lambda asked, whole: ranged(asked, whole, Content_Encoding="X-GZIP"), errno.EIO),
    "brotli": (lambda asked, whole: ranged(asked, whole, Content_Encoding="br"), errno.EIO),
    "garbage": (lambda *_: b"\x00\xff" * 5000 + b"\r\n\r\n", errno.EIO),
    "nocontent": (lambda *_: reply(204), errno.EIO),
}  # fmt: skip


@dataclass
class Lookalike:
    """A mounted service of habits."""

    folder: MountedFolder
    api: Scripted
    storage: Scripted

    def path(self, name: str) -> Path:
        """Return the file of a recording."""
        return self.folder.recordings / f"rec_{name}.mp3"

    def asked(self, server: Scripted, name: str) -> int:
        """Return how many requests a server got for a recording."""
        return sum(f"/rec_{name}" in target for target in server.paths())

    def memory(self) -> int:
        """Return the bytes of memory the daemon uses."""
        status = (self.folder.process_directory / "status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def answer_of_api(asked: Asked, storage: Scripted) -> bytes:
    """Answer with metadata, signed URL included."""
    name = (
        asked.path.rpartition("/")[2] if not asked.path.endswith("/download") else asked.path.split("/")[-2]
    )
    location = f"{storage.origin}/{name}.mp3?signature={random.random()}"
    if asked.path.endswith("/download"):
        return reply(302, Location=location)
    facts = {"id": name, "object": "recording", "status": "ready", "format": "mp3", "size": SIZE}
    body = json.dumps(facts | {"created_at": "2026-03-01T00:00:00Z", "download_url": location}).encode()
    if name == "rec_gzipjson":
        return reply(200, gzip.compress(body), Content_Encoding="gzip")
    if name == "rec_bombjson":
        return reply(200, BOMB, Content_Encoding="gzip")
    return reply(200, body)


@pytest.fixture(scope="module")
def lookalike(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lookalike]:
    """One mount for all habits."""
    directory = tmp_path_factory.mktemp("lookalike")
    habits = FINE | {name: habit for name, (habit, _) in BAD.items()}
    with scripted() as api, scripted() as storage, contextlib.ExitStack() as stack:
        api.answer = lambda asked: answer_of_api(asked, storage)

        def answer(asked: Asked) -> bytes:
            name = asked.path.removeprefix("/rec_").removesuffix(".mp3")
            return habits[name](asked, content(name))

        storage.answer = answer
        service = type("Service", (), {"api_url": f"{api.origin}/v1", "api_key": "sk_test_x"})
        options: dict[str, object] = {"timeout": "3s", "memory_cache": "64M"}
        folder = stack.enter_context(
            mounted(service, directory / "mnt", directory / "state", "sk_test_x", options)  # type: ignore[arg-type]
        )
        yield Lookalike(folder, api, storage)


@pytest.mark.parametrize("name", FINE)
def test_another_way_to_answer_a_range_is_read_exactly(name: str, lookalike: Lookalike) -> None:
    """One API request, and every byte, both times."""
    for _ in range(2):
        assert lookalike.path(name).read_bytes() == content(name)
    assert lookalike.asked(lookalike.api, name) == 1
    assert lookalike.asked(lookalike.storage, name) >= 1


@pytest.mark.parametrize("name", BAD)
def test_an_answer_that_is_no_range_is_an_errno_in_time(name: str, lookalike: Lookalike) -> None:
    """Not one byte of it is shown, and its size costs no memory."""
    assert lookalike.path("plain").read_bytes() == content("plain")
    before = lookalike.memory()
    began = time.monotonic()
    with pytest.raises(OSError) as caught:  # noqa: PT011
        lookalike.path(name).read_bytes()
    assert caught.value.errno == BAD[name][1]
    assert time.monotonic() - began <= 4
    assert lookalike.memory() - before < 32 * MEBIBYTE
    assert lookalike.asked(lookalike.storage, name) >= 1
    assert lookalike.asked(lookalike.api, name) <= 2


@pytest.mark.parametrize("name", ["gzipjson", "bombjson"])
def test_json_that_is_compressed_unasked_is_refused_and_not_unpacked(name: str, lookalike: Lookalike) -> None:
    """128 MiB of blanks fit into 128 KB."""
    before = lookalike.memory()
    with pytest.raises(OSError) as caught:  # noqa: PT011
        lookalike.path(name).read_bytes()
    assert caught.value.errno == errno.EIO
    assert lookalike.memory() - before < 32 * MEBIBYTE
    assert lookalike.asked(lookalike.api, name) == 1
    assert {each.headers["accept-encoding"] for each in lookalike.api.asked + lookalike.storage.asked} == {
        "identity"
    }


def test_surplus_bytes_are_not_the_next_answer(lookalike: Lookalike) -> None:
    """What a sender adds to one answer, be it a whole answer of its own, is never taken for another's."""
    forged = ranged(Asked("GET", "/", {"range": "bytes=0-"}), bytes(SIZE))
    answer = lookalike.storage.answer

    def surplus(asked: Asked) -> bytes | None:
        name = asked.path.removeprefix("/rec_").removesuffix(".mp3")
        return ranged(asked, content(name)) + forged

    lookalike.storage.answer = surplus
    try:
        for index in range(20):
            name = f"surplus{index}"
            assert lookalike.path(name).read_bytes() == content(name)
    finally:
        lookalike.storage.answer = answer
    assert lookalike.path("plain").read_bytes() == content("plain")


def test_connections_are_given_back(lookalike: Lookalike) -> None:
    """After good answers and bad ones no more are open than one for each that was needed at once."""
    for name in ("plain", "chunked", "short", "closing"):
        lookalike.path(name).read_bytes()

    def sockets() -> int:
        found = 0
        for each in (lookalike.folder.process_directory / "fd").iterdir():
            with contextlib.suppress(OSError):
                found += str(each.readlink()).startswith("socket:")
        return found

    assert wait_until(lambda: sockets() <= 10, 10), sockets()
