"""How a caller waits for work that other threads do.

Used by every callback that may need the network. The work has its own `Deadline`; the caller has this:
its own time limit, and a question it asks now and then, whether anybody still wants the answer.

Threading: one `Patience` belongs to one call on one thread. Its question must be asked on that thread
(libfuse keeps the request in thread-local storage), which is why waiting is done in short turns.
"""

from __future__ import annotations

from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import TYPE_CHECKING, Protocol, TypeVar

from kallglotfs.errors import Interrupted, RateLimited, TimedOut
from kallglotfs.urgency import Bulk

if TYPE_CHECKING:
    from collections.abc import Callable

    from kallglotfs.clock import Clock, Deadline
    from kallglotfs.urgency import Caller

T = TypeVar("T")

#: Seconds between two looks at whether the caller was killed: gone in 0.1 s on average.
TURN = 0.2
#: Seconds the work may be late, so that its own, better error is the one that is told.
GRACE = 0.5


class Stalled(Exception):
    """The work one waits for makes no progress; another try may."""


class Executor(Protocol):
    """Runs work on another thread."""

    def submit(self, work: Callable[[], T], /) -> Future[T]:
        """Return the future of `work`."""


class Patience:
    """The time one call may take and the way out of it.

    Args:
        clock: what tells the time.
        timeout: seconds the whole call may take, waits for the rate limit not counted.
        interrupted: tells whether the caller is gone.
        caller: tells who the caller is, when that matters; None where it never does.
        throttle_timeout: seconds the whole call may wait for the rate limit.
        spent: seconds of `timeout` that the same call has taken before.
    """

    def __init__(
        self,
        clock: Clock,
        timeout: float,
        interrupted: Callable[[], bool],
        caller: Callable[[], Caller] | None = None,
        throttle_timeout: float = float("inf"),
        spent: float = 0.0,
    ) -> None:
        self._clock = clock
        self._timeout = timeout
        self._interrupted = interrupted
        self._throttle_timeout = throttle_timeout
        self._ends = clock.now() + max(0.0, timeout - spent) + GRACE
        self._find_caller = caller
        self._caller: Caller | None = None
        self._may_be_held = throttle_timeout + GRACE

    def anew(self) -> Patience:
        """Return the patience of another call by the same program."""
        return Patience(
            self._clock, self._timeout, self._interrupted, self._find_caller, self._throttle_timeout
        )

    def caller(self) -> Caller | None:
        """Return who waits, None where nobody can tell; asked on the call's own thread."""
        if self._caller is None and self._find_caller is not None:
            self._caller = self._find_caller()
        return self._caller

    def in_bulk(self) -> None:
        """Take note that the caller is seen to go through many recordings, whoever they are."""
        self._caller = Bulk()

    @property
    def spent(self) -> float:
        """Seconds of `timeout` that the call has taken so far."""
        return self._timeout + GRACE - (self._ends - self._clock.now())

    def wait(self, future: Future[T], deadline: Deadline, stalled: Callable[[], bool] = lambda: False) -> T:
        """Return what `future` brings.

        Args:
            future: the answer to wait for.
            deadline: the work's own deadline; what it is held up by the rate limit, we wait longer.
            stalled: asked now and then whether it is time to look for the answer elsewhere.

        Raises:
            TimedOut: no answer in time.
            Stalled: as `stalled` says.
            RateLimited: the rate limit held the call up for as long as it may.
            Interrupted: nobody wants the answer any more.
            KallglotError: whatever the work raised.
        """
        held = deadline.held
        while not future.done():
            waited = deadline.held - held
            left = self._ends + waited - self._clock.now()
            if left <= 0:
                raise deadline.reason(TimedOut(f"no answer within {self._timeout:g} s"))
            if waited > self._may_be_held:
                raise RateLimited("the rate limit holds this up for longer than throttle_timeout allows")
            try:
                future.result(min(left, TURN))
            except FutureTimeout:
                if not future.done() and self._interrupted():
                    raise Interrupted("the caller is gone") from None
                if not future.done() and stalled():
                    self._count_held(deadline.held - held)
                    raise Stalled from None
        self._count_held(deadline.held - held)
        return future.result()

    def _count_held(self, seconds: float) -> None:
        self._ends += seconds
        self._may_be_held -= seconds
