"""The service manager's protocol, against a socket of our own."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from kallglotfs.notify import Notifier

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Manager:
    """The receiving end."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.settimeout(5)

    def told(self) -> list[str]:
        return self._socket.recv(4096).decode().split("\n")

    def silent(self) -> bool:
        self._socket.settimeout(0)
        try:
            self._socket.recv(4096)
        except BlockingIOError:
            return True
        return False

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Manager, dict[str, str]]]:
    name = f"kallglotfs-test-{os.getpid()}"
    own, told = (str(tmp_path / "n"),) * 2 if request.param == "path" else (f"\0{name}", f"@{name}")
    manager = Manager(own)
    yield manager, {"NOTIFY_SOCKET": told}
    manager.close()


def test_a_life_is_told(manager: tuple[Manager, dict[str, str]]) -> None:
    """Ready, status, reload, watchdog and stop arrive as sd_notify(3) has them."""
    end, environ = manager
    notifier = Notifier.from_environment(environ)
    assert notifier.listening
    notifier.ready("mounted on\n/mnt")
    assert end.told() == ["READY=1", "STATUS=mounted on /mnt"]
    notifier.status("12 open")
    assert end.told() == ["STATUS=12 open"]
    notifier.status("12 open")
    before = time.monotonic_ns() // 1000
    notifier.reloading()
    reloading, moment = end.told()
    assert reloading == "RELOADING=1"
    assert before <= int(moment.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
    notifier.ready()
    assert end.told() == ["READY=1", "STATUS=12 open"]
    notifier.alive()
    assert end.told() == ["WATCHDOG=1"]
    notifier.stopping()
    assert end.told() == ["STOPPING=1", "STATUS=stopping"]
    assert end.silent()


def test_children_do_not_inherit_it(
    manager: tuple[Manager, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the manager gave is gone from the environment that programs we start see."""
    _, environ = manager
    for name, value in {**environ, "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(os.getpid())}.items():
        monkeypatch.setenv(name, value)
    assert Notifier.from_environment().watchdog == 1.0
    seen = subprocess.run(["env"], capture_output=True, text=True, check=True).stdout
    assert "NOTIFY" not in seen
    assert "WATCHDOG" not in seen


@pytest.mark.parametrize(
    ("period", "process", "watchdog"),
    [
        ("20000000", "", 20.0),
        ("20000000", "self", 20.0),
        ("20000000", "1", None),
        ("x", "", None),
        ("0", "", None),
    ],
)
def test_the_watchdog_is_for_the_process_it_names(period: str, process: str, watchdog: float | None) -> None:
    """A period that is none, or that is another process's, is not ours."""
    process = str(os.getpid()) if process == "self" else process
    environ = {"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": period, "WATCHDOG_PID": process}
    assert Notifier.from_environment(environ).watchdog == watchdog


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}])
def test_without_a_manager_nothing_is_sent(environ: dict[str, str]) -> None:
    """No variable, or an address of a kind that is not ours: every call does nothing."""
    notifier = Notifier.from_environment(environ)
    notifier.ready("x")
    notifier.alive()
    assert not notifier.listening
    assert notifier.watchdog is None


def test_a_manager_that_is_gone_is_no_failure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged once."""
    notifier = Notifier(str(tmp_path / "gone"))
    notifier.ready()
    notifier.alive()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
