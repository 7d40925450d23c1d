"""Which callbacks are one call to the program that made it, and how much of its time is spent.

`open(2)` of a name that the kernel does not know is two callbacks, the look-up and the open, and four where
the open finds another version and Linux repeats it. Each could take `timeout`; the program is promised that
all of them together do.

User: `operations.py`. Threading: one lock, held for look-ups only.
"""

from __future__ import annotations

import enum
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cachetools import LRUCache

if TYPE_CHECKING:
    from kallglotfs.clock import Clock

#: Seconds between two callbacks of one call: the kernel has nothing to do in between, but the machine may.
GAP = 0.1
#: Seconds below which a callback has cost its call nothing.
NOTHING = 0.02
#: Threads remembered.
MOST = 4096


class Step(enum.Enum):
    """A callback that may be followed by another of the same call."""

    LOOK_UP = "look-up"
    STALE = "an open that found another version"


@dataclass(frozen=True, slots=True)
class _Spent:
    step: Step
    seconds: float
    at: float


class CallTime:
    """Remembers what each thread has just spent.

    Args:
        clock: what tells the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._spent: LRUCache[int, _Spent] = LRUCache(MOST)

    def before(self, thread: int, *steps: Step) -> float:
        """Return the seconds a thread's call has taken so far, if its last callback was one of `steps`."""
        with self._lock:
            spent = self._spent.pop(thread, None)
        if spent is None or spent.step not in steps or self._clock.now() - spent.at > GAP:
            return 0.0
        return spent.seconds

    def note(self, thread: int, step: Step, seconds: float) -> None:
        """Take note of a callback that has ended.

        Args:
            thread: whose; 0 is in a PID namespace that we cannot see, and nobody in particular.
            step: what it was.
            seconds: what the call has taken with it.
        """
        if thread > 0 and seconds > NOTHING:
            with self._lock:
                self._spent[thread] = _Spent(step, seconds, self._clock.now())
