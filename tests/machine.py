"""A machine of one's own: a mount namespace in which programs can be installed without a trace outside.

`/usr`, `/etc`, `/opt` and `/var` are overlays that vanish with the namespace.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

#: Seconds a command may take there, on a busy machine.
PATIENCE = 60
#: Written to by tests.
OVERLAID = ("/usr", "/etc", "/opt", "/var")
SCRIPT = r"""set -eu
store=$1; shift
# Copies of others' mounts would keep their daemons from ending.
while read -r _ place kind _; do
    [ "$kind" != fuse.kallglotfs ] || umount -l "$(printf '%b' "$place")" || true
done </proc/self/mounts
mount -t tmpfs private "$store"
for place; do
    [ -d "$place" ] || continue
    upper=$store$place/upper work=$store$place/work
    mkdir -p "$upper" "$work"
    mount -t overlay private -o "lowerdir=$place,upperdir=$upper,workdir=$work" "$place"
done
echo ready
exec sleep infinity
"""


@dataclass(frozen=True, slots=True)
class Machine:
    """The namespace, held by a process."""

    process: subprocess.Popen[str]

    def run(self, *command: object, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command there."""
        return subprocess.run(
            ["nsenter", "-m", f"-t{self.process.pid}", "--wd=/", *map(str, command)],
            capture_output=True, text=True, timeout=PATIENCE, check=False, env=env,
        )  # fmt: skip

    def mounts(self) -> str:
        """Return what is mounted there."""
        return self.run("cat", "/proc/self/mounts").stdout


@contextlib.contextmanager
def private_machine(folder: Path) -> Iterator[Machine]:
    """Make a machine until the block ends; its mounts of ours are taken down.

    Args:
        folder: an empty directory to work in.
    """
    store = folder / "overlays"
    store.mkdir()
    command = ["unshare", "-m", "--propagation", "slave", "sh", "-c", SCRIPT, "sh", str(store), *OVERLAID]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        if process.stdout.readline() != "ready\n":
            process.kill()
            pytest.skip(f"NOT TESTED: no private mounts with overlays here: {process.stderr.read().strip()}")
        machine = Machine(process)
        try:
            yield machine
        finally:
            for line in machine.mounts().splitlines():
                _, place, kind, *_ = line.split(" ")
                if kind == "fuse.kallglotfs":
                    machine.run("fusermount3", "-uz", place.encode().decode("unicode_escape"))
            process.send_signal(signal.SIGKILL)
