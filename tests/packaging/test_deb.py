"""The Debian package: installs, mounts, and goes without a trace; on a machine of its own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import environment, wait_until
from machine import private_machine

if TYPE_CHECKING:
    from kallglotfs.demo.server import DemoServer

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_debian_package_installs_mounts_and_goes(service: DemoServer, tmp_path: Path) -> None:
    """With the distribution's Python, and dpkg's own list of files."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("NOT TESTED: dpkg-deb is not on this machine")
    built = subprocess.run([ROOT / "scripts/make-deb", tmp_path], capture_output=True, text=True, check=False)
    if "but /usr/bin/python3 is" in built.stderr:
        pytest.skip(f"NOT TESTED: {built.stderr.strip()}")
    assert built.returncode == 0, built.stderr
    (package,) = tmp_path.glob("kallglotfs_*.deb")
    key, place, state = (tmp_path / name for name in ("key", "calls", "state"))
    key.write_text(service.api_key)
    key.chmod(0o600)
    place.mkdir()
    options = f"api_url={service.api_url},api_key_file={key},state_dir={state},log_file={tmp_path}/log"
    with private_machine(tmp_path) as machine:
        done = machine.run("dpkg", "-i", package)
        assert done.returncode == 0, done.stderr
        clean = environment(None)
        done = machine.run("mount", "-t", "kallglotfs", "kallglot", place, "-o", options, env=clean)
        assert (done.returncode, done.stderr) == (0, "")
        call = service.calls[0]
        file = place / "recordings" / f"{call.id}.{call.format}"
        assert machine.run("cp", file, tmp_path / "copy").returncode == 0
        assert (tmp_path / "copy").read_bytes() == service.audio(call.id)
        assert machine.run("/usr/bin/kallglotfs", "umount", place).returncode == 0
        assert machine.run("man", "-w", "kallglotfs").stdout == "/usr/share/man/man1/kallglotfs.1.gz\n"
        unit = machine.run("systemd-analyze", "verify", "/usr/lib/systemd/system/kallglotfs@.service")
        assert "kallglotfs" not in unit.stderr

        done = machine.run("/usr/bin/kallglotfs", "install-helper")
        assert done.stdout == "already there: everything, by the Debian package kallglotfs\n"
        assert machine.run("dpkg", "-V", "kallglotfs").stdout == ""
        assert wait_until(lambda: machine.run("dpkg", "-P", "kallglotfs").returncode == 0)
        left = machine.run(
            "find", "/usr/bin", "/usr/sbin", "/usr/lib/kallglotfs", "/usr/share", "-name", "*kallglot*"
        )
        assert left.stdout == ""
