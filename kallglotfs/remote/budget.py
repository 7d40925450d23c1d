"""The rate limit: one gate that every API request passes.

What the service says is authoritative (`X-RateLimit-*`, `Retry-After`), and what it tells one thread
holds for all: a 429 closes the gate for everybody, and a window that is used up is waited for instead of
being answered with a 429.

Threading: `admit` is called by every thread that is about to send an API request; the lock is held for
arithmetic only, never while sleeping.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from kallglotfs.errors import RateLimited
from kallglotfs.remote.retry import parse_date, parse_retry_after

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kallglotfs.clock import Clock, Deadline

log = logging.getLogger(__name__)

#: Seconds to wait after a 429 that names no time; doubled while they keep coming.
DEFAULT_PAUSE = 1.0
#: Seconds such a pause grows to: the known limits are per minute.
LONGEST_PAUSE = 60.0
#: A reset further off than this (seconds) is taken for nonsense: the known windows last a minute.
LONGEST_WINDOW = 3600.0
#: The part of a window's requests that is kept for who waits, and its least number.
RESERVE, LEAST_RESERVE = 0.25, 3
#: Requests to spare where no limit is known.
UNLIMITED = 1000


class Budget:
    """Says when the next API request may go.

    Args:
        clock: what tells the time.
        throttle_timeout: seconds one call may be held up altogether.
    """

    def __init__(self, clock: Clock, throttle_timeout: float) -> None:
        self._clock = clock
        self._throttle_timeout = throttle_timeout
        self._lock = threading.Lock()
        self._opens = 0.0
        self._remaining: int | None = None
        self._resets = 0.0
        self._limit = 0.0
        self._pause = DEFAULT_PAUSE

    def admit(self, deadline: Deadline) -> None:
        """Wait for the gate to open and take one request from the budget.

        Args:
            deadline: the caller's; pushed out by what is waited here.

        Raises:
            RateLimited: the wait would exceed `throttle_timeout`.
        """
        while True:
            wait = self._take()
            if wait <= 0:
                return
            if deadline.held + wait > self._throttle_timeout:
                raise RateLimited(
                    f"the rate limit asks to wait {wait:.0f} s, more than throttle_timeout allows"
                )
            log.info("rate limit: waiting %.1f s", wait)
            deadline.hold(wait)
            self._clock.sleep(wait)

    def spare(self) -> int:
        """Return how many requests may be spent on what nobody has asked for yet.

        A part of the limit stays in reserve for who asks. A service that states no limit is asked as often as
        there is something to ask.
        """
        with self._lock:
            if self._clock.now() < self._opens:
                return 0
            if self._remaining is None or self._clock.now() >= self._resets:
                return UNLIMITED
            return max(0, self._remaining - max(LEAST_RESERVE, int(self._limit * RESERVE)))

    def learn(self, headers: Mapping[str, str]) -> None:
        """Take over what a response says about the current window."""
        remaining = _number(headers.get("X-RateLimit-Remaining"))
        reset = _number(headers.get("X-RateLimit-Reset"))
        if remaining is None or reset is None:
            return
        left = reset - self._their_time(headers)
        if not 0 < left <= LONGEST_WINDOW:
            return
        limit = _number(headers.get("X-RateLimit-Limit"))
        with self._lock:
            self._limit = limit or max(self._limit, remaining)
            resets = self._clock.now() + left
            same_window = self._remaining is not None and abs(resets - self._resets) < 1.5  # noqa: PLR2004 - whole seconds
            # Answers overtake each other: within a window the lower number is the later one.
            self._remaining = min(int(remaining), self._remaining or 0) if same_window else int(remaining)
            self._resets = resets
            self._pause = DEFAULT_PAUSE

    def refuse(self, headers: Mapping[str, str]) -> None:
        """Close the gate after a 429, for as long as it says."""
        asked = parse_retry_after(headers.get("Retry-After"), self._their_time(headers))
        with self._lock:
            now = self._clock.now()
            if not asked:
                reset = _number(headers.get("X-RateLimit-Reset"))
                left = 0.0 if reset is None else reset - self._their_time(headers)
                asked = left if 0 < left <= LONGEST_WINDOW else self._pause * self._clock.jitter()
                self._pause = min(self._pause * 2, LONGEST_PAUSE)
            self._opens = max(self._opens, now + asked)
            self._remaining = None

    def _take(self) -> float:
        """Return the seconds until a request may go; zero when one was taken."""
        with self._lock:
            now = self._clock.now()
            if now < self._opens:
                return self._opens - now
            if self._remaining is not None and now >= self._resets:
                self._remaining = None
            if self._remaining is None:
                return 0.0
            if self._remaining <= 0:
                return self._resets - now
            self._remaining -= 1
            return 0.0

    def _their_time(self, headers: Mapping[str, str]) -> float:
        return parse_date(headers.get("Date")) or self._clock.wall()


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text else None
    except ValueError:
        return None
    return number if number is None or abs(number) < 1e12 else None  # noqa: PLR2004 - beyond any time
