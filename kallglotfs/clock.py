"""Time, injected: nothing else in the package reads a clock.

Threading: a `Deadline` is extended by the thread that works and read by the threads that wait; both are
single float assignments.
"""

from __future__ import annotations

import random
import time

from kallglotfs.errors import KallglotError, TimedOut


class Clock:
    """The machine's clocks, and what the service has told of its own. Tests replace it."""

    #: What to add to `now` for the service's time, None until it has told it.
    _theirs: float | None = None

    def now(self) -> float:
        """Return seconds that also pass while the machine is suspended (a lease does not wait for us)."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall(self) -> float:
        """Return seconds since the epoch, as this machine believes."""
        return time.time()

    def learn(self, date: float | None) -> None:
        """Take note of what time it is by the service.

        Args:
            date: seconds since the epoch, just received; None where the service did not say.
        """
        if date is not None:
            self._theirs = date - self.now()

    def theirs(self) -> float:
        """Return seconds since the epoch as the service believes: what its timestamps are to be held against.

        Counted on from its last answer by `now`, so that setting this machine's clock changes nothing; as
        this machine believes until there was an answer.
        """
        return self.wall() if self._theirs is None else self._theirs + self.now()

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""
        time.sleep(seconds)

    def jitter(self) -> float:
        """Return a factor in [0.5, 1) that keeps retries of many clients apart."""
        return random.uniform(0.5, 1.0)  # noqa: S311 - not a secret


class Deadline:
    """The end of one piece of work, which waiting for the rate limit pushes out.

    Args:
        clock: what tells the time.
        seconds: how long the work may take.
    """

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._ends = clock.now() + seconds
        self._called_off = False
        #: Seconds this work was told to wait by the service; they do not count as its own time.
        self.held = 0.0
        #: What the work is trying again after: the better answer to who cannot wait for its end.
        self.trouble: KallglotError | None = None
        self._looked = clock.now()

    def remaining(self) -> float:
        """Return the seconds left, never below zero."""
        return max(0.0, self._ends - self._clock.now())

    def check(self) -> None:
        """Raise `TimedOut` when no time is left. Called by whoever works before each wait for bytes."""
        self._looked = self._clock.now()
        if self._looked >= self._ends:
            raise TimedOut(f"no answer within {self._seconds:g} s")

    @property
    def silence(self) -> float:
        """Seconds since the work looked at its time: for so long it has waited for one thing."""
        return self._clock.now() - self._looked

    def pause(self, seconds: float, trouble: KallglotError) -> None:
        """Take note that the work is about to rest for `seconds` before it tries again."""
        self._looked = self._clock.now() + seconds
        self.trouble = trouble

    def reason(self, error: TimedOut) -> KallglotError:
        """Return why the time is over: what the work was trying again after, if anything, else `error`."""
        return error if self.trouble is None else self.trouble.with_traceback(None)

    def hold(self, seconds: float) -> None:
        """Push the end out by `seconds`, which the service asked us to wait."""
        self._looked = self._clock.now() + seconds
        self._ends += seconds
        self.held += seconds

    def call_off(self) -> None:
        """Leave no time at all, whatever comes: nobody wants the answer any more."""
        self._called_off = True
        self._ends = float("-inf")

    def restart(self) -> None:
        """Count anew from now: the work has made progress."""
        self.trouble = None
        self._looked = self._clock.now()
        if not self._called_off:
            self._ends = self._looked + self._seconds
