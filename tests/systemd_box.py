"""A booted system with kallglotfs in it, as the tests of systemd use it."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nspawn import Container

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kallglotfs.demo.server import DemoServer

#: Seconds a condition inside may take on a busy machine.
SOON = 40.0


@dataclass
class Box:
    """A booted system with kallglotfs in it.

    Attributes:
        container: the system.
        etc: its `/etc/kallglotfs`.
        service: where its mounts go.
    """

    container: Container
    etc: Path
    service: DemoServer

    def unit(self, name: str, *drop_in: str) -> str:
        """Return the service for a mount point of that name, made; with lines for its [Service] section."""
        unit = f"kallglotfs@mnt-{name}.service"
        self.container.run("mkdir", "-p", f"/mnt/{name}")
        if drop_in:
            self.write(f"/run/systemd/system/{unit}.d/test.conf", "\n".join(["[Service]", *drop_in, ""]))
            self.container.run("systemctl", "daemon-reload")
        return unit

    def write(self, path: str, text: str) -> None:
        """Write a file inside."""
        file = self.container.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def main_process(self, unit: str) -> str:
        """Return the id, inside, of a unit's main process."""
        return self.container.show(unit, "MainPID")["MainPID"]

    def answers(self, path: str) -> bool:
        """Tell whether the directory of recordings below `path` can be listed."""
        return self.container.run("ls", f"{path}/recordings", check=False, timeout=SOON).returncode == 0

    def kinds(self, path: str) -> list[str]:
        """Return the types of the mounts at a path, from mountinfo."""
        lines = (self.container.root / "proc/1/mountinfo").read_text().splitlines()
        rows = [line.split(" - ") for line in lines if line.split()[4] == path]
        return [after.split()[0] for _, after in rows]

    def journal(self, unit: str) -> str:
        """Return what a unit has logged."""
        return self.container.run("journalctl", "--no-pager", "--output=cat", f"--unit={unit}").stdout


def until(condition: Callable[[], bool], seconds: float = SOON) -> bool:
    """Return whether a condition came true in time; each asking costs a process."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if condition():
            return True
        time.sleep(0.2)
    return condition()


@contextlib.contextmanager
def box(made: Path, folder: Path, service: DemoServer, lines: str = "", fstab: str = "") -> Iterator[Box]:
    """Boot a system whose default profile leads to the service.

    Args:
        made: from `tree`.
        folder: an empty one for what the system is given.
        service: need not run yet.
        lines: more for the profile.
        fstab: its `/etc/fstab`.
    """
    etc = folder / "etc"
    etc.mkdir()
    # Its users are to read it, but for the key.
    etc.chmod(0o755)
    profile = f"[default]\napi_url = {json.dumps(service.api_url)}\nallow_other = true\n{lines}"
    (etc / "config.toml").write_text(profile)
    key = etc / "api_key"
    key.write_text(f"{service.api_key}\n")
    key.chmod(0o600)
    (folder / "fstab").write_text(fstab)
    binds = {"/etc/kallglotfs": etc, "/etc/fstab": folder / "fstab"}
    with Container(made, folder / "boot.log", binds) as container:
        yield Box(container, etc, service)
