"""mpv, driven over its socket: load, wait until it plays, seek, quit."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.checks import CheckFailed
from bench.processes import end, wait_for

if TYPE_CHECKING:
    from typing import Self


class Mpv:
    """A running mpv without sound or picture; a context manager.

    Args:
        directory: for its socket.
        *options: further options of mpv's.
    """

    def __init__(self, directory: Path, *options: str) -> None:
        self._options = options
        self._path = directory / "mpv.sock"
        self._pending = b""

    def __enter__(self) -> Self:
        quiet = ("--no-config", "--idle=yes", "--ao=null", "--no-video", "--no-terminal", "--load-scripts=no")
        self._process = subprocess.Popen(
            ["mpv", *quiet, f"--input-ipc-server={self._path}", *self._options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(self._path.exists, 10, "mpv's socket")
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.settimeout(30)
            wait_for(self._connects, 10, "mpv to answer")
        except BaseException:
            end(self._process)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        end(self._process)

    @property
    def read(self) -> int:
        """Return how many bytes it has read from files so far, whoever answered."""
        counts = dict(
            line.split(": ") for line in Path(f"/proc/{self._process.pid}/io").read_text().splitlines()
        )
        return int(counts["rchar"])

    def load(self, path: Path) -> float:
        """Play a file and return the seconds until sound comes out."""
        return self._until_it_plays(["loadfile", str(path)], "file-loaded")

    def seek(self, amount: float, how: str) -> float:
        """Seek (`how` as in mpv's manual) and return the seconds until sound comes out again."""
        return self._until_it_plays(["seek", amount, how], "seek")

    def _connects(self) -> bool:
        return self._socket.connect_ex(str(self._path)) == 0

    def _until_it_plays(self, command: list[object], first: str) -> float:
        # Events of earlier steps may lie in the socket still: count from the one that this command causes.
        began = time.perf_counter()
        self._say(command)
        started = False
        while True:
            event = self._line().get("event")
            started = started or event == first
            if started and event == "playback-restart":
                return time.perf_counter() - began
            if event == "end-file":
                raise CheckFailed("mpv stopped playing")

    def _say(self, command: list[object]) -> None:
        self._socket.sendall(json.dumps({"command": command}).encode() + b"\n")

    def _line(self) -> dict[str, object]:
        while b"\n" not in self._pending:
            more = self._socket.recv(65536)
            if not more:
                raise CheckFailed("mpv went away")
            self._pending += more
        line, _, self._pending = self._pending.partition(b"\n")
        message: dict[str, object] = json.loads(line)
        return message
