"""What was refused a moment ago, and for how long nobody need ask again.

A refusal may be a fault that is over in a second, or the truth for ever. So the first one holds briefly, and
each further one for the same key twice as long: who asks again and again is told soon when a fault is
over, and does not spend the budget where none was.

Threading: one lock, held for look-ups only.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from cachetools import LRUCache

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from kallglotfs.clock import Clock

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Refusal(Generic[T]):
    answer: T
    hold: float
    until: float


class Refusals(Generic[T]):
    """Remembers refusals, each time for longer.

    Args:
        clock: what tells the time.
        first: seconds the first refusal of a key holds.
        longest: seconds a refusal holds at most; also how long after its end it is still remembered as
            one that the next adds to.
        most: keys remembered.
    """

    def __init__(self, clock: Clock, first: float, longest: float, most: int) -> None:
        self._clock = clock
        self._first = first
        self._longest = longest
        self._lock = threading.Lock()
        self._known: LRUCache[Hashable, _Refusal[T]] = LRUCache(most)

    def add(self, key: Hashable, answer: T) -> None:
        """Note a refusal; one that was noted already and still holds stays as it is."""
        now = self._clock.now()
        with self._lock:
            before = self._known.get(key)
            if before is not None and now < before.until:
                return
            repeated = before is not None and now < before.until + self._longest
            hold = min(2 * before.hold, self._longest) if before is not None and repeated else self._first
            self._known[key] = _Refusal(answer, hold, now + hold)

    def get(self, key: Hashable) -> T | None:
        """Return what was noted of a key, None when it is time to ask again."""
        with self._lock:
            known = self._known.get(key)
        return known.answer if known is not None and self._clock.now() < known.until else None

    def repeated(self, key: Hashable) -> bool:
        """Tell whether a key was refused lately and nothing has gone well since, even if the hold is over."""
        with self._lock:
            known = self._known.get(key)
        return known is not None and self._clock.now() < known.until + self._longest

    def clear_all(self, meant: Callable[[Any], bool]) -> None:
        """Forget all keys that `meant` says."""
        if self._known:
            with self._lock:
                for key in [each for each in self._known if meant(each)]:
                    del self._known[key]

    def clear(self, key: Hashable) -> None:
        """Forget a key: it went well."""
        if self._known:  # the ordinary case costs no lock
            with self._lock:
                self._known.pop(key, None)
