"""One leader per key; the others share its result or its error.

Used by the remote side, so that two hundred readers of one expired lease cost one renewal.

A leader's work is as urgent as the most urgent of those who wait for it.

Threading: the leader works on its own thread with the lock released; followers wait on its future.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import TYPE_CHECKING, Generic, TypeVar

from kallglotfs.errors import Interrupted, NothingToSpare, RateLimited, TimedOut

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from kallglotfs.clock import Deadline

T = TypeVar("T")

#: Seconds a follower waits at least before it looks at how long its leader was held up.
TURN = 0.1


class SingleFlight(Generic[T]):
    """Runs at most one piece of work per key at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[Hashable, tuple[Future[T], Deadline]] = {}

    def run(self, key: Hashable, work: Callable[[], T], deadline: Deadline) -> T:
        """Return `work()`, or the result of the same key's work that is already under way.

        Args:
            key: what makes two pieces of work the same.
            work: called on this thread if it leads.
            deadline: this caller's; a leader's work must respect it itself.

        Raises:
            TimedOut: the caller's time ran out before the leader was done.
            RateLimited: the caller was held up by the rate limit for as long as it may be.
            KallglotError: whatever the leader's work raised.
        """
        while True:
            with self._lock:
                flight = self._flights.get(key)
                if flight is None:
                    future: Future[T] = Future()
                    self._flights[key] = (future, deadline)
            if flight is None:
                return self._lead(key, future, work)
            try:
                return self._follow(flight, deadline)
            except (NothingToSpare, Interrupted):
                # Nobody wanted it when the leader gave up; now somebody does.
                deadline.check()
            except RateLimited:
                raise
            except TimedOut:
                # The leader may have started with less time than we still have.
                deadline.check()

    def _lead(self, key: Hashable, future: Future[T], work: Callable[[], T]) -> T:
        try:
            result = work()
        except BaseException as error:
            self._land(key)
            future.set_exception(error)
            raise
        self._land(key)
        future.set_result(result)
        return result

    def _land(self, key: Hashable) -> None:
        with self._lock:
            del self._flights[key]

    @staticmethod
    def _follow(flight: tuple[Future[T], Deadline], deadline: Deadline) -> T:
        future, leader = flight
        held = leader.held
        deadline.follow(leader)
        try:
            while not future.done():
                deadline.check()
                if deadline.held > leader.most_held:
                    raise RateLimited("the rate limit holds this up for longer than throttle_timeout allows")
                try:
                    future.result(max(TURN, deadline.remaining()))
                except FutureTimeout:
                    now = leader.held
                    deadline.hold(now - held)
                    held = now
            deadline.hold(leader.held - held)
        finally:
            deadline.leave()
        return future.result()
