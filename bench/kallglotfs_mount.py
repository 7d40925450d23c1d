"""kallglotfs, mounted the way users mount it: `mount.kallglotfs`, in the background."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.checks import CheckFailed
from bench.mounts import detach, is_mounted
from bench.processes import alive, find, wait_for

if TYPE_CHECKING:
    from bench.corpus import Item

_BIN = Path(sys.executable).parent
#: Seconds a mount may live: a reader that hangs is then freed by the end of the daemon.
_LONGEST = 600.0


class KallglotMount:
    """One mount.

    Args:
        path: an empty directory.
        key: of the API.
        options: settings by name.
        authority: certificate authority to trust, if any.
    """

    label = "kallglotfs"

    def __init__(self, path: Path, key: str, options: dict[str, object], authority: Path | None) -> None:
        self.path = path
        self.log_file = path.with_suffix(".log")
        self.seconds = 0.0
        self.pid = 0
        self._options = options | {"log_file": self.log_file}
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith("KALLGLOT")
        }
        self._environment["KALLGLOT_API_KEY"] = key
        if authority is not None:
            self._environment["REQUESTS_CA_BUNDLE"] = str(authority)
        self._watchdog: threading.Timer | None = None

    def add(self, ids: list[str]) -> None:
        """Make recordings (or sessions' recordings) known with `kallglotfs add`."""
        wanted = ("api_url", "state_dir")
        text = ",".join(f"{name}={self._options[name]}" for name in wanted)
        self._run([str(_BIN / "kallglotfs"), "add", "-o", text, "--file", "-"], "\n".join(ids).encode())

    def start(self) -> None:
        """Mount, and note how long that took."""
        text = ",".join(f"{name}={value}" for name, value in self._options.items())
        began = time.perf_counter()
        self._run([str(_BIN / "mount.kallglotfs"), str(self.path), "-o", text])
        self.seconds = time.perf_counter() - began
        self.pid = find(str(self.path)) or 0
        if not self.pid or not is_mounted(self.path):
            raise CheckFailed("mount.kallglotfs returned 0 and nothing is mounted")
        self._watchdog = threading.Timer(_LONGEST, self._kill)
        self._watchdog.daemon = True
        self._watchdog.start()

    def stop(self) -> None:
        """Unmount and wait for the daemon to end."""
        if self._watchdog is not None:
            self._watchdog.cancel()
        detach(self.path)
        if self.pid:
            try:
                wait_for(lambda: not alive(self.pid), 15, "the daemon's end")
            except CheckFailed:
                self._kill()
                raise

    def file(self, item: Item) -> Path:
        """Return where a recording is."""
        return self.recordings / item.name

    @property
    def recordings(self) -> Path:
        """Return the directory of recordings."""
        return self.path / "recordings"

    def _kill(self) -> None:
        if self.pid and alive(self.pid):
            os.kill(self.pid, 9)

    def _run(self, command: list[str], text: bytes = b"") -> None:
        done = subprocess.run(
            command, input=text, env=self._environment, capture_output=True, timeout=300, check=False
        )
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise CheckFailed(
                f"{Path(command[0]).name} failed ({done.returncode}): {said[-1] if said else ''}"
            )
