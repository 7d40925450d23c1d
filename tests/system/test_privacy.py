"""Keys and signed URLs, searched for wherever the program could have put them, through faults of any kind."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from canaries import leaks
from conftest import MountedFolder, mounted, wait_until
from scripted import Asked, Scripted, ranged, reply, scripted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: None of them looks like a key or a signature: what hides them must know that they are.
KEY, NEXT_KEY = "CANARYkeyA+/~7f3a9c", "CANARYkeyB+/~b81e55"
SIGNATURE, IN_PATH, PASSWORD = "CANARYsig0a1b2c3d", "CANARYpath4d5e6f", "CANARYpw778899aa"
CANARIES = (KEY, NEXT_KEY, SIGNATURE, IN_PATH, PASSWORD)
CONTENT = bytes(range(256)) * 4096
DETAILS = {"status": "ready", "format": "mp3", "size": len(CONTENT), "created_at": "2026-01-02T03:04:05Z"}


class Service:
    """A service that misbehaves as told, with a canary in every URL it hands out."""

    def __init__(self, script: Scripted) -> None:
        self.script = script
        self.keys = {KEY}
        #: By recording: what happens instead.
        self.api_faults: dict[str, Callable[[Asked], bytes | None]] = {}
        self.storage_faults: dict[str, Callable[[Asked], bytes | None]] = {}
        script.answer = self.answer

    def url(self, name: str, origin: str = "") -> str:
        return f"{origin or self.script.origin}/audio/{IN_PATH}/{name}?x={SIGNATURE}&expires=4102444800"

    def answer(self, asked: Asked) -> bytes | None:
        if asked.path.startswith("/audio/"):
            name = asked.path.rpartition("/")[2]
            return self.storage_faults.get(name, lambda each: ranged(each, CONTENT))(asked)
        if asked.headers.get("authorization", "").removeprefix("Bearer ") not in self.keys:
            return reply(401, b'{"error":{"code":"invalid_api_key"}}')
        name = asked.path.split("/")[3]
        if name in self.api_faults:
            return self.api_faults[name](asked)
        if name.startswith("rec_0000"):
            return reply(404, b'{"error":{"code":"not_found"}}')
        if asked.path.endswith("/download"):
            return reply(302, Location=self.url(name))
        return reply(200, json.dumps(DETAILS | {"id": name, "download_url": self.url(name)}).encode())


def quoting(status: int, retry_after: str = "") -> Callable[[Asked], bytes]:
    """Return an answer that repeats all it was told, and more, in body and headers."""

    def answer(asked: Asked) -> bytes:
        words = f"{asked.headers.get('authorization', '')} {asked.target} {SIGNATURE}"
        body = json.dumps({"error": {"code": words, "message": words, "request_id": words}})
        return reply(status, body.encode(), X_Request_ID=words, Retry_After=retry_after)

    return answer


def leading(location: str) -> Callable[[Asked], bytes]:
    """Return an answer that leads elsewhere: by metadata, `/download` and storage alike."""

    def answer(asked: Asked) -> bytes:
        if asked.path.startswith("/audio/") or asked.path.endswith("/download"):
            return reply(302, Location=location)
        return reply(200, json.dumps(DETAILS | {"download_url": location}).encode())

    return answer


@pytest.fixture
def world() -> Iterator[Service]:
    """The service, up for one test."""
    with scripted() as script:
        yield Service(script)


def faults(world: Service) -> list[str]:
    """Set up one recording for each fault; return their ids."""
    origin = world.script.origin
    secure = origin.replace("http:", "https:")
    tail = f"/audio/{IN_PATH}/x?x={SIGNATURE}"
    world.api_faults = {
        "rec_500": quoting(500),
        "rec_402": quoting(402),
        "rec_403": quoting(403),
        "rec_404": quoting(404),
        "rec_410": quoting(410),
        "rec_html": lambda asked: reply(200, f"<html>{asked.headers} {SIGNATURE}".encode()),
        "rec_cut": lambda _: reply(200, f'{{"download_url":"{world.url("x")}'.encode(), Connection="close"),
        "rec_reset": lambda _: None,
        "rec_noturl": leading(f"http://[{SIGNATURE}/x"),
        "rec_port": leading(f"http://127.0.0.1:99999999{tail}"),
        "rec_file": leading(f"file:///etc/{SIGNATURE}"),
        "rec_dns": leading(f"http://no-such-host.invalid{tail}"),
        "rec_tls": leading(secure + tail),
        "rec_closed": leading(f"http://127.0.0.1:1{tail}"),
        "rec_user": leading(f"http://user:{PASSWORD}@{origin.removeprefix('http://')}{tail}"),
        "rec_latin": leading(f"{origin}/audio/\u00e9{IN_PATH}/x?x={SIGNATURE}"),
    }
    world.storage_faults = {
        "rec_s403": quoting(403),
        "rec_s404": quoting(404),
        "rec_s500": quoting(500),
        "rec_sreset": lambda _: None,
        "rec_sredirect": leading(f"{origin}/audio/{IN_PATH}/rec_sredirect?x={SIGNATURE}&loop"),
        "rec_sfile": leading(f"file:///etc/{SIGNATURE}"),
        "rec_srange": lambda asked: ranged(asked, CONTENT).replace(b"bytes 0-", b"bytes 7-"),
        "rec_sgzip": lambda asked: ranged(asked, CONTENT, Content_Encoding=f"gzip {SIGNATURE}"),
        "rec_sgarbage": lambda _: f"{SIGNATURE} is no HTTP\r\n\r\n".encode(),
        "rec_setag": lambda asked: ranged(asked, CONTENT, ETag='"fine"'),
    }
    return [*world.api_faults, *world.storage_faults]


def attempt(path: Path) -> int:
    """Do all that a program does with a file; return the errno it ended with, 0 for none."""
    try:
        path.stat()
        for name in os.listxattr(path):
            assert not leaks(os.getxattr(path, name), CANARIES)
        assert path.read_bytes() == CONTENT
    except OSError as error:
        return error.errno or -1
    return 0


def shown_by_kernel(folder: MountedFolder) -> bytes:
    """Return what anybody can read about the daemon and its mount."""
    process = Path("/proc") / str(folder.process.pid)
    parts = [process / name for name in ("cmdline", "environ", "comm", "status", "mountinfo", "maps")]
    parts += [task / "comm" for task in (process / "task").iterdir()]
    found = b""
    for part in parts:
        with contextlib.suppress(OSError):
            found += part.read_bytes()
    assert b"mount_helper" in found
    return found


def kept_on_disk(*folders: Path) -> bytes:
    """Return the names and contents of everything in folders."""
    found = b""
    for folder in folders:
        for path in folder.rglob("*"):
            found += os.fsencode(path)
            if path.is_file():
                found += path.read_bytes()
    return found


@contextlib.contextmanager
def mount_of(world: Service, tmp_path: Path, api_key: str, **options: object) -> Iterator[MountedFolder]:
    """Mount the service, at debug level as all tests do."""
    where = SimpleNamespace(api_url=f"{world.script.origin}/v1", api_key=api_key)
    given = {"cache_dir": tmp_path / "cache", "disk_cache": "50M", "timeout": "2s", "throttle_timeout": "2s"}
    with mounted(where, tmp_path / "mnt", tmp_path / "state", api_key, given | options) as folder:  # type: ignore[arg-type]
        yield folder


def test_no_secret_is_to_be_found_anywhere_whatever_goes_wrong(world: Service, tmp_path: Path) -> None:
    """Faults of any kind, a rotated key, an end in the middle: log, output, /proc, catalog and cache."""
    key_file = tmp_path / "key"
    key_file.write_text(KEY)
    key_file.chmod(0o600)
    names = faults(world)
    with mount_of(world, tmp_path, "CANARYenv0099887766", api_key_file=key_file) as folder:
        assert attempt(folder.recordings / "rec_good.mp3") == 0
        ends: dict[str, int] = {}

        def run(name: str) -> None:
            ends[name] = attempt(folder.recordings / f"{name}.mp3")

        threads = [threading.Thread(target=run, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert set(ends) == set(names)
        # Each fault was one, but for those that the program rightly passes over.
        harmless = {"rec_setag"}
        for word in ("cannot connect", "cannot be resolved", "TLS", "not a usable URL"):
            assert word in folder.log
        wrong = {name for name, number in ends.items() if (number == 0) != (name in harmless)}
        assert wrong <= {"rec_user", "rec_latin"}, ends
        world.api_faults["rec_429"] = quoting(429, "1")
        assert attempt(folder.recordings / "rec_429.mp3") == errno.ETIMEDOUT
        # The key is rotated: refused with the old one, read again, and used.
        world.keys = {NEXT_KEY}
        # The 429s hold for everybody, and for longer than this mount waits.
        assert wait_until(lambda: attempt(folder.recordings / "rec_rotated1.mp3") == errno.EACCES, 40)
        key_file.write_text(NEXT_KEY)
        assert wait_until(lambda: attempt(folder.recordings / "rec_rotated2.mp3") == 0, 40)
        proc = shown_by_kernel(folder)
        # It ends while somebody reads.
        world.storage_faults["rec_slow"] = lambda asked: time.sleep(1) or ranged(asked, CONTENT)
        reader = threading.Thread(target=run, args=("rec_slow",))
        reader.start()
        assert wait_until(lambda: any("rec_slow?" in each for each in world.script.paths()))
        folder.process.send_signal(signal.SIGTERM)
        reader.join(20)
        assert folder.process.wait(timeout=20) == 0
        output = folder.process.stdout.read() + folder.process.stderr.read()  # type: ignore[union-attr]
    log = folder.log
    assert log.count(" DEBUG ") > len(names)
    assert log.count("WARNING") >= 10
    # What is looked for was there to be found: it went over the wire.
    sent = "".join(f"{each.target} {each.headers}" for each in world.script.asked)
    assert all(canary in sent for canary in (KEY, NEXT_KEY, SIGNATURE, IN_PATH))
    for place, content in {
        "log": log.encode(),
        "output": output.encode(),
        "proc": proc,
        "disk": kept_on_disk(tmp_path / "state", tmp_path / "cache"),
    }.items():
        assert content or place == "output"
        assert leaks(content, [*CANARIES, "CANARYenv0099887766"]) == [], place
    # Nobody but the API was given the key.
    storage = [each for each in world.script.asked if each.path.startswith("/audio/")]
    assert storage
    assert not leaks(str([each.headers for each in storage]).encode(), [KEY, NEXT_KEY])


def test_a_failure_that_nobody_foresaw_tells_no_secret(world: Service, tmp_path: Path) -> None:
    """A bug of ours, or of a library's, with a signed URL and the key at hand: a traceback without them."""
    # In the daemon itself: what `requests` gives back is broken just behind the request.
    (tmp_path / "sitecustomize.py").write_text(
        "import requests.adapters\n"
        "send = requests.adapters.HTTPAdapter.send\n"
        "def broken(self, request, **options):\n"
        "    if 'rec_bug' in request.url:\n"
        "        url, headers = request.url, request.headers\n"
        "        raise RuntimeError('unexpected')\n"
        "    return send(self, request, **options)\n"
        "requests.adapters.HTTPAdapter.send = broken\n"
    )
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(tmp_path), before] if before else [str(tmp_path)])
    try:
        with mount_of(world, tmp_path, KEY) as folder:
            assert attempt(folder.recordings / "rec_good.mp3") == 0
            assert attempt(folder.recordings / "rec_bug.mp3") == errno.EIO
            assert attempt(folder.recordings / "rec_fine.mp3") == 0
    finally:
        os.environ["PYTHONPATH"] = before
    assert "RuntimeError" in folder.log
    assert leaks(folder.log.encode(), CANARIES) == []


@pytest.mark.parametrize("code", ["a\nERROR forged: x", "\x1b[2J", "\u202egnp.exe", "x" * 10_000])
def test_what_the_service_says_forges_no_line(world: Service, tmp_path: Path, code: str) -> None:
    """Error codes, request ids, file names and hosts are shown, on the one line they belong to."""
    body = json.dumps({"error": {"code": code, "request_id": code}}).encode()
    world.api_faults["rec_evil"] = lambda _: reply(403, body, X_Request_ID=ascii(code)[:100])
    world.api_faults["rec_host"] = leading(f"http://{code[:50]!r}/x?x={SIGNATURE}")
    with mount_of(world, tmp_path, KEY) as folder:
        assert attempt(folder.recordings / "rec_evil.mp3") == errno.EACCES
        assert attempt(folder.recordings / "rec_host.mp3") != 0
        for name in (code[:200], f"rec_-{code[:50]}.mp3", f"rec_1.mp3{code[:50]}"):
            assert attempt(folder.recordings / name) in (errno.ENOENT, errno.ENAMETOOLONG)
    lines = folder.log.split("\n")[:-1]
    assert any("403" in line for line in lines)
    assert all(line.isprintable() and line[:2] == "20" for line in lines)
    assert max(map(len, lines)) < 1000


def test_a_command_that_fails_says_no_secret(world: Service, tmp_path: Path) -> None:
    """`kallglotfs add`: the service quotes the key and a signed URL in what it refuses."""
    world.api_faults["rec_1"] = quoting(403)
    command = [sys.executable, "-m", "kallglotfs.cli.main", "add", "rec_1", "-o"]
    command += [f"api_url={world.script.origin}/v1,state_dir={tmp_path / 'state'}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KALLGLOT")}
    run = subprocess.run(
        command,
        env=environment | {"KALLGLOT_API_KEY": KEY},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 1
    assert b"403" in run.stderr
    assert leaks(run.stdout + run.stderr + kept_on_disk(tmp_path / "state"), CANARIES) == []
