"""How fast each class of requests goes through the service's window. Arithmetic only.

- A person's request goes while there is one.
- Bulk goes by a bucket that fills at the rate that spreads what is left over the rest of the window, less a
  reserve for persons, which melts as the window ends, and less what others who share the budget will take.
- Prefetch takes from the same bucket, only while it is well filled, and never waits. Background leaves half
  of the window alone.

Threading: none; `Budget` calls with its lock held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kallglotfs.remote.gate import Gate
from kallglotfs.remote.window import Window
from kallglotfs.urgency import Urgency

if TYPE_CHECKING:
    from kallglotfs.remote.gate import Pass
    from kallglotfs.remote.quota import Quota

#: The part of the limit that each class leaves to persons.
SHARE = {Urgency.BULK: 0.25, Urgency.PREFETCH: 0.25, Urgency.BACKGROUND: 0.5}
#: Requests left to persons at the very end: for the seconds in which nobody knows which window it is.
LEAST = 2
#: The part of the limit that may go at once after a quiet time.
BURST = 1 / 8
#: Requests at a time with which a new window begins that is certain to have begun.
FEW = 4
#: Seconds after which a wait is reckoned anew: the reserve melts and the rate rises meanwhile.
TURN = 1.0
#: Seconds that no wait is shorter than.
TICK = 0.01


class Pace:
    """Says how long a request has to wait."""

    def __init__(self) -> None:
        self._gate = Gate()
        self._window = Window(self._gate.under_way)
        self._tokens: float | None = None
        self._filled_at = 0.0

    def wait(self, urgency: Urgency, now: float) -> float:
        """Return the seconds until a request may go, zero for at once."""
        if self._window.turn_over(now) and self._window.told:
            self._gate.at_a_time(FEW if self._window.certain else 1)
        held = self._gate.wait(now)
        if held or self._window.limit is None:
            return held
        if self._window.remaining < 1:
            # What we merely suppose stops no person.
            supposed = not self._window.told and urgency is Urgency.INTERACTIVE
            return 0.0 if supposed else max(TICK, self._window.left(now))
        return 0.0 if urgency is Urgency.INTERACTIVE else self._spread(urgency, now)

    def state(self, now: float) -> dict[str, float | None]:
        """Return what is known of the window."""
        window = self._window
        if window.limit is None:
            return {"limit": None, "remaining": None, "resets_in": None}
        return {
            "limit": round(window.limit),
            "remaining": max(0, round(window.remaining)),
            "resets_in": round(max(0.0, window.left(now)), 1),
        }

    def promised(self, now: float) -> float:
        """Return the seconds for which the service itself says that nobody may send anything."""
        used_up = self._window.left(now) if self._window.used_up else 0.0
        return max(0.0, self._gate.closed(now), used_up)

    def take(self, urgency: Urgency, now: float) -> Pass:
        """Give a pass, after `wait` returned zero."""
        self._window.took(now)
        if urgency is not Urgency.INTERACTIVE and self._tokens is not None:
            self._tokens = max(0.0, self._tokens - 1)
        return self._gate.take(now)

    def answered(self, given: Pass, quota: Quota, now: float) -> None:
        """Take note of an answer that is no 429."""
        self._window.learn(given, quota, now)
        self._gate.passed(given, now)
        self._gate.give_back(given)

    def refused(self, given: Pass, quota: Quota, jitter: float, now: float) -> None:
        """Take note of a 429; `jitter` is a factor for a pause that is ours to choose."""
        self._window.learn(given, quota, now)
        pause = quota.pause or None
        if pause is None and self._window.used_up and self._window.left(now) > 0:
            pause = self._window.left(now)
        elif pause is not None and quota.credible:
            self._window.corrected(quota, pause)
        news = self._gate.refused(given, pause, jitter, now, credible=quota.credible)
        if news:
            self._window.refused(self._gate.closed(now) if quota.credible else 0.0, now)
        self._tokens = min(1.0, self._tokens or 0.0)
        self._filled_at = now
        self._gate.give_back(given)

    def lost(self, given: Pass) -> None:
        """Take note that a request will not be answered."""
        self._gate.give_back(given)

    def rate(self, now: float) -> float:
        """Return the requests per second at which bulk goes now."""
        limit = self._window.limit
        if limit is None:
            return float("inf")
        left = self._time_left(now)
        free = max(0.0, self._window.remaining - self._reserve(Urgency.BULK, left, limit))
        if self._window.slides:
            # What was used comes back bit by bit: full speed, and less as the reserve comes near.
            return limit / self._window.length * min(1.0, free / max(1.0, limit * BURST))
        # Others are left half at the most: two that give way to each other would both get nothing.
        return (free - min(self._window.others() * left, free / 2)) / left

    def forecast(self, requests: int, now: float) -> float | None:
        """Return about how many seconds so many bulk requests take, None while no limit is known."""
        window = self._window
        if window.limit is None:
            return None
        here = 0.0 if window.slides else max(0.0, window.remaining - _least(window.limit))
        beyond = max(0.0, requests - here)
        if beyond:
            # What a window gives in all: the reserve melts to its least.
            left = 0.0 if window.slides else self._time_left(now)
            return left + beyond / max(1.0, window.limit - _least(window.limit)) * window.length
        spread = max(0.0, requests - max(1.0, window.limit * BURST))
        return self._time_left(now) * spread / here if spread else 0.0

    def _spread(self, urgency: Urgency, now: float) -> float:
        limit = self._window.limit
        assert limit is not None
        most = max(1.0, limit * BURST)
        rate = self.rate(now)
        if self._tokens is None:
            self._tokens, self._filled_at = most, now
        self._tokens = min(most, self._tokens + max(0.0, now - self._filled_at) * rate)
        self._filled_at = max(now, self._filled_at)
        need = 1.0 if urgency is not Urgency.PREFETCH else min(2.0, most)
        left, remaining = self._time_left(now), self._window.remaining
        enough = remaining - self._reserve(urgency, left, limit) >= 1
        if enough and self._tokens >= need - TICK:
            return 0.0
        if remaining - 1 < _least(limit):
            return max(TICK, left)
        filled = (need - self._tokens) / rate if rate else TURN
        return max(TICK, min(left, filled if enough else TURN, TURN))

    def _reserve(self, urgency: Urgency, left: float, limit: float) -> int:
        """Return the requests that a class leaves to persons now."""
        # What nobody waits for must not eat what a person will want late in the window either.
        lasting = urgency is Urgency.PREFETCH or self._window.slides
        part = 1.0 if lasting else min(1.0, left / self._window.length)
        return max(_least(limit), int(SHARE[urgency] * limit * part))

    def _time_left(self, now: float) -> float:
        return max(0.1, self._window.left(now))


def _least(limit: float) -> int:
    return min(LEAST, int(limit // 2))
