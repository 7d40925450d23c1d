"""A service, its recordings, their oracle and a mount; all taken down however the run ends."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from kallglotfs.demo.server import DemoServer

if TYPE_CHECKING:
    from types import TracebackType

    from soak.options import Options

#: Bytes of the smallest and the largest recording: half a minute and an hour of telephone sound.
_SMALLEST, _LARGEST = 100_000, 6_000_000
#: Seconds the daemon may take to end once it is unmounted.
_ENDING = 20.0


@dataclass(frozen=True, slots=True)
class Ending:
    """How the mount ended.

    Attributes:
        umount: exit code of `umount`.
        daemon: exit code of the daemon; None when it had to be killed.
    """

    umount: int
    daemon: int | None


class Stage:
    """Everything a run needs.

    Args:
        options: of the run.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._stack = contextlib.ExitStack()
        self.work = Path()
        self.names: list[str] = []
        self.total = 0
        self.service = DemoServer()
        self._daemon: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        """Build everything."""
        with contextlib.ExitStack() as stack:
            self.work = Path(tempfile.mkdtemp(prefix="kallglotfs-soak-"))
            stack.callback(shutil.rmtree, self.work, ignore_errors=True)
            stack.enter_context(self.service)
            self._record()
            stack.callback(self._take_down)
            self._mount()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take everything down."""
        self._stack.close()

    @property
    def recordings(self) -> Path:
        """The mounted directory."""
        return self.work / "mnt" / "recordings"

    @property
    def oracle(self) -> Path:
        """The directory of what must be read."""
        return self.work / "oracle"

    @property
    def log(self) -> str:
        """What the daemon has logged."""
        path = self.work / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def pid(self) -> int:
        """The daemon's process id."""
        assert self._daemon is not None
        return self._daemon.pid

    @property
    def alive(self) -> bool:
        """Whether the daemon runs."""
        return self._daemon is not None and self._daemon.poll() is None

    def unmount(self) -> Ending:
        """Unmount as a user would."""
        assert self._daemon is not None
        done = subprocess.run(["umount", self.work / "mnt"], check=False, timeout=_ENDING)
        try:
            return Ending(done.returncode, self._daemon.wait(_ENDING))
        except subprocess.TimeoutExpired:
            return Ending(done.returncode, None)

    def _record(self) -> None:
        """Add the recordings, and write what they hold where readers can map it."""
        self.oracle.mkdir()
        chance = random.Random(self._options.seed)
        for index in range(self._options.files):
            recording = f"rec_soak{index:03}"
            size = chance.randrange(_SMALLEST, _LARGEST)
            self.service.add_recording(recording, size)
            content = self.service.audio(recording)
            self.names.append(f"{recording}.mp3")
            self.total += len(content)
            (self.oracle / self.names[-1]).write_bytes(content)

    def _mount(self) -> None:
        point = self.work / "mnt"
        point.mkdir()
        options = {
            "api_url": self.service.api_url,
            "state_dir": self.work / "state",
            "log_file": self.work / "log",
            "memory_cache": self._options.memory_cache,
            "disk_cache": self._options.disk_cache,
            "cache_dir": self.work / "cache",
        } | dict(self._options.mount_options)
        text = ",".join(f"{name}={value}" for name, value in options.items())
        environment = {name: value for name, value in os.environ.items() if not name.startswith("KALLGLOT")}
        environment["KALLGLOT_API_KEY"] = self.service.api_key
        # A session of its own: Ctrl-C is for us, who unmount.
        self._daemon = subprocess.Popen(
            [sys.executable, "-m", "kallglotfs.cli.mount_helper", point, "--foreground", "-o", text],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._daemon.stdout is not None
        if "mounted on" not in self._daemon.stdout.readline():
            raise RuntimeError("the mount could not be made")

    def _take_down(self) -> None:
        daemon = self._daemon
        if daemon is None:
            return
        point = str(self.work / "mnt")
        subprocess.run(["fusermount3", "-uz", point], check=False, capture_output=True, timeout=_ENDING)
        if daemon.poll() is None:
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(_ENDING)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait(_ENDING)
        if daemon.stdout is not None:
            daemon.stdout.close()
