"""A real systemd: a small Debian booted by systemd-nspawn, which shares the network with the tests.

The checkout and its Python are seen in there at the same paths, read-only; `/usr/bin/kallglotfs` and
`/sbin/mount.kallglotfs` are those of the checkout. What is written goes to memory and is gone with it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

CHECKOUT = Path(__file__).resolve().parent.parent
UNITS = CHECKOUT / "systemd"
#: Seconds a boot may take on a busy machine, and a shutdown.
BOOT, SHUTDOWN = 60.0, 30.0


class CannotBoot(Exception):
    """No container can be booted here; the message says why."""


def tree() -> Path:
    """Return the directory that `scripts/make-systemd-tree` makes.

    Raises:
        CannotBoot: it cannot be made here.
    """
    if os.geteuid() != 0:
        raise CannotBoot("only root can boot a container")
    for program in ("systemd-nspawn", "debootstrap", "nsenter"):
        if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
            raise CannotBoot(f"{program} is missing")
    made = subprocess.run(
        [CHECKOUT / "scripts" / "make-systemd-tree"], capture_output=True, text=True, check=False
    )
    if made.returncode:
        raise CannotBoot(f"the tree cannot be made: {made.stderr.strip()[-300:]}")
    return Path(made.stdout.strip())


class Container:
    """A booted system.

    Args:
        made: from `tree`.
        log: file for what is said at boot.
        binds: more to be seen inside: path inside to path here; writable.
    """

    def __init__(self, made: Path, log: Path, binds: Mapping[str, Path]) -> None:
        programs = Path(sys.prefix, "bin")
        seen = {
            str(CHECKOUT): CHECKOUT,
            sys.prefix: Path(sys.prefix),
            "/usr/bin/kallglotfs": programs / "kallglotfs",
            "/usr/sbin/mount.kallglotfs": programs / "mount.kallglotfs",
            "/etc/systemd/system/kallglotfs@.service": UNITS / "kallglotfs@.service",
            "/etc/systemd/user/kallglotfs-user@.service": UNITS / "kallglotfs-user@.service",
        }
        if sys.base_prefix != "/usr":
            seen[sys.base_prefix] = Path(sys.base_prefix)
        self._command = [
            "systemd-nspawn",
            "--quiet",
            f"--directory={made / 'root'}",
            "--boot",
            "--volatile=overlay",
            "--register=no",
            "--keep-unit",
            "--console=pipe",
            f"--machine=kallglotfs-{os.getpid()}-{time.monotonic_ns() % 100_000}",
            *(f"--bind-ro={path}:{inside}" for inside, path in sorted(seen.items())),
            *(f"--bind={path}:{inside}" for inside, path in binds.items()),
            *(f"--bind={made / 'nodes' / name}:/dev/{name}" for name in ("fuse", "autofs")),
        ]
        self._log = log
        self._leader = 0

    def __enter__(self) -> Self:
        """Boot, and return once everything is started that starts by itself."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        try:
            self._wait_for_boot()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        """Shut down."""
        self.close()

    def close(self) -> None:
        """Shut down, by force where it does not by itself."""
        # nspawn passes it on as a request to shut down in order.
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(SHUTDOWN)
        except subprocess.TimeoutExpired:
            if self._leader:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._leader, signal.SIGKILL)
            self._process.kill()
            self._process.wait()

    @property
    def root(self) -> Path:
        """Its root directory, as seen from here. Not for what is mounted by us: that is looked at inside."""
        return Path(f"/proc/{self._leader}/root")

    def run(
        self, *command: str, user: str = "", check: bool = True, timeout: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a program inside.

        Args:
            command: the program and its arguments.
            user: as whom; root where empty.
            check: whether it must succeed.
            timeout: seconds it may take.
        """
        whole = [*self._enter(), *(["runuser", "-u", user, "--"] if user else []), *command]
        done = subprocess.run(
            whole, capture_output=True, check=False, timeout=timeout, env=self._environment(), text=True
        )
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def read(self, path: str) -> bytes:
        """Return a file's bytes, read by a program inside."""
        whole = [*self._enter(), "cat", path]
        return subprocess.run(
            whole, capture_output=True, check=True, timeout=60, env=self._environment()
        ).stdout

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a program inside and go on; one that reads its input is ended by closing that."""
        whole = [*self._enter(), *command]
        return subprocess.Popen(
            whole,
            env=self._environment(),
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def show(self, unit: str, *names: str) -> dict[str, str]:
        """Return properties of a unit."""
        text = self.run("systemctl", "show", unit, *(f"--property={name}" for name in names)).stdout
        return dict(line.split("=", 1) for line in text.splitlines())

    def _enter(self) -> list[str]:
        return ["nsenter", f"--target={self._leader}", "--all", "--wdns=/"]

    @staticmethod
    def _environment() -> dict[str, str]:
        return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}

    def _wait_for_boot(self) -> None:
        ends = time.monotonic() + BOOT
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        said = ""
        while time.monotonic() < ends:
            if self._process.poll() is not None:
                raise CannotBoot(f"systemd-nspawn: {self._log.read_text(errors='replace').strip()[-300:]}")
            found = children.read_text().split()
            if found and not self._leader and Path(f"/proc/{found[0]}/comm").read_text() == "systemd\n":
                self._leader = int(found[0])
            if self._leader:
                said = self.run("systemctl", "is-system-running", check=False).stdout.strip()
                if said in ("running", "degraded"):
                    return
            time.sleep(0.1)
        raise CannotBoot(f"systemd does not come up ({said or 'no answer'})")
