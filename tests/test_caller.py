"""Telling a caller that is being stopped from one that was merely signalled."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from conftest import wait_until
from kallglotfs.caller import is_gone, is_stopping

if TYPE_CHECKING:
    from pathlib import Path


def procfs(folder: Path, pending: int = 0, caught: int = 0, ignored: int = 0) -> Path:
    """Write the status of thread 42."""
    (folder / "42").mkdir()
    (folder / "42" / "status").write_text(
        f"Name:\tx\nSigPnd:\t{0:016x}\nShdPnd:\t{pending:016x}\nSigBlk:\t{0:016x}\n"
        f"SigIgn:\t{ignored:016x}\nSigCgt:\t{caught:016x}\n"
    )
    return folder


def bit(number: int) -> int:
    """Return a signal's bit in procfs's masks."""
    return 1 << (number - 1)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGSEGV])
def test_a_signal_that_ends_a_program_stops_it(tmp_path: Path, number: int) -> None:
    """Pending, not caught, not ignored."""
    assert is_stopping(42, procfs(tmp_path, pending=bit(number)))


@pytest.mark.parametrize("number", [signal.SIGCHLD, signal.SIGURG, signal.SIGWINCH])
def test_a_harmless_signal_does_not(tmp_path: Path, number: int) -> None:
    """Its default action ends nothing."""
    assert not is_stopping(42, procfs(tmp_path, pending=bit(number)))


def test_a_timer_that_a_program_handles_does_not(tmp_path: Path) -> None:
    """A profiler's SIGALRM fails no read."""
    alarm = bit(signal.SIGALRM)
    assert not is_stopping(42, procfs(tmp_path, pending=alarm, caught=alarm))


def test_control_c_stops_even_a_program_that_handles_it(tmp_path: Path) -> None:
    """Python catches SIGINT; its user still wants out."""
    interrupt = bit(signal.SIGINT)
    assert is_stopping(42, procfs(tmp_path, pending=interrupt, caught=interrupt))


def test_a_thread_that_is_gone_is_stopped_and_an_unknown_one_is_not(tmp_path: Path) -> None:
    """PID 0 is what FUSE says of another PID namespace; whom procfs hides is there all the same."""
    with subprocess.Popen(["true"]) as ended:
        # Ended, but not waited for: what is left of it wants nothing.
        assert wait_until(lambda: is_gone(ended.pid))
        assert not is_gone(ended.pid, tmp_path)
        ended.wait()
    assert is_gone(ended.pid, tmp_path)
    assert is_stopping(ended.pid, tmp_path)
    for pid in (0, os.getpid(), threading.get_native_id()):
        assert not is_stopping(pid)
        assert not is_gone(pid)
    assert not is_stopping(os.getpid(), tmp_path)
