"""A log destination that takes no more holds up nobody: no reader, no signal and no end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from conftest import wait_until
from daemons import configure, daemon, settings_for, stop
from kallglotfs.demo.knobs import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import MountedFolder
    from kallglotfs.demo.server import DemoServer

SIZE = 300_000
#: Reads a file, and says so.
READER = "import sys; print(len(open(sys.argv[1], 'rb').read()))"
#: Seconds in which the daemon ends, and a killed reader is gone; more on a busy machine.
END, GONE = 5.0, 1.0
SLACK = 3.0


class Stalled:
    """A pipe that is full and that nobody reads from.

    Args:
        reading: its one end, kept open.
        writing: its other end, which may block; closed once it is full.
    """

    def __init__(self, reading: int, writing: int) -> None:
        self.reading = reading
        self.writing = writing

    def fill(self) -> None:
        """Leave no room for a line, by a descriptor of our own: the daemon's goes on to block."""
        own = os.open(f"/proc/self/fd/{self.writing}", os.O_WRONLY | os.O_NONBLOCK)
        try:
            for size in (4096, 1):
                while True:
                    try:
                        os.write(own, b"x" * size)
                    except BlockingIOError:
                        break
        finally:
            os.close(own)

    def read(self) -> str:
        """Return what is in the pipe now."""
        os.set_blocking(self.reading, False)
        try:
            return os.read(self.reading, 1 << 20).decode()
        except BlockingIOError:
            return ""


@pytest.fixture
def stalled(tmp_path: Path) -> Iterator[Stalled]:
    """Make one, by a name so that it can be a log file."""
    os.mkfifo(tmp_path / "fifo")
    reading = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    writing = os.open(tmp_path / "fifo", os.O_WRONLY)
    yield Stalled(reading, writing)
    os.close(writing)
    os.close(reading)


def ended(mounted: MountedFolder) -> float:
    """Stop a daemon; return the seconds it took."""
    began = time.monotonic()
    assert stop(mounted) == 0
    assert not mounted.path.is_mount()
    return time.monotonic() - began


def reader(path: Path) -> subprocess.Popen[str]:
    """Begin to read a file."""
    return subprocess.Popen([sys.executable, "-c", READER, str(path)], stdout=subprocess.PIPE, text=True)


def check(mounted: MountedFolder, service: DemoServer, stalled: Stalled) -> None:
    """Read, kill who reads, ask for the state, and end."""
    stalled.fill()
    for _ in range(20):
        mounted.process.send_signal(signal.SIGUSR1)
        time.sleep(0.02)
    # By another process: a test that is held up itself could not end the daemon.
    assert reader(mounted.recordings / "rec_a.mp3").communicate(timeout=20)[0] == f"{SIZE}\n"
    # Answered by nobody in time: who waits for it is let go when it is killed.
    service.knobs.faults = [Fault("storage", "stall_headers", times=-1)]
    with reader(mounted.recordings / "rec_b.mp3") as waiting:
        assert wait_until(lambda: service.requests.count("storage", "rec_b") > 0, 10)
        waiting.kill()
        began = time.monotonic()
        waiting.wait(10)
        assert time.monotonic() - began < GONE + SLACK
    assert ended(mounted) < END + SLACK


@pytest.mark.parametrize("place", ["log_file", "stderr"])
def test_a_log_that_takes_no_more_holds_up_nobody(
    place: str, service: DemoServer, tmp_path: Path, stalled: Stalled
) -> None:
    """Reads are answered, killed readers are gone, and SIGTERM ends the daemon in time, with 0."""
    for name in ("rec_a", "rec_b"):
        service.add_recording(name, size=SIZE)
    settings: dict[str, object] = {"log_level": "debug", "log_file": None}
    streams: dict[str, object] = {"start_new_session": True}
    if place == "log_file":
        settings["log_file"] = tmp_path / "fifo"
    else:
        streams["stderr"] = stalled.writing
    with daemon(service, tmp_path, streams=streams, **settings) as mounted:
        check(mounted, service, stalled)


def test_a_log_that_takes_no_more_is_left_by_a_reload(
    service: DemoServer, tmp_path: Path, stalled: Stalled
) -> None:
    """What it has dropped it is told once it takes again; the new file has what came since."""
    service.add_recording("rec_a", size=SIZE)
    with daemon(service, tmp_path, log_file=tmp_path / "fifo") as mounted:
        stalled.fill()
        for _ in range(5):
            mounted.process.send_signal(signal.SIGUSR1)
            time.sleep(0.05)
        configure(tmp_path, **settings_for(service, tmp_path))
        mounted.process.send_signal(signal.SIGHUP)
        assert wait_until(lambda: mounted.log_file.exists() and "reloaded: log_file" in mounted.log, 20)
        assert "lines dropped here" not in stalled.read()
        seen: list[str] = []
        assert wait_until(lambda: seen.append(stalled.read()) or "lines dropped here" in "".join(seen), 10)
        assert ended(mounted) < END + SLACK
        assert "unmounted" in mounted.log


def test_a_stalled_reader_that_reads_again_gets_everything(
    service: DemoServer, tmp_path: Path, stalled: Stalled
) -> None:
    """What the queue held is not lost."""
    service.add_recording("rec_a", size=SIZE)
    with daemon(service, tmp_path, log_file=tmp_path / "fifo") as mounted:
        stalled.fill()
        mounted.process.send_signal(signal.SIGUSR1)
        mounted.process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        seen: list[str] = []
        assert wait_until(lambda: seen.append(stalled.read()) or "reloaded: " in "".join(seen), 20)
        assert "status of mount" in "".join(seen)
        assert ended(mounted) < END + SLACK
