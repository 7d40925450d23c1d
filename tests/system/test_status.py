"""`kallglotfs status` on real mounts: well, dead, hanging, somebody else's."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from conftest import environment, mounted, wait_until
from kallglotfs.cli.main import main
from kallglotfs.control import places
from kallglotfs.demo.knobs import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import MountedFolder
    from kallglotfs.demo.requestlog import RequestLog
    from kallglotfs.demo.server import DemoServer

SIZE = 700_000
KEYS = ["advice", "error", "mount_point", "notices", "pid", "profile", "state", "status", "uid"]
PARTS = {
    "version", "profile", "mount_point", "api", "pid", "started", "uptime", "counts", "spending", "budget",
    "leases", "memory", "disk", "open_files", "known", "sources", "webhooks", "passed_over", "errors",
}  # fmt: skip


class Status:
    """The verb, run in this process: starting one takes longer than all it does."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.code = 0

    def text(self, *arguments: object) -> str:
        self._capsys.readouterr()
        self.code = main(["status", *map(str, arguments)])
        said = self._capsys.readouterr()
        assert said.err == ""
        return said.out

    def json(self, *arguments: object) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.text("--json", *arguments))
        return found


@pytest.fixture
def status(capsys: pytest.CaptureFixture[str]) -> Status:
    return Status(capsys)


def test_everything_is_told_while_files_are_read(
    service: DemoServer,
    mount: Callable[..., MountedFolder],
    requests_made: RequestLog,
    tmp_path: Path,
    status: Status,
) -> None:
    """In JSON with stable keys and in text, by counts that are true, and at no API request."""
    service.knobs.change({"rate_limit": 60})
    service.add_recording("rec_a", size=SIZE)
    folder = mount(disk_cache="64M", cache_dir=tmp_path / "cache")
    file = folder.recordings / "rec_a.mp3"
    assert file.read_bytes() == service.audio("rec_a")
    asked = requests_made.count("api")
    with file.open("rb"):
        [found] = status.json(folder.path)
        text = status.text(folder.path)
    assert sorted(found) == KEYS
    assert (found["state"], found["error"], found["pid"]) == ("ok", None, folder.process.pid)
    state = found["status"]
    assert set(state) == PARTS
    assert state["counts"]["api_requests"] == requests_made.count("api") == 1
    assert state["counts"]["served_bytes"] >= state["counts"]["fetched_bytes"] == SIZE
    assert state["spending"] == {"recordings": 1, "dearest": [{"id": "rec_a", "requests": 1}]}
    assert state["budget"]["limit"] == 60
    assert 50 < state["budget"]["remaining"] < 60
    assert state["leases"] == {"kept": 1, "valid": 1}
    assert state["memory"]["hits"] + state["memory"]["misses"] > 0
    assert state["disk"]["capacity"] == 64 << 20
    assert [(each["pid"], each["files"]) for each in state["open_files"]["by_process"]] == [
        (os.getpid(), ["/recordings/rec_a.mp3"])
    ]
    assert status.code == 0
    assert " of 60 requests left" in text
    assert "1 for rec_a" in text
    assert f"({os.getpid()}): /recordings/rec_a.mp3" in text
    # Only a path may be longer.
    assert all(len(line) <= 80 for line in text.splitlines()[1:])
    assert "\x1b" not in text
    assert requests_made.count("api") == asked


def test_what_went_wrong_comes_with_advice_and_without_secrets(
    service: DemoServer, mount: Callable[..., MountedFolder], status: Status
) -> None:
    """Counted by kind; who reads the mount sees the numbers only."""
    folder = mount(timeout="2s")
    service.knobs.faults = [Fault("api", "status", status=402, times=-1)]
    for name in ("rec_b", "rec_c"):
        assert not os.access(folder.recordings / f"{name}.mp3", os.F_OK)
    [found] = status.json(folder.path)
    [error] = found["status"]["errors"]
    assert error["kind"] == "NotPermitted"
    assert error["count"] >= 2
    assert error["path"] == "/recordings/rec_c.mp3"
    assert "402" in error["message"]
    assert "plan" in error["advice"]
    text = status.text(folder.path)
    assert "-> see the account" in text
    assert service.api_key not in text
    public = json.loads((folder.path / ".kallglotfs" / "status.json").read_text())
    assert public["counts"]["errors_NotPermitted"] == error["count"]
    assert "errors" not in public
    assert set(public["open_files"]) == {"count"}


def test_dead_and_hanging_mounts_are_told_with_their_mend(
    mount: Callable[..., MountedFolder], status: Status
) -> None:
    """In time, beside each other; also a second time, when a dead one's socket has been cleared."""
    hanging, dead = mount(), mount()
    dead.process.kill()
    dead.process.wait()
    left = places.home() / places.name_of(str(dead.path))
    assert left.is_socket()
    hanging.process.send_signal(signal.SIGSTOP)
    try:
        for _ in range(2):
            first, second = status.text("--timeout", "0.5", hanging.path, dead.path).split("\n\n")
            assert status.code == 32
            assert first.startswith(f"{hanging.path}\n  HANGS")
            assert f"kill -9 {hanging.process.pid}" in first
            assert second.startswith(f"{dead.path}\n  DEAD")
            assert f"kallglotfs umount {dead.path}" in second
        assert not left.exists()
    finally:
        hanging.process.send_signal(signal.SIGCONT)
    assert wait_until(lambda: status.json(hanging.path)[0]["state"] == "ok", 20)
    states = {each["mount_point"]: each["state"] for each in status.json()}
    assert (states[str(hanging.path)], states[str(dead.path)]) == ("ok", "dead")


def test_long_and_odd_mount_points_have_sockets(service: DemoServer, tmp_path: Path, status: Status) -> None:
    """A path three times as long as a Unix socket's may be, with a name that could draw on the terminal."""
    parent = tmp_path / ("d" * 150) / ("e" * 150)
    parent.mkdir(parents=True)
    point = parent / "a b\x1b[31m"
    with mounted(service, point, tmp_path / "state", None, {"log_file": tmp_path / "log"}):
        text = status.text(point)
        assert status.code == 0
        assert "\x1b" not in text
        assert status.json(point)[0]["mount_point"] == str(point)


def test_where_nothing_is_mounted_it_says_so(tmp_path: Path, status: Status) -> None:
    """At a place that was named: 32, and how to mount there. All over: 0."""
    assert f"kallglotfs mount {tmp_path}" in status.text(tmp_path)
    assert status.code == 32
    # In a world of its own, where no test beside this one has a mount.
    script = (
        "for point in $(findmnt -rnt fuse.kallglotfs -o TARGET); do umount -l $point; done;"
        'mount -t tmpfs none /run && exec "$@"'
    )
    alone = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", sys.executable, "-m", "kallglotfs", "status"],
        env=environment(None), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if "unshare" in alone.stderr:
        pytest.skip("no mount namespaces here")
    assert alone.stdout.startswith("no mounts; make one with")
    assert alone.returncode == 0


@contextlib.contextmanager
def as_user(number: int) -> Iterator[None]:
    """Be another user for a while."""
    groups = os.getgroups()
    os.setgroups(())
    os.seteuid(number)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setgroups(groups)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_mount_of_root_is_closed_to_others(mount: Callable[..., MountedFolder], status: Status) -> None:
    """They are told so, and neither directory nor socket lets them in."""
    folder = mount()
    home = places.home()
    assert home.stat().st_mode & 0o777 == 0o711
    assert (home / places.name_of(str(folder.path))).stat().st_mode & 0o777 == 0o600
    with as_user(65534):
        text = status.text(folder.path)
    assert text.startswith(f"{folder.path}\n  closed")
    assert status.code == 32


def test_a_mount_comes_up_where_no_socket_can_be_made(service: DemoServer, tmp_path: Path) -> None:
    """A warning in the log, and it serves."""
    point, log = tmp_path / "mnt", tmp_path / "log"
    point.mkdir()
    options = f"api_url={service.api_url},state_dir={tmp_path / 'state'},log_file={log}"
    command = [sys.executable, "-m", "kallglotfs.cli.mount_helper", point, "--foreground", "-o", options]
    inside = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o ro none /run && exec "$@"', "sh", *command]
    with subprocess.Popen(
        inside,
        env=environment(service.api_key),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            if "mounted on" not in process.stdout.readline():
                pytest.skip("no mount namespaces here")
            assert wait_until(lambda: "no control socket" in log.read_text())
        finally:
            process.terminate()
            process.wait(timeout=15)
