"""The budget governor: one gate that every API request passes, the most urgent first.

What the service says is authoritative (`X-RateLimit-*`, `Retry-After`), and what it tells one thread holds
for all. `quota.py` reads it, `window.py` knows what is left, `gate.py` honours 429s, `pace.py` says how fast
each class may go. Here is the queue: strictly by class, first come first served within one. Who is promoted,
because somebody more urgent has come to wait for the same work, moves up; who is called off leaves.

Threading: `admit` is called by every thread that is about to send an API request, and waits on one condition,
a leaf but for the callers' tallies, which are asked with it held.
"""

from __future__ import annotations

import itertools
import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kallglotfs.errors import Interrupted, NothingToSpare, RateLimited
from kallglotfs.remote.pace import Pace
from kallglotfs.remote.quota import quota_of
from kallglotfs.urgency import Urgency

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kallglotfs.clock import Clock, Deadline
    from kallglotfs.remote.gate import Pass

log = logging.getLogger(__name__)

#: Seconds after which who is not first in the queue looks around; being woken is the rule.
LOOK = 5.0


@dataclass(slots=True, eq=False)
class _Waiter:
    """One request that wants to be sent."""

    number: int
    deadline: Deadline

    @property
    def place(self) -> tuple[int, int]:
        """Where it stands in the queue; the highest goes first."""
        return self.deadline.urgency(), -self.number


class Budget:
    """Says when the next API request may go.

    Args:
        clock: what tells the time.
        throttle_timeout: seconds one call may be held up altogether.
    """

    def __init__(self, clock: Clock, throttle_timeout: float) -> None:
        self._clock = clock
        self._throttle_timeout = throttle_timeout
        self._condition = threading.Condition()
        self._numbers = itertools.count()
        self._waiting: list[_Waiter] = []
        self._pace = Pace()

    def set_patience(self, seconds: float) -> None:
        """Change how long one call may be held up altogether."""
        with self._condition:
            self._throttle_timeout = seconds
            self._condition.notify_all()

    def admit(self, deadline: Deadline) -> Pass:
        """Wait for a request's turn and take it from the budget.

        Args:
            deadline: of the work, whose urgency decides; pushed out by what is waited here.

        Returns:
            The pass to hand back with `answered`, `refused` or `lost`.

        Raises:
            RateLimited: the wait exceeds `throttle_timeout`, or certainly would.
            NothingToSpare: nobody waits for the work, and it would have to wait.
            Interrupted: nobody wants the work any more.
        """
        deadline.most_held = self._throttle_timeout
        with self._condition:
            waiter = _Waiter(next(self._numbers), deadline)
            self._waiting.append(waiter)
            deadline.watch(self._wake)
            try:
                while True:
                    wait = self._turn(waiter)
                    if wait <= 0:
                        return self._pace.take(deadline.urgency(), self._clock.now())
                    deadline.pause()
                    self._clock.wait(self._condition, wait)
            finally:
                deadline.watch(None)
                deadline.resume()
                self._waiting.remove(waiter)
                self._condition.notify_all()

    def answered(self, given: Pass, headers: Mapping[str, str]) -> None:
        """Take over what an answer says about the current window."""
        with self._condition:
            self._pace.answered(given, quota_of(headers, self._clock.wall()), self._clock.now())
            self._condition.notify_all()

    def refused(self, given: Pass, headers: Mapping[str, str]) -> None:
        """Close the gate after a 429, for as long as it says."""
        with self._condition:
            now = self._clock.now()
            quota = quota_of(headers, self._clock.wall())
            self._pace.refused(given, quota, self._clock.jitter(), now)
            log.info(
                "the API's rate limit is reached (429): nothing is sent for %.0f s",
                self._pace.promised(now),
                extra={"kind": "429"},
            )
            self._condition.notify_all()

    def lost(self, given: Pass) -> None:
        """Take note that a request got no answer."""
        with self._condition:
            self._pace.lost(given)
            self._condition.notify_all()

    def state(self) -> dict[str, float | None]:
        """Return what is known of the budget: limit, what is left, seconds to the reset, how many wait."""
        with self._condition:
            return {**self._pace.state(self._clock.now()), "waiting": len(self._waiting)}

    def forecast(self, requests: int) -> float | None:
        """Return about how many seconds so many requests in bulk take, None while no limit is known."""
        with self._condition:
            return self._pace.forecast(requests, self._clock.now())

    def can_spare(self) -> bool:
        """Tell whether a request may be spent on what nobody has asked for yet."""
        with self._condition:
            return not self._waiting and self._pace.wait(Urgency.PREFETCH, self._clock.now()) <= 0

    def _turn(self, waiter: _Waiter) -> float:
        """Return the seconds to wait before looking again, zero when the request may go."""
        now, deadline = self._clock.now(), waiter.deadline
        if deadline.called_off:
            raise Interrupted("nobody waits for this any more")
        urgency = deadline.urgency()
        first = max(self._waiting, key=lambda each: each.place) is waiter
        wait = self._pace.wait(urgency, now) if first else LOOK
        if wait <= 0:
            return 0.0
        if urgency is Urgency.PREFETCH:
            raise NothingToSpare("the API's budget is kept for what somebody waits for")
        may = self._throttle_timeout - deadline.held
        if may <= 0 or self._pace.promised(now) > may:
            raise RateLimited("the rate limit asks to wait longer than throttle_timeout allows")
        return min(wait, may)

    def _wake(self) -> None:
        with self._condition:
            self._condition.notify_all()
