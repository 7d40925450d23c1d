"""Do we serve? What the watchdog asks before it says so.

A mount that waits is healthy: for a network that is down, for a storage that stalls, for the rate limit, with
every thread of libfuse taken by readers who wait. Ill is what waits for longer than anything may: a deadlock,
threads that are stuck, an interpreter that does not get on.

Used by `watchdog.py`, on its thread.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from kallglotfs.mountpoint import DEAD

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor, Future

    from kallglotfs.calls import Calls

#: Asks the mount, and tells the errno. Of the interpreter only what this needs: 15 ms.
_QUESTION = "import os, sys\ntry: os.statvfs(sys.argv[1])\nexcept OSError as error: sys.exit(error.errno)"
#: Seconds that a call or a piece of work may take beyond its bound before it counts as stuck.
GRACE = 60.0


class Question:
    """Asks what is mounted at a path for an answer, in a program of its own.

    This process must not look at its own mount (killed meanwhile, it would never be gone), and a fork of a
    process with threads is not safe. The program gets nothing of ours but the path.

    Args:
        path: the mount point.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._asking: subprocess.Popen[bytes] | None = None

    def answer(self, seconds: float) -> int | None:
        """Ask; an earlier question that cannot be ended is waited for instead.

        Args:
            seconds: how long to wait.

        Returns:
            The errno of the answer, 0 for a good one; None when none came in time.
        """
        if self._asking is not None and self._asking.poll() is not None:
            # Of the last time, and ended by us.
            self._asking = None
        if self._asking is None:
            self._asking = subprocess.Popen(  # noqa: S603 - no shell
                [sys.executable, "-I", "-S", "-c", _QUESTION, self._path],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={},
            )
        try:
            code = self._asking.wait(seconds)
        except subprocess.TimeoutExpired:
            # Who waits for an answer that is being made is in the kernel's hands until it comes.
            self._asking.kill()
            return None
        self._asking = None
        return code if code >= 0 else None


class Begun:
    """Tells whether an executor still begins work, by a piece of work that does nothing.

    Args:
        executor: which one.
        progress: a number that changes while its threads get on with what they have, however slowly.
    """

    def __init__(self, executor: Executor, progress: Callable[[], int]) -> None:
        self._executor = executor
        self._progress = progress
        self._work: Future[None] | None = None
        self._seen = progress()
        self._since = time.monotonic()

    def overdue(self) -> float:
        """Return for how many seconds it has neither begun anything nor got on."""
        progress = self._progress()
        if self._work is None or self._work.done() or progress != self._seen:
            self._seen, self._since = progress, time.monotonic()
        if self._work is None or self._work.done():
            try:
                self._work = self._executor.submit(lambda: None)
            except RuntimeError:
                # It is being shut down: we are ending.
                self._work = None
        return time.monotonic() - self._since


class SelfCheck:
    """Looks whether we serve.

    Args:
        ask: asks the mount for an answer: seconds to wait; returns as `Question.answer` does.
        calls: under way.
        threads: how many calls there can be at one time.
        bound: returns the seconds a call may take by the settings, which may change.
        overdue: returns the seconds for which the threads that fetch have not got on.
    """

    def __init__(
        self,
        ask: Callable[[float], int | None],
        calls: Calls,
        threads: int,
        bound: Callable[[], float],
        overdue: Callable[[], float],
    ) -> None:
        self._ask = ask
        self._calls = calls
        self._threads = threads
        self._bound = bound
        self._longest = 0.0
        self._overdue = overdue

    def trouble(self, patience: float) -> str:
        """Look.

        Args:
            patience: seconds the mount may take to answer.

        Returns:
            What is wrong, in one line; empty when we serve.
        """
        return self._overlong() or self._unanswered(patience)

    def _overlong(self) -> str:
        # Never less than it was: a call goes on as it began.
        longest = self._longest = max(self._longest, self._bound() + GRACE)
        oldest, overdue = self._calls.oldest(), self._overdue()
        if oldest > longest:
            return f"a call is under way for {oldest:.0f} s, none may take longer than {longest:.0f} s"
        if overdue > longest:
            return f"the threads that fetch have not got on for {overdue:.0f} s"
        return ""

    def _unanswered(self, patience: float) -> str:
        try:
            number = self._ask(patience)
        except OSError:
            # No process to be had: that says something of the machine, and nothing of us.
            return ""
        if number in DEAD:
            return f"the mount is dead ({os.strerror(number)})"
        # An error is an answer too; or the path leads elsewhere by now, which is not ours to judge. And where
        # all threads wait, each within its time, who asks has to wait as well.
        if number is not None or self._calls.count() >= self._threads:
            return ""
        return f"the mount has not answered for {patience:.0f} s ({self._calls.count()} calls under way)"
