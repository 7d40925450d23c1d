"""The service's window as far as it is known: how many requests are left, until when. Arithmetic only.

The service's own numbers are authoritative. Where it tells only some of them, the rest is assumed; where it
tells none, nothing is known until the first 429, and from then on what we had sent stands for its limit.

Times are whole seconds on the wire. A Date header is never ahead of the sender's time, and a reset may be
rounded down: the window may last `ROUNDING` longer than their difference, and no request may fall into that.

Threading: none; `Budget` calls with its lock held.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from kallglotfs.remote.quota import LONGEST_WINDOW

if TYPE_CHECKING:
    from kallglotfs.remote.gate import Pass
    from kallglotfs.remote.quota import Quota

#: Seconds of a window where nothing tells it: the known limits are per minute.
USUAL = 60.0
#: Seconds a window may last longer than the service says in whole seconds.
ROUNDING = 1.0
#: Seconds by which two statements of the same reset may differ.
SAME = 1.5
#: Seconds before the reset, at least, at which a new window is not a matter of rounding.
SLID = 2.5
#: Times that the reset has moved on within a window, after which the window is taken to slide.
SLIDES = 3
#: The part of a supposed limit that is tried beyond it when a window has been used up without a 429.
MORE = 1 / 8
#: Requests that must have been granted before a 429 for a limit to be supposed. After fewer, somebody else
#: may have used the window up, or the service have had a bad moment: opening the gate with care is enough.
TELLING = 4
#: Requests of ours that are remembered, to be counted at a 429.
REMEMBERED = 10_000


class Window:
    """What is left of the budget.

    Args:
        under_way: the passes whose requests have not been answered; the gate's own list.
    """

    def __init__(self, under_way: list[Pass]) -> None:
        self._under_way = under_way
        #: Requests per window, None while nothing is known.
        self.limit: float | None = None
        #: Whether the service tells what is left; else it is our own count.
        self.told = False
        #: Seconds that a window lasts.
        self.length = USUAL
        self._longest_left = 0.0
        self._low = 0.0
        self._low_at = 0.0
        self._resets = float("inf")
        self._name: float | None = None
        #: Whether no answer has spoken of this window yet: it was begun because the last one ended.
        self._assumed = True
        self._began = 0.0
        self._dated = False
        self._late = 0.0
        self._refused = False
        self._slides = 0
        self._sent: deque[float] = deque(maxlen=REMEMBERED)
        # How many requests of this window there were when it was first seen, and what became of them.
        self._base = 0.0
        self._answered = 0
        self._others_before = 0.0

    @property
    def remaining(self) -> float:
        """Requests left, those under way taken off: they may or may not have been counted yet."""
        return self._low - len(self._under_way) if self.told else self._low

    @property
    def used_up(self) -> bool:
        """Whether the service itself says that nothing is left."""
        return self.told and self._low < 1

    @property
    def slides(self) -> bool:
        """Whether the reset moves on with every answer."""
        return self._slides >= SLIDES

    @property
    def certain(self) -> bool:
        """Whether its end is by the service's own clock."""
        return self._dated

    def left(self, now: float) -> float:
        """Return the seconds until the next window has begun for certain."""
        return self._resets + ROUNDING - now

    def others(self) -> float:
        """Return the requests per second that others who share the budget make.

        What was seen in earlier windows counts like a quarter of a window.
        """
        took = max(0.0, self._base - self._low - self._answered - len(self._under_way))
        before = self.length / 4
        return (took + self._others_before * before) / (max(0.0, self._low_at - self._began) + before)

    def took(self, now: float) -> None:
        """Take note that a request is about to be sent."""
        self._sent.append(now)
        if not self.told:
            self._low -= 1

    def turn_over(self, now: float) -> bool:
        """Begin the next window if this one is over; tells whether it did."""
        if self.limit is None or self.left(now) > 0:
            return False
        if not self.told and self._low < 1 and not self._refused:
            self.limit += max(1.0, self.limit * MORE)
        self._begin(self.limit, now, now + self.length - ROUNDING, now, self.limit, assumed=True)
        return True

    def learn(self, given: Pass, quota: Quota, now: float) -> None:
        """Take over what an answer says; its request's pass is still under way."""
        if quota.limit is not None:
            if self.limit is None and quota.remaining is None:
                self._begin(quota.limit - 1, now, now + self.length, now, quota.limit, assumed=True)
            self.limit = quota.limit
        if quota.remaining is None:
            return
        left = self._left_of(quota)
        match self._place(given, quota):
            case "before":
                return
            case "same":
                self._go_on(quota.remaining, left, now)
            case _:
                self._enter(quota, quota.remaining, left, now)
        self.told = True

    def refused(self, pause: float, now: float) -> None:
        """Take what we sent before a 429 for the limit, where the service tells none."""
        if self.told:
            return
        recent = [at for at in self._sent if now - at < USUAL]
        self._sent.clear()
        granted = len(recent) - 1.0
        if granted < TELLING:
            if self.limit is not None:
                # The window is used up, whoever did it; that says nothing of the limit.
                self._low, self._refused = 0.0, True
                self._resets = max(self._resets, now + pause - ROUNDING)
            return
        if self.limit is None:
            self.length = min(USUAL, max(1.0, now - recent[0] + pause))
            self.limit = granted
        else:
            # What is left of a window that others have emptied says little: come down in steps.
            self.limit = max(min(self.limit, granted), self.limit / 2)
        begins = now + pause
        self._begin(self.limit, begins, begins + self.length - ROUNDING, begins, self.limit, assumed=True)

    def corrected(self, quota: Quota, pause: float) -> None:
        """Learn from a 429's pause how far their clock is from ours, where no Date tells."""
        if quota.left is not None and not quota.dated:
            self._late = pause - quota.left

    def _place(self, given: Pass, quota: Quota) -> str:
        """Return to which window an answer belongs: "before" this one, the "same", or a "new" one."""
        if not self.told:
            return "new"
        if quota.reset is None or self._name is None:
            # Nothing names the window: a number that rose after the last one had come is a new window's.
            risen = quota.remaining is not None and quota.remaining > self._low and given.at > self._low_at
            return "new" if risen or self._name is not quota.reset else "same"
        apart = quota.reset - self._name
        if abs(apart) >= SAME:
            return "new" if apart > 0 else "before"
        return "before" if self._assumed and given.at < self._began else "same"

    def _go_on(self, remaining: float, left: float | None, now: float) -> None:
        if self._assumed and self._name is not None:
            # The window that we believed over goes on: their clock is behind what we took it for.
            self._late += max(ROUNDING, now - self._resets + self.length)
            self._resets = now
            self._low = remaining
        elif left is not None:
            # The Date is cut to whole seconds: the answer that had just begun a second is the truest.
            self._resets = min(self._resets, now + left)
        # Answers overtake each other: within a window the lowest number is the latest.
        self._low = min(self._low, remaining)
        self._low_at = now
        self._answered += 1
        self._assumed = False

    def _enter(self, quota: Quota, remaining: float, left: float | None, now: float) -> None:
        first = not self.told
        if not first and quota.reset is not None and self._name is not None:
            self._compare(quota.reset - self._name, now, dated=quota.dated)
        self.limit = max(self.limit or 0.0, remaining + first)
        if left is not None:
            self._longest_left = max(self._longest_left, left)
            self.length = self._longest_left
        resets = now + (self.length if left is None else left)
        self._name = quota.reset
        self._dated = left is not None and quota.dated
        if first or self.slides:
            self._begin(remaining, now, resets, now, remaining + 1, assumed=False)
        else:
            began = min(now, max(self._low_at, resets - self.length))
            self._begin(remaining, now, resets, began, self.limit, assumed=False)

    def _begin(
        self, low: float, now: float, resets: float, began: float, base: float, *, assumed: bool
    ) -> None:
        self._others_before = self.others() if self.told and not self.slides else 0.0
        self._low, self._low_at = low, now
        self._resets, self._began = resets, began
        self._base, self._answered = base, 0 if assumed else 1
        self._assumed = assumed
        self._refused = False

    def _compare(self, apart: float, now: float, *, dated: bool) -> None:
        """Learn from two resets that follow each other how long a window is, and whether it slides."""
        early = not self._assumed and now < self._resets - max(SLID, self.length / 4)
        self._slides = self._slides + 1 if early and dated else 0
        if early and dated:
            return
        if early:
            # Their clock is ahead of what we took it for.
            self._late -= self._resets - now
        if self._longest_left:
            self._longest_left = min(self._longest_left, apart)
        else:
            self.length = min(self.length, max(1.0, apart))

    def _left_of(self, quota: Quota) -> float | None:
        """Return the seconds until the reset, None where they make no sense."""
        if quota.left is None:
            return None
        left = quota.left if quota.dated else quota.left + self._late
        return left if 0 < left <= LONGEST_WINDOW else None
