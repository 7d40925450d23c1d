"""Time, injected: nothing else in the package reads a clock.

Threading: a `Deadline` is worked on by one thread and read, joined and called off by those that wait; every
step is a single assignment, or an append or pop of a deque.
"""

from __future__ import annotations

import random
import time
from collections import deque
from typing import TYPE_CHECKING

from kallglotfs.errors import TimedOut
from kallglotfs.urgency import Urgency

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from kallglotfs.errors import KallglotError
    from kallglotfs.urgency import Caller

#: Callers remembered who wait for one piece of work: the latest decide.
MOST_JOINED = 64


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

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        """Let `seconds` pass, or less where `condition`, which the caller holds, is notified."""
        condition.wait(seconds)

    def jitter(self) -> float:
        """Return a factor in [0.5, 1) that keeps retries of many clients apart."""
        return random.uniform(0.5, 1.0)  # noqa: S311 - not a secret


class Deadline:
    """The end of one piece of work, which waiting for the rate limit pushes out; and how urgent the work is.

    Args:
        clock: what tells the time.
        seconds: how long the work may take.
        urgency: of the work as such.
        caller: who waits for it, where that decides.
    """

    def __init__(
        self,
        clock: Clock,
        seconds: float,
        urgency: Urgency = Urgency.INTERACTIVE,
        caller: Caller | None = None,
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self._ends = clock.now() + seconds
        #: Seconds this work was held up before, and since when it is held up now.
        self._hold: tuple[float, float | None] = (0.0, None)
        #: Seconds it may be held up altogether, as far as the budget has said.
        self.most_held = float("inf")
        self._urgency = urgency if caller is None else Urgency.BACKGROUND
        #: Who waits and has not been counted yet; a stream of hours is joined at every read.
        self._joined: deque[Caller] = deque((caller,) if caller else (), MOST_JOINED)
        self._leader: Deadline | None = None
        self._wake: Callable[[], None] | None = None
        #: Whether nobody wants the result any more.
        self.called_off = False
        #: What the work is trying again after: the better answer to who cannot wait for its end.
        self.trouble: KallglotError | None = None
        self._looked = clock.now()

    @property
    def held(self) -> float:
        """Seconds this work was told to wait by the service; they do not count as its own time."""
        before, since = self._hold
        return before if since is None else before + (self._clock.now() - since)

    def remaining(self) -> float:
        """Return the seconds left, never below zero."""
        return max(0.0, self._ends + self.held - self._clock.now())

    def check(self) -> None:
        """Raise `TimedOut` when no time is left. Called by whoever works before each wait for bytes."""
        self._looked = self._clock.now()
        if self.remaining() <= 0:
            raise TimedOut(f"no answer within {self._seconds:g} s")

    @property
    def silence(self) -> float:
        """Seconds since the work looked at its time: for so long it has waited for one thing."""
        return 0.0 if self._hold[1] is not None else self._clock.now() - self._looked

    def rest(self, seconds: float, trouble: KallglotError) -> None:
        """Take note that the work is about to rest for `seconds` before it tries again."""
        self._looked = self._clock.now() + seconds
        self.trouble = trouble

    def reason(self, error: TimedOut) -> KallglotError:
        """Return why the time is over: what the work was trying again after, if anything, else `error`."""
        return error if self.trouble is None else self.trouble.with_traceback(None)

    def hold(self, seconds: float) -> None:
        """Push the end out by `seconds`, which the service asked us to wait."""
        before, since = self._hold
        self._looked = self._clock.now() + seconds
        self._hold = (before + seconds, since)

    def pause(self) -> None:
        """Let time pass that does not count, until `resume`."""
        if self._hold[1] is None:
            self._hold = (self._hold[0], self._clock.now())

    def resume(self) -> None:
        """Let time count again."""
        self._hold = (self.held, None)
        self._looked = self._clock.now()

    def restart(self) -> None:
        """Count anew from now: the work has made progress."""
        self.trouble = None
        self._looked = self._clock.now()
        if not self.called_off:
            self._ends = self._looked + self._seconds - self.held

    # How urgent it is.

    def urgency(self) -> Urgency:
        """Return how urgent it is now; called when it needs a request, which counts for those who wait."""
        while self._joined and self._urgency < Urgency.INTERACTIVE:
            self._urgency = max(self._urgency, self._joined.popleft().claim())
        return self._urgency

    def join(self, caller: Caller | None) -> None:
        """Take note that somebody comes to wait for the work; None for a person of whom no more is known."""
        leader, wake = self._leader, self._wake
        if leader is not None:
            leader.join(caller)
        if caller is None:
            self.rise(Urgency.INTERACTIVE)
        else:
            self._joined.append(caller)
            if wake is not None:
                wake()

    def follow(self, leader: Deadline) -> None:
        """Make another's work, which brings the same result, as urgent as this is and becomes."""
        self._leader = leader
        for caller in tuple(self._joined):
            leader.join(caller)
        leader.rise(self._urgency)

    def rise(self, urgency: Urgency) -> None:
        """Make it as urgent as `urgency` at least."""
        if urgency > self._urgency:
            self._urgency = urgency
            if self._wake is not None:
                self._wake()

    def leave(self) -> None:
        """Be done with `follow`."""
        self._leader = None

    def watch(self, wake: Callable[[], None] | None) -> None:
        """Have `wake` called when somebody joins, or the work is called off; None for no more."""
        self._wake = wake

    def call_off(self) -> None:
        """Leave no time at all, whatever comes: nobody wants the result any more."""
        self.called_off = True
        self._ends = float("-inf")
        if self._wake is not None:
            self._wake()
