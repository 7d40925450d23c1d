"""`kallglotfs@.service` on a real systemd."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import pytest

from kallglotfs.mountpoint import KIND
from nspawn import CHECKOUT, UNITS
from systemd_box import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kallglotfs.demo.server import DemoServer
    from systemd_box import Box

# The first one may have to make the tree.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def calls(system: Box, request: pytest.FixtureRequest) -> Iterator[str]:
    """A started service on `/mnt/calls`; the name of its unit. Drop-in lines by `parametrize`.

    It goes on into the next test, which may use it if it is all right.
    """
    lines: tuple[str, ...] = getattr(request, "param", ())
    unit = system.unit("calls", *lines)
    system.container.run("systemctl", "restart" if lines else "start", unit)
    yield unit
    # Shown where the test has failed.
    sys.stdout.write(system.journal(unit)[-3000:])
    if lines:
        system.container.run("systemctl", "stop", unit, check=False)
        system.container.run("rm", "-rf", f"/run/systemd/system/{unit}.d")
        system.container.run("systemctl", "daemon-reload")
    system.container.run("systemctl", "reset-failed", unit, check=False)


def test_it_is_ready_when_the_mount_answers_everybody(system: Box, service: DemoServer, calls: str) -> None:
    """`systemctl start` returns with a mount that others see, who read the very bytes."""
    name = f"{service.calls[0].id}.mp3"
    assert system.container.read(f"/mnt/calls/recordings/{name}") == service.audio(service.calls[0].id, "mp3")
    assert name in system.container.run("ls", "/mnt/calls/recordings", user="nobody").stdout
    assert system.container.run("findmnt", "-no", "FSTYPE,SOURCE", "/mnt/calls").stdout.split() == [
        KIND,
        "default",
    ]
    assert until(lambda: "API requests left" in system.container.show(calls, "StatusText")["StatusText"])
    assert system.container.show(calls, "ActiveState", "NRestarts") == {
        "ActiveState": "active",
        "NRestarts": "0",
    }


def test_the_key_is_a_credential_that_nobody_else_reads(system: Box, service: DemoServer, calls: str) -> None:
    """Not in the environment, and in a file that only root may read."""
    process = system.main_process(calls)
    environment = system.container.read(f"/proc/{process}/environ")
    assert service.api_key.encode() not in environment
    path = f"/run/credentials/{calls}/kallglot_api_key"
    assert f"CREDENTIALS_DIRECTORY=/run/credentials/{calls}".encode() in environment
    assert system.container.read(path).decode().strip() == service.api_key
    for secret in (path, f"/proc/{process}/environ", "/etc/kallglotfs/api_key"):
        assert system.container.run("cat", secret, user="nobody", check=False).returncode != 0, secret
    assert service.api_key not in system.container.run("systemctl", "show", calls).stdout
    assert service.api_key not in system.journal(calls)


def test_a_reload_takes_settings_over_and_keeps_the_mount(system: Box, calls: str) -> None:
    """`systemctl reload` reads the profile again; the process and the mount stay."""
    process = system.main_process(calls)
    config = system.etc / "config.toml"
    before = config.read_text()
    try:
        config.write_text(f'{before}log_level = "debug"\n')
        system.container.run("systemctl", "reload", calls)
        assert until(lambda: "reloaded: log_level" in system.journal(calls))
    finally:
        config.write_text(before)
    assert system.main_process(calls) == process
    assert system.answers("/mnt/calls")


def test_what_is_killed_comes_back_with_a_clean_mount(system: Box, calls: str) -> None:
    """After kill -9 the next daemon clears what is left and mounts again, once."""
    process = system.main_process(calls)
    system.container.run("systemctl", "kill", "--signal=KILL", "--kill-who=main", calls)
    assert until(lambda: system.main_process(calls) not in ("0", process) and system.answers("/mnt/calls"))
    assert until(lambda: system.container.show(calls, "ActiveState")["ActiveState"] == "active")
    assert system.kinds("/mnt/calls") == [KIND]
    assert "cleared what a daemon that died has left" in system.journal(calls)


def test_a_stop_leaves_nothing(system: Box, calls: str) -> None:
    """Unmounted, no process, exit code 0; also with a file open."""
    reader = system.container.start("sh", "-c", "exec 3</mnt/calls/recordings; echo open; read line")
    assert reader.stdout is not None
    assert reader.stdout.readline() == "open\n"
    try:
        system.container.run("systemctl", "stop", calls)
        assert system.kinds("/mnt/calls") == []
        wanted = {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0", "MainPID": "0"}
        assert system.container.show(calls, *wanted) == wanted
        assert not (system.container.root / f"run/credentials/{calls}").exists()
    finally:
        reader.communicate("\n", timeout=30)


@pytest.mark.parametrize("calls", [("WatchdogSec=6s", "TimeoutAbortSec=2s")], indirect=True)
def test_the_watchdog_brings_back_what_has_stopped(system: Box, calls: str) -> None:
    """A daemon that does nothing any more is not fed, killed and started again; the mount is clean."""
    process = system.main_process(calls)
    system.container.run("sh", "-c", f"kill -STOP {process}")
    assert until(
        lambda: system.main_process(calls) not in ("0", process) and system.answers("/mnt/calls"), 60
    )
    assert system.kinds("/mnt/calls") == [KIND]
    assert "Watchdog timeout" in system.journal(calls)


@pytest.mark.parametrize("calls", [("WatchdogSec=5s",)], indirect=True)
def test_the_watchdog_waits_with_who_waits(system: Box, service: DemoServer, calls: str) -> None:
    """With more readers in a network that hangs than there are threads, the daemon is fed all the same."""
    process = system.main_process(calls)
    service.knobs.change({"faults": [{"kind": "api", "action": "stall_headers", "times": -1}]})
    readers = system.container.start(
        "sh",
        "-c",
        "cd /mnt/calls/recordings; exec 2>/dev/null; "
        'for i in $(seq 150); do stat rec_01WAITING$i.mp3 >/dev/null & all="$all $!"; done; '
        "read line; kill $all; wait",
    )

    def answers() -> bool:
        asked = system.container.run("timeout", "1", "stat", "-f", "/mnt/calls", check=False)
        return asked.returncode == 0

    try:
        assert until(lambda: not answers())
        # Longer than the watchdog's time, shorter than that of a call.
        time.sleep(8)
        assert not answers()
    finally:
        readers.communicate("\n", timeout=60)
    assert until(answers)
    assert system.main_process(calls) == process
    assert system.container.show(calls, "NRestarts")["NRestarts"] == "0"


def test_the_units_are_clean(system: Box) -> None:
    """`systemd-analyze verify` has nothing to say of the units and of the examples."""
    for name in ("mnt-calls.mount", "mnt-calls.automount"):
        system.write(f"/run/systemd/system/{name}", (UNITS / name).read_text())
    for unit in ("kallglotfs@mnt-calls.service", "mnt-calls.mount", "mnt-calls.automount"):
        # The manual pages are there only where the package is installed.
        done = system.container.run("systemd-analyze", "--man=no", "verify", unit, check=False)
        assert (done.returncode, done.stdout + done.stderr) == (0, ""), unit
    for name in ("mnt-calls.mount", "mnt-calls.automount"):
        system.container.run("rm", f"/run/systemd/system/{name}")
    system.container.run("systemctl", "daemon-reload")


def test_the_score_is_what_the_documentation_says(system: Box) -> None:
    """`systemd-analyze security` measures what docs/systemd.md states."""
    said = system.container.run(
        "systemd-analyze", "--no-pager", "security", "kallglotfs@mnt-calls.service", check=False
    ).stdout
    score = said.rpartition("kallglotfs@mnt-calls.service: ")[2].split()[0]
    stated = (CHECKOUT / "docs" / "systemd.md").read_text()
    assert f"**{score}**" in stated
