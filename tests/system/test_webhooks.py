"""Webhooks on a real mount: what they tell is in `ls` at once, whole, once, and without a request."""

from __future__ import annotations

import errno
import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import environment, mount_command, wait_until
from kallglotfs.demo.webhooks import signature

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import MountedFolder
    from kallglotfs.demo.requestlog import RequestLog
    from kallglotfs.demo.server import DemoServer

SECRET = "whsec_system"
#: Senders at one time.
SENDERS = 16


@pytest.fixture
def port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.fixture
def options(tmp_path: Path, port: int) -> dict[str, object]:
    """The mount options that turn the receiver on."""
    secret_file = tmp_path / "hook"
    secret_file.write_text(f"{SECRET}\n")
    secret_file.chmod(0o600)
    return {"webhook_listen": f"127.0.0.1:{port}", "webhook_secret_file": secret_file}


def listed(folder: MountedFolder) -> list[str]:
    """Return what `ls` shows."""
    command = ["ls", "-U", str(folder.recordings)]
    return sorted(
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.split()
    )


def tell(service: DemoServer, port: int, recording_id: str, kind: str = "recording.ready") -> int:
    """Send a webhook about a recording as it is now."""
    subject = service.recording_object(recording_id)
    return service.send_webhook(f"http://127.0.0.1:{port}/", kind, subject, SECRET)


def test_a_new_recording_is_listed_within_a_second_of_its_webhook(
    mount: Callable[..., MountedFolder],
    service: DemoServer,
    requests_made: RequestLog,
    options: dict[str, object],
    port: int,
) -> None:
    """With its size and time, without an API request; reading it costs the one that any cold file costs."""
    folder = mount(**options)
    assert listed(folder) == []
    row = service.add_recording("rec_new1", 300_000)
    started = time.monotonic()
    assert tell(service, port, "rec_new1") == 200
    assert listed(folder) == ["rec_new1.mp3"]
    assert time.monotonic() - started < 1
    status = (folder.recordings / "rec_new1.mp3").stat()
    assert (status.st_size, status.st_mtime) == (300_000, row.created_at.timestamp())
    assert requests_made.count("api") == 0
    assert (folder.recordings / "rec_new1.mp3").read_bytes() == service.audio("rec_new1")
    assert requests_made.count("api") == 1


def test_a_recording_that_was_not_there_a_moment_ago_opens_at_once(
    mount: Callable[..., MountedFolder],
    service: DemoServer,
    requests_made: RequestLog,
    options: dict[str, object],
    port: int,
) -> None:
    """Unknown or in processing until its webhook; then no memory of that holds, ours or the kernel's."""
    folder = mount(**options)
    unknown, early = (folder.recordings / f"rec_{name}.mp3" for name in ("later", "early"))
    service.add_recording("rec_early", 5000, status="processing")
    with pytest.raises(FileNotFoundError):
        unknown.stat()
    with pytest.raises(OSError, match=os.strerror(errno.EBUSY)):
        early.read_bytes()
    asked = requests_made.count("api")
    service.add_recording("rec_later", 6000)
    service.set_status("rec_early", "ready")
    assert tell(service, port, "rec_later") == tell(service, port, "rec_early") == 200
    assert unknown.read_bytes() == service.audio("rec_later")
    assert early.read_bytes() == service.audio("rec_early")
    assert requests_made.count("api") == asked + 2


def test_a_size_that_is_corrected_counts_at_once(
    mount: Callable[..., MountedFolder],
    service: DemoServer,
    requests_made: RequestLog,
    options: dict[str, object],
    port: int,
) -> None:
    """Although the kernel still takes the old size for true: nothing is cut off there."""
    folder = mount(**options)
    service.add_recording("rec_size1", 300_000)
    file = folder.recordings / "rec_size1.mp3"
    url = f"http://127.0.0.1:{port}/"
    subject = service.recording_object("rec_size1")
    assert service.send_webhook(url, "recording.ready", subject | {"size": 4096}, SECRET) == 200
    assert file.stat().st_size == 4096
    assert service.send_webhook(url, "recording.ready", subject, SECRET) == 200
    assert file.read_bytes() == service.audio("rec_size1")
    assert file.stat().st_size == 300_000
    assert requests_made.count("api") == 1


def test_a_recording_that_failed_is_away(
    mount: Callable[..., MountedFolder],
    service: DemoServer,
    requests_made: RequestLog,
    options: dict[str, object],
    port: int,
) -> None:
    """It is not listed any more, and asking for it costs nothing."""
    folder = mount(**options)
    service.add_recording("rec_bad1", 5000)
    assert tell(service, port, "rec_bad1") == 200
    assert listed(folder) == ["rec_bad1.mp3"]
    # Later by the second that times are told in.
    subject = service.recording_object("rec_bad1")
    moment = int(time.time()) + 1
    url = f"http://127.0.0.1:{port}/"
    assert service.send_webhook(url, "recording.failed", subject, SECRET, timestamp=moment) == 200
    assert listed(folder) == []
    assert wait_until(lambda: not (folder.recordings / "rec_bad1.mp3").exists(), 8)
    assert requests_made.count("api") == 0


def test_a_mount_in_the_background_receives_and_frees_the_port(
    service: DemoServer, tmp_path: Path, options: dict[str, object], port: int
) -> None:
    """Its threads start after the fork; a second mount on the same port is one clear line, and no mount."""
    folders = [tmp_path / "one", tmp_path / "two"]
    given: dict[str, object] = {
        "api_url": service.api_url,
        "state_dir": tmp_path / "state",
        "log_file": tmp_path / "log",
    }

    def mounting(folder: Path) -> subprocess.CompletedProcess[str]:
        folder.mkdir(exist_ok=True)
        return subprocess.run(
            mount_command(folder, given | options),
            env=environment(service.api_key),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    try:
        first = mounting(folders[0])
        assert (first.returncode, first.stderr) == (0, "")
        service.add_recording("rec_back1", 5000)
        assert tell(service, port, "rec_back1") == 200
        second = mounting(folders[1])
        line = (
            f"mount.kallglotfs: webhook_listen: cannot listen on 127.0.0.1:{port}: Address already in use\n"
        )
        assert (second.returncode, second.stderr) == (32, line)
        assert not os.path.ismount(folders[1])
        subprocess.run(["umount", str(folders[0])], check=True, timeout=10)
        assert wait_until(lambda: not answers(port), 10)
        assert mounting(folders[1]).returncode == 0
        assert os.listdir(folders[1] / "recordings") == ["rec_back1.mp3"]
    finally:
        for folder in folders:
            subprocess.run(["fusermount3", "-uz", str(folder)], check=False, capture_output=True, timeout=10)
    assert wait_until(lambda: not answers(port), 10)


def answers(port: int) -> bool:
    """Tell whether somebody listens on a port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("secret", "mode", "reason"),
    [
        (None, 0o600, "webhook_listen needs the signing secret"),
        ("", 0o600, "is empty"),
        ("hunter2", 0o644, "others may read it"),
    ],
)
def test_a_receiver_without_a_usable_secret_is_refused(
    secret: str | None, mode: int, reason: str, service: DemoServer, tmp_path: Path, port: int
) -> None:
    """One clear line, before anything is mounted, also when only checking."""
    given: dict[str, object] = {
        "api_url": service.api_url,
        "state_dir": tmp_path / "state",
        "webhook_listen": f"127.0.0.1:{port}",
    }
    if secret is not None:
        (tmp_path / "hook").write_text(secret)
        (tmp_path / "hook").chmod(mode)
        given["webhook_secret_file"] = tmp_path / "hook"
    (tmp_path / "mnt").mkdir()
    done = subprocess.run(
        mount_command(tmp_path / "mnt", given, "-f"),
        env=environment(service.api_key),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1
    assert "hunter2" not in done.stderr


@dataclass(frozen=True)
class Delivery:
    """One webhook as its sender keeps it until it is answered."""

    kind: str
    body: bytes
    header: str
    expected: int


def deliveries(count: int) -> list[Delivery]:
    """Return so many webhooks, a tenth of them bad, in an order that mixes them."""
    moment = int(time.time())
    good = []
    for number in range(count - count // 10):
        subject = {"id": f"rec_{number:05}", "session_id": f"sess_{number // 3}", "size": 1000 + number}
        event = {"id": f"evt_{number}", "type": "recording.ready", "created_at": moment, "data": subject}
        body = json.dumps(event).encode()
        good.append(Delivery("good", body, signature(SECRET, moment, body), 200))
    bad = []
    for number in range(count // 10):
        body = json.dumps(
            {"id": f"evt_bad{number}", "type": "recording.ready", "data": {"id": f"rec_bad{number}"}}
        ).encode()
        malformed = body[:-5]
        bad.append(
            [
                Delivery("forged", body, signature("another", moment, body), 401),
                Delivery("stale", body, signature(SECRET, moment - 3600, body), 401),
                Delivery("malformed", malformed, signature(SECRET, moment, malformed), 400),
                # What was delivered already, byte by byte: known, so answered well and not applied again.
                Delivery("replayed", good[number].body, good[number].header, 200),
            ][number % 4]
        )
    mixed = []
    for number, each in enumerate(bad):
        mixed += [*good[number * 9 : number * 9 + 9], each]
    return mixed


class Sender:
    """Delivers as the service does: many at one time, each again until it is answered.

    Args:
        port: where to.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._local = threading.local()
        self._connections: list[http.client.HTTPConnection] = []
        self.answered = 0
        self.resent = 0

    def deliver(self, delivery: Delivery) -> tuple[str, int]:
        """Return the kind and the answer."""
        headers = {"Kallglot-Signature": delivery.header, "Content-Type": "application/json"}
        ends = time.monotonic() + 60
        while time.monotonic() < ends:
            try:
                connection = self._connection()
                connection.request("POST", "/hooks", delivery.body, headers)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                self._local.connection.close()
                self.resent += 1
                time.sleep(0.05)  # a sender's pause, not a wait for anything
                continue
            self.answered += 1
            return delivery.kind, answer.status
        raise AssertionError("no answer in a minute")

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if not hasattr(self._local, "connection"):
            self._local.connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
            self._connections.append(self._local.connection)
        return self._local.connection  # type: ignore[no-any-return]


def resident(folder: MountedFolder) -> int:
    """Return the daemon's memory in bytes."""
    text = Path(f"/proc/{folder.process.pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) * 1024


def stored(log: str) -> tuple[int, int]:
    """Return how many events a daemon stored and how many it knew already, as it says at its end."""
    line = next(line for line in log.splitlines() if "webhooks: " in line and " received: " in line)
    words = line.partition(" received: ")[2].split()
    return int(words[0]), int(words[2])


@pytest.mark.parametrize("ending", ["unmounted", "killed"])
def test_five_thousand_webhooks_across_a_restart(
    ending: str,
    mount: Callable[..., MountedFolder],
    requests_made: RequestLog,
    options: dict[str, object],
    port: int,
) -> None:
    """A tenth is forged, replayed, stale or malformed: all the good are known once, memory is flat."""
    # Where the daemon is killed, fewer are enough: what counts is that nothing answered is lost.
    count = 5000 if ending == "unmounted" else 1000
    sender = Sender(port)
    first = mount(**options)
    given = deliveries(count)
    assert len(given) == count
    with closing(sender), ThreadPoolExecutor(SENDERS) as pool:
        futures = [pool.submit(sender.deliver, each) for each in given]
        assert wait_until(lambda: sender.answered > count // 3, 30)
        if ending == "unmounted":
            assert first.unmount() == 0
        else:
            first.process.send_signal(signal.SIGKILL)
            first.process.wait(10)
            subprocess.run(["fusermount3", "-uz", str(first.path)], check=True, timeout=10)
        assert not answers(port)
        at = sender.answered
        assert at < count - 100, "too late to interrupt anything"
        second = mount(**options)
        assert wait_until(lambda: sender.answered > at + count // 10, 30)
        before = resident(second)
        results = Counter(future.result(120) for future in futures)
        growth = resident(second) - before
    assert sender.resent > 0
    tenth = count // 10
    assert results == {
        ("good", 200): count - tenth,
        ("forged", 401): tenth // 4,
        ("stale", 401): tenth // 4,
        ("malformed", 400): tenth // 4,
        ("replayed", 200): tenth // 4,
    }
    names = [f"rec_{number:05}.mp3" for number in range(count - tenth)]
    assert listed(second) == names
    (state,) = second.state_dir.glob("*.sqlite")
    with closing(sqlite3.connect(f"file:{state}?mode=ro", uri=True)) as catalog:
        assert catalog.execute("SELECT count(*), count(DISTINCT subject) FROM events").fetchone() == (
            count - tenth,
            count - tenth,
        )
        assert catalog.execute("SELECT sum(size) FROM recordings").fetchone()[0] == sum(
            1000 + number for number in range(count - tenth)
        )
    assert growth < 2 * 1024 * 1024, f"{growth} bytes more"
    assert requests_made.count("api") == 0
    second.unmount()
    if ending == "unmounted":
        counts = [stored(folder.log) for folder in (first, second)]
        assert sum(new for new, _ in counts) == count - tenth
        assert tenth // 4 <= sum(known for _, known in counts) <= tenth // 4 + sender.resent
    for folder in (first, second):
        assert "Traceback" not in folder.log
        assert SECRET not in folder.log
