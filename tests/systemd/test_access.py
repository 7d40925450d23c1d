"""Mounted at the first access, by the boot before the network is there, and by a user without root."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest

from kallglotfs.demo.server import DemoServer
from kallglotfs.mountpoint import KIND
from nspawn import UNITS
from systemd_box import box, until

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from systemd_box import Box

# The first one may have to make the tree.
pytestmark = pytest.mark.timeout(600)


def test_an_automount_unit_mounts_at_the_first_access(system: Box, service: DemoServer) -> None:
    """The example units: nothing is mounted before, `systemctl stop` unmounts and leaves no process."""
    inside = system.container
    for kind in ("mount", "automount"):
        text = (UNITS / f"mnt-calls.{kind}").read_text().replace("/mnt/calls", "/mnt/first")
        system.write(f"/run/systemd/system/mnt-first.{kind}", text)
    inside.run("systemctl", "daemon-reload")
    inside.run("systemctl", "start", "mnt-first.automount")
    try:
        assert system.kinds("/mnt/first") == ["autofs"]
        recording = service.calls[0].id
        path = f"/mnt/first/recordings/{recording}.mp3"
        assert inside.read(path) == service.audio(recording, "mp3")
        assert system.kinds("/mnt/first") == ["autofs", KIND]
        assert inside.run("ls", "/mnt/first", user="nobody").returncode == 0
    finally:
        inside.run("systemctl", "stop", "mnt-first.automount", "mnt-first.mount", check=False)
    assert until(lambda: system.kinds("/mnt/first") == [])
    assert inside.show("mnt-first.mount", "ActiveState", "Result") == {
        "ActiveState": "inactive",
        "Result": "success",
    }


def test_an_fstab_line_waits_for_no_network(made: Path, tmp_path: Path) -> None:
    """The example's line: the boot goes by, the first access mounts, and what comes later is read."""
    fstab = (UNITS / "fstab.example").read_text()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    absent = DemoServer(api_port=port)
    absent.stop()
    with box(made, tmp_path, absent, 'timeout = "5s"\n', fstab) as system:
        inside = system.container
        assert system.kinds("/mnt/calls") == ["autofs"]
        assert inside.show("mnt-calls.mount", "ActiveState")["ActiveState"] == "inactive"
        path = f"/mnt/calls/recordings/{absent.calls[0].id}.mp3"
        refused = inside.run("cat", path, check=False)
        assert "No route to host" in refused.stderr
        assert system.kinds("/mnt/calls") == ["autofs", KIND]
        with DemoServer(api_port=port) as service:
            expected = service.audio(service.calls[0].id, "mp3")
            assert until(lambda: inside.run("cp", path, "/dev/null", check=False).returncode == 0)
            assert inside.read(path) == expected


def test_a_user_mounts_without_root(system: Box, service: DemoServer) -> None:
    """`kallglotfs-user@` of a user who is not logged in: theirs alone, killed and back, stopped and gone."""
    inside = system.container
    inside.run("useradd", "--create-home", "alice")
    home, number = "/home/alice", inside.run("id", "-u", "alice").stdout.strip()
    profile = f"[default]\napi_url = {json.dumps(service.api_url)}\napi_key_file = '{home}/key'\n"
    system.write(f"{home}/.config/kallglotfs/config.toml", profile)
    system.write(f"{home}/key", f"{service.api_key}\n")
    inside.run("mkdir", f"{home}/my calls")
    inside.run("chmod", "600", f"{home}/key")
    inside.run("chown", "-R", "alice:", home)
    inside.run("loginctl", "enable-linger", "alice")
    assert until((inside.root / f"run/user/{number}/bus").exists)

    def alice(*command: str) -> subprocess.CompletedProcess[str]:
        settings = ("env", f"HOME={home}", f"XDG_RUNTIME_DIR=/run/user/{number}")
        return inside.run(*settings, *command, user="alice", check=False)

    instance = inside.run("systemd-escape", "--path", f"{home}/my calls").stdout.strip()
    unit = f"kallglotfs-user@{instance}.service"

    def process() -> str:
        return alice("systemctl", "--user", "show", "--property=MainPID", "--value", unit).stdout.strip()

    verified = alice("systemd-analyze", "--user", "--man=no", "verify", unit)
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    started = alice("systemctl", "--user", "start", unit)
    assert started.returncode == 0, alice("systemctl", "--user", "status", unit).stdout
    recording = service.calls[0].id
    copied = alice("cp", f"{home}/my calls/recordings/{recording}.mp3", f"{home}/copy.mp3")
    assert copied.returncode == 0, copied.stderr
    assert inside.read(f"{home}/copy.mp3") == service.audio(recording, "mp3")
    assert inside.run("ls", f"{home}/my calls", check=False).returncode != 0
    first = process()
    alice("kill", "-9", first)
    alice("systemctl", "--user", "kill", "--signal=KILL", unit)
    shown = f"{home}/my\\040calls"
    assert until(
        lambda: process() not in ("0", first) and alice("ls", f"{home}/my calls/recordings").returncode == 0
    )
    assert system.kinds(shown) == [KIND]
    assert alice("systemctl", "--user", "stop", unit).returncode == 0
    assert system.kinds(shown) == []
