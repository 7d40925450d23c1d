"""The program that waits for us: is it being stopped, and whose is it?

libfuse tells that a request was interrupted, but not why: a harmless signal (a profiler's timer, a child
that ended) interrupts as well, and giving up on it would fail a read for no reason. `/proc` tells the rest.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

#: Signals whose default action does not end a process.
_HARMLESS = frozenset(
    {
        signal.SIGCHLD,
        signal.SIGCONT,
        signal.SIGURG,
        signal.SIGWINCH,
        signal.SIGSTOP,
        signal.SIGTSTP,
        signal.SIGTTIN,
        signal.SIGTTOU,
    }
)
#: Signals by which somebody asks a program to stop, whether it catches them or not.
_STOP = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGKILL})


def _mask(signals: frozenset[signal.Signals]) -> int:
    return sum(1 << (number - 1) for number in signals)


_HARMLESS_MASK = _mask(_HARMLESS)
_STOP_MASK = _mask(_STOP)


def is_gone(pid: int, proc: Path = Path("/proc")) -> bool:
    """Tell whether a thread has ended: what the kernel reads for it in the background is not interrupted.

    Args:
        pid: the thread, as FUSE names the caller; 0 (another PID namespace) cannot be told and is not.
        proc: where procfs is.
    """
    if pid <= 0:
        return False
    try:
        # Not by procfs alone, where `hidepid` may hide who is there.
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    try:
        # proc(5): the state comes after the name, which is in parentheses and may hold anything.
        return (proc / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except (OSError, IndexError):
        return False


def is_stopping(pid: int, proc: Path = Path("/proc")) -> bool:
    """Tell whether a thread is gone, was killed, or has been asked to stop.

    Args:
        pid: the thread, as FUSE names the caller; 0 (another PID namespace) cannot be told and is not.
        proc: where procfs is.
    """
    if pid <= 0:
        return False
    try:
        status = (proc / str(pid) / "status").read_text()
    except OSError:
        return is_gone(pid, proc)
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    try:
        pending = int(fields["SigPnd"], 16) | int(fields["ShdPnd"], 16)
        caught, ignored, blocked = (int(fields[name], 16) for name in ("SigCgt", "SigIgn", "SigBlk"))
    except (KeyError, ValueError):
        return False
    fatal = pending & ~caught & ~ignored & ~blocked & ~_HARMLESS_MASK
    asked = pending & _STOP_MASK & ~ignored & ~blocked
    return bool(fatal | asked)


@dataclass(frozen=True, slots=True)
class Group:
    """What a process belongs to: its process group (a shell's job), and its session (a terminal)."""

    number: int
    session: int


def group_of(thread: int, proc: Path = Path("/proc")) -> Group | None:
    """Return the process group and session of a thread; 15 us.

    Args:
        thread: the thread, as FUSE names the caller; 0 where it is of another PID namespace.
        proc: where procfs is.

    Returns:
        None where it cannot be told, or is gone.
    """
    if thread <= 0:
        return None
    try:
        # proc(5): pid (name) state ppid pgrp session …; the name may hold anything, brackets too.
        fields = (proc / str(thread) / "stat").read_bytes().rpartition(b")")[2].split()
        return Group(int(fields[2]), int(fields[3]))
    except (OSError, ValueError, IndexError):
        return None
