"""The gate that a 429 closes for everybody, and the care with which it opens again. Arithmetic only.

After a pause requests go one, two, four at a time, each step on an answer that is no 429: whatever was
believed too early costs one 429, not one for each of those who wait.

Threading: none; `Budget` calls with its lock held.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Seconds to wait after a 429 that names no time; doubled while they keep coming.
FIRST_PAUSE = 1.0
#: Seconds such a pause grows to: the known limits are per minute.
LONGEST_PAUSE = 60.0
#: Seconds between two tries while the service asks for a pause that nobody can mean.
PROBE = 10.0
#: Seconds after which a request that is on its way holds up no other any more.
SLOW = 2.0
#: Requests at a time from which on they are not counted any more.
MANY = 64


@dataclass(slots=True, eq=False)
class Pass:
    """The right to send one request.

    Attributes:
        at: when it was given.
    """

    at: float


class Gate:
    """Open, or closed until a moment."""

    def __init__(self) -> None:
        self._opens = float("-inf")
        self._closed_at = float("-inf")
        self._credible = True
        self._probe_at = float("-inf")
        self._pause = FIRST_PAUSE
        self._at_a_time: int | None = None
        #: The passes whose requests have not been answered.
        self.under_way: list[Pass] = []

    def wait(self, now: float) -> float:
        """Return the seconds until it lets one through."""
        closed = self.closed(now)
        if closed:
            return closed
        if self._at_a_time is not None:
            recent = [each.at for each in self.under_way if now - each.at < SLOW]
            if len(recent) >= self._at_a_time:
                return recent[0] + SLOW - now
        return 0.0

    def closed(self, now: float) -> float:
        """Return the seconds that the service has asked nobody to send anything."""
        if now >= self._opens or (not self._credible and now >= self._probe_at):
            return 0.0
        return self._opens - now

    def take(self, now: float) -> Pass:
        """Let one through."""
        if now < self._opens:
            self._probe_at = now + PROBE
        given = Pass(now)
        self.under_way.append(given)
        return given

    def give_back(self, given: Pass) -> None:
        """Take note that a request has been answered, or never will be."""
        if given in self.under_way:
            self.under_way.remove(given)

    def at_a_time(self, count: int) -> None:
        """Let no more through at first, and see what the service says."""
        self._at_a_time = count

    def passed(self, given: Pass, now: float) -> None:
        """Take note of an answer that is no 429."""
        if given.at <= self._closed_at:
            return
        self._pause = FIRST_PAUSE
        self._opens = min(self._opens, now)
        self._credible = True
        if self._at_a_time is not None:
            self._at_a_time = self._at_a_time * 2 if self._at_a_time < MANY else None

    def refused(self, given: Pass, pause: float | None, jitter: float, now: float, *, credible: bool) -> bool:
        """Close after a 429.

        Args:
            given: the request's pass.
            pause: seconds that the service asks for, None where it names no time to come.
            jitter: a factor for a pause that is ours to choose.
            now: the time.
            credible: whether the service can mean that pause; one it cannot mean is probed.

        Returns:
            False when the request was under way already when the gate was closed: that is no news.
        """
        news = given.at > self._closed_at
        self._closed_at = now
        self._at_a_time = 1
        if pause is None:
            pause = self._pause * jitter if news else 0.0
            self._pause = min(self._pause * 2, LONGEST_PAUSE) if news else self._pause
        if credible and self._credible:
            self._opens = max(self._opens, now + pause)
        else:
            self._opens = now + pause
        self._credible = credible
        self._probe_at = now + PROBE
        return news
