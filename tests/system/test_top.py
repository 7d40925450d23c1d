"""`kallglotfs top` in a terminal, in a pipe, and while its daemon comes and goes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import end, environment, wait_until
from kallglotfs.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import MountedFolder
    from kallglotfs.demo.requestlog import RequestLog
    from kallglotfs.demo.server import DemoServer

#: What draws, and does not move to another line.
STYLE = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
ALTERNATE, ORDINARY = b"\x1b[?1049h", b"\x1b[?1049l"


class Terminal:
    """A terminal with `top` in it."""

    def __init__(self, columns: int, lines: int, *arguments: object, **variables: str) -> None:
        self.master, self.slave = pty.openpty()
        self.resize(columns, lines)
        self.before = termios.tcgetattr(self.slave)
        self.output = b""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kallglotfs", "top", *map(str, arguments)],
            env={**environment(None), "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"} | variables,
            stdin=self.slave, stdout=self.slave, stderr=self.slave,
        )  # fmt: skip

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def shows(self, text: str, seconds: float = 20.0) -> bool:
        """Wait until a screen shows a text."""

        def found() -> bool:
            self.read()
            return text in self.screen()

        return wait_until(found, seconds)

    def read(self) -> None:
        while select.select([self.master], [], [], 0.05)[0]:
            with contextlib.suppress(OSError):
                self.output += os.read(self.master, 65536)

    def screen(self) -> str:
        """Return the last whole screen, without its colours."""
        frames = self.output.split(b"\x1b[H")
        return STYLE.sub(b"", frames[-2] if len(frames) > 2 else frames[-1]).decode(errors="replace")

    def is_as_before(self) -> bool:
        self.read()
        restored = termios.tcgetattr(self.slave) == self.before
        return restored and self.output.count(ALTERNATE) == self.output.count(ORDINARY)


@contextlib.contextmanager
def terminal(columns: int, lines: int, *arguments: object, **variables: str) -> Iterator[Terminal]:
    made = Terminal(columns, lines, *arguments, **variables)
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.process.kill()
        made.process.wait()
        os.close(made.master)
        os.close(made.slave)


@pytest.fixture
def folder(service: DemoServer, mount: Callable[..., MountedFolder]) -> MountedFolder:
    """A mount that has been read from."""
    service.knobs.change({"rate_limit": 60})
    service.add_recording("rec_a", size=700_000)
    made = mount()
    assert (made.recordings / "rec_a.mp3").read_bytes() == service.audio("rec_a")
    return made


def test_it_fits_every_terminal_and_a_key_ends_it(folder: MountedFolder, requests_made: RequestLog) -> None:
    """80x24 and whatever it is changed to, at no API request; then the terminal is as it was."""
    asked = requests_made.count("api")
    with (
        (folder.recordings / "rec_a.mp3").open("rb"),
        terminal(80, 24, "--interval", "0.3", folder.path) as screen,
    ):
        assert screen.shows(f"{os.getpid()}")
        assert screen.shows(" of 60")
        assert "█" in screen.screen()
        for columns, lines in ((80, 24), (120, 40), (40, 10), (20, 3), (1, 1), (80, 24)):
            screen.resize(columns, lines)
            screen.process.send_signal(signal.SIGWINCH)
            screen.output = ALTERNATE

            def fits(columns: int = columns, lines: int = lines) -> bool:
                screen.read()
                shown = screen.screen().replace("\r", "").split("\n")
                return len(shown) == lines and max(map(len, shown)) == columns

            assert wait_until(fits, 20), (columns, lines, screen.screen())
        os.write(screen.master, b"xq")
        assert screen.process.wait(timeout=15) == 0
        assert screen.is_as_before()
    assert requests_made.count("api") == asked


def test_a_signal_ends_it_with_the_terminal_restored(folder: MountedFolder) -> None:
    """Ctrl-C is an ordinary way to end it; with NO_COLOR there is none."""
    for number, code in ((signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)):
        with terminal(80, 24, folder.path, NO_COLOR="1") as screen:
            assert screen.shows("budget")
            assert not re.search(rb"\x1b\[[0-9;]*3[0-9]", screen.output)
            screen.process.send_signal(number)
            assert screen.process.wait(timeout=15) == code
            assert screen.is_as_before()


def test_ctrl_z_gives_the_terminal_back_for_a_while(folder: MountedFolder) -> None:
    """And continued, it draws again."""
    with terminal(80, 24, folder.path) as screen:
        assert screen.shows("budget")
        screen.process.send_signal(signal.SIGTSTP)
        stat = Path(f"/proc/{screen.process.pid}/stat")
        assert wait_until(lambda: " T " in stat.read_text(), 15)
        assert screen.is_as_before()
        screen.output = b""
        screen.process.send_signal(signal.SIGCONT)
        assert screen.shows("budget")
        os.write(screen.master, b"q")
        assert screen.process.wait(timeout=15) == 0


def test_it_says_when_the_daemon_is_gone_and_picks_it_up_again(
    folder: MountedFolder, service: DemoServer
) -> None:
    """Stopped, killed with its mount left dead, cleared, mounted anew."""
    with terminal(100, 24, "--interval", "0.2", folder.path) as screen:
        assert screen.shows("budget")
        folder.process.send_signal(signal.SIGSTOP)
        assert screen.shows("does not answer")
        folder.process.send_signal(signal.SIGCONT)
        assert wait_until(lambda: screen.read() or "does not answer" not in screen.screen(), 20)
        folder.process.kill()
        folder.process.wait()
        assert screen.shows("the daemon is gone")
        subprocess.run(["fusermount3", "-uz", str(folder.path)], check=True, timeout=10)
        assert screen.shows("nothing is mounted there")
        with subprocess.Popen(
            folder.arguments,
            env=environment(service.api_key),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as again:
            try:
                assert screen.shows(f"process {again.pid}", 30)
                assert "nothing is mounted" not in screen.screen()
            finally:
                end(again, folder.path)


def test_in_a_pipe_it_prints_lines_and_costs_the_daemon_next_to_nothing(
    folder: MountedFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    """At most 80 columns, no control characters; a look a second is under one per cent of a core."""
    stat = folder.process_directory / "stat"

    def used() -> float:
        fields = stat.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    command = [sys.executable, "-m", "kallglotfs", "top", "--interval", "0.2", str(folder.path)]
    with subprocess.Popen(
        command, env=environment(None), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = [process.stdout.readline() for _ in range(3)]
        before = used()
        lines += [process.stdout.readline() for _ in range(20)]
        spent = used() - before
        # Who stops reading ends it, as `head` does.
        process.stdout.close()
        assert process.wait(timeout=15) == 0
        assert process.stderr.read() == ""
    assert lines[0].split()[:2] == ["TIME", "SERVED/s"]
    assert all(" of 60" in line for line in lines[1:20])
    assert all(len(line) <= 81 and line[:-1].isprintable() for line in lines)
    assert spent / 20 < 0.01, f"{spent} s"
    # Once: a page with rates, which take an interval.
    capsys.readouterr()
    assert main(["top", "--once", "--interval", "0.3", str(folder.path)]) == 0
    page = capsys.readouterr().out
    assert re.search(r"^served +[0-9.]+ \w+ / s", page, re.MULTILINE)
    assert all(len(line) <= 80 and line.isprintable() for line in page.splitlines())


def test_once_on_a_stopped_daemon_is_a_failure(
    folder: MountedFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it is to `status`."""
    folder.process.send_signal(signal.SIGSTOP)
    try:
        assert main(["top", "--once", "--interval", "0.2", str(folder.path)]) == 32
    finally:
        folder.process.send_signal(signal.SIGCONT)
    assert "does not answer" in capsys.readouterr().out


def test_where_nothing_is_mounted_it_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And mount(8)'s code."""
    assert main(["top", str(tmp_path)]) == 32
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "no mount of kallglotfs there" in said.err
