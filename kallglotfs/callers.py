"""Who is a person and who is a program that reads everything: told by what each has asked for.

A player costs an API request now and then, `rsync` one per file. So the first few requests of a process group
within a minute are taken for a person's, and more make the group a bulk reader until it has been quiet for a
while. A loop typed into a terminal starts a group per file: those add up in their session, where what known
bulk readers ask for does not count, so that a player beside an `rsync` stays a person's.

Only requests that reach the budget's gate count: reading what is cached makes nobody a bulk reader.

Threading: `of` is called on a callback's thread, `claim` on any; the lock is a leaf.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from cachetools import LRUCache

from kallglotfs.caller import group_of
from kallglotfs.urgency import Urgency

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from kallglotfs.caller import Group

#: Requests within `MINUTE` that a process group has before it is a bulk reader: a playlist, a short `ls`.
FEW = 8
#: The same for a session, and for all callers together that cannot be told (another PID namespace).
FEW_OF_A_SESSION = 24
#: Seconds that are looked back on, and seconds without a request after which a bulk reader is none any more.
MINUTE = 60.0
#: Groups and sessions remembered, about 400 bytes each.
MOST = 4096


class _Tally:
    """The requests of one group or session."""

    def __init__(self, few: int) -> None:
        self._few = few
        self._times: deque[float] = deque(maxlen=few)
        self._bulk_until = 0.0

    def is_bulk(self, now: float) -> bool:
        """Tell whether it is in bulk now; asking for more keeps it so."""
        if now < self._bulk_until:
            self._bulk_until = now + MINUTE
            return True
        return False

    def count(self, now: float) -> bool:
        """Count a request; tell whether it is one too many for a person."""
        full = len(self._times) == self._few and now - self._times[0] < MINUTE
        self._times.append(now)
        if full:
            self._bulk_until = now + MINUTE
        return full


class Callers:
    """Tells callers apart.

    Args:
        now: tells the time, in seconds of a steady clock.
        group_of: tells the process group and session of a thread, None where it cannot be told.
    """

    def __init__(self, now: Callable[[], float], group_of: Callable[[int], Group | None] = group_of) -> None:
        self._now = now
        self._group_of = group_of
        self._lock = threading.Lock()
        self._tallies: LRUCache[Hashable, _Tally] = LRUCache(MOST)

    def of(self, thread: int) -> Known:
        """Return the caller behind a thread, as FUSE names it; look now, it may be gone later."""
        return Known(self, self._group_of(thread))

    def claim(self, group: Group | None) -> Urgency:
        """Count a request and return how urgent it is."""
        now = self._now()
        with self._lock:
            own = self._tally(("group", group and group.number), FEW if group else FEW_OF_A_SESSION)
            session = self._tally(("session", group and group.session), FEW_OF_A_SESSION)
            # Both are kept in bulk by asking; a session's players wait with its loop, but not with its rsync.
            bulk = [each.is_bulk(now) for each in (own, session)]
            if any(bulk):
                return Urgency.BULK
            over = own.count(now)
            if not over:
                over = session.count(now)
        return Urgency.BULK if over else Urgency.INTERACTIVE

    def _tally(self, key: Hashable, few: int) -> _Tally:
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = _Tally(few)
        return tally


class Known:
    """A caller by process group and session.

    Args:
        callers: what is known of all.
        group: theirs, None where it cannot be told.
    """

    __slots__ = ("_callers", "_group")

    def __init__(self, callers: Callers, group: Group | None) -> None:
        self._callers = callers
        self._group = group

    def claim(self) -> Urgency:
        """Count a request of this caller's and return how urgent it is."""
        return self._callers.claim(self._group)
