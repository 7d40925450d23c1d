"""Somebody walks the listing: rsync, cp, a training loop. What comes next is brought before it is asked for.

A walk is seen when files are opened in the order of the listing, each read to its end. Whoever opens at
random never gets that far, so nothing is fetched for them. How much is brought grows with the walk, and stays
with what it takes in a few seconds: who listens to one call after the other has the next one brought, not
sixteen. Several walks may be under way.

Threading: called on libfuse's threads; the lock is held for look-ups only.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from cachetools import LRUCache

from kallglotfs.errors import KallglotError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from kallglotfs.model import Rendition, RenditionFacts, Validator

log = logging.getLogger(__name__)

#: Files opened in order, each after the one before was read to its end, that prove a walk.
PROOF = 2
#: Files brought along at one time: at 80 ms for lease, first byte and transfer of 1 MB, 16 give 5 ms a file.
DEPTH = 16
#: Seconds of walking that are brought along.
HORIZON = 2.0
#: Files one after the other, and seconds for as many, that are a program's walk and no person's.
STROLL, MINUTE = 8, 60.0
#: Seconds that a walk takes at least, so that no clock is too coarse.
LEAST_TIME = 0.001
#: Walks that are followed at one time.
WALKS = 64


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a walk is: the files before this one, and when the first was read to its end."""

    files: int
    began: float


class Listing(Protocol):
    """What is asked of the tree."""

    def following(self, rendition: Rendition, count: int) -> list[Rendition]:
        """Return what the listing shows after a rendition."""


class Known(Protocol):
    """What is asked of the catalog."""

    def facts(self, rendition: Rendition) -> RenditionFacts | None:
        """Return what the storage confirmed."""

    def confirm(self, rendition: Rendition, facts: RenditionFacts) -> None:
        """Keep what the storage said."""


class Bringer(Protocol):
    """What is asked of the block cache."""

    def holds(self, rendition: Rendition, validator: Validator, index: int) -> bool:
        """Tell whether a block is at hand."""

    def bring(self, rendition: Rendition) -> Future[RenditionFacts] | None:
        """Start fetching the beginning of a file, None when that is under way."""


class Walk:
    """Follows walks and fetches what they come to.

    Args:
        listing: the order.
        known: the catalog.
        bringer: the block cache.
        can_spare: tells whether an API request may be spent on what nobody has asked for yet.
        now: tells the time, in seconds of any steady clock.
        depth: files brought along at one time.
    """

    def __init__(
        self,
        listing: Listing,
        known: Known,
        bringer: Bringer,
        can_spare: Callable[[], bool],
        now: Callable[[], float],
        depth: int = DEPTH,
    ) -> None:
        self._listing = listing
        self._known = known
        self._bringer = bringer
        self._can_spare = can_spare
        self._now = now
        self._depth = depth
        self._lock = threading.Lock()
        #: The files that walks are expected to open next, and those they have open.
        self._expected: LRUCache[Rendition, _Place] = LRUCache(WALKS)
        self._reached: LRUCache[Rendition, _Place] = LRUCache(WALKS)
        self._under_way = 0

    def finished(self, rendition: Rendition) -> None:
        """Take note that a file has been read to its end."""
        following = self._listing.following(rendition, 1)
        with self._lock:
            place = self._reached.pop(rendition, None) or _Place(0, self._now())
            for each in following:
                self._expected[each] = replace(place, files=place.files + 1)

    def hurries(self, rendition: Rendition) -> bool:
        """Tell whether opening a file would be a step of a walk that no person takes, whoever asks."""
        with self._lock:
            place = self._expected.get(rendition)
        if place is None or place.files < STROLL:
            return False
        return place.files * MINUTE >= STROLL * (self._now() - place.began)

    def opened(self, rendition: Rendition) -> None:
        """Take note that a file has been opened, and bring along what follows it on a walk."""
        with self._lock:
            place = self._expected.pop(rendition, None)
            if place is None:
                return
            self._reached[rendition] = place
        for each in self._listing.following(rendition, self._deep(place)):
            if not self._bring(each):
                return

    def _deep(self, place: _Place) -> int:
        """Return how many files to bring along: more as the walk goes on, but not more than it soon takes."""
        if place.files < PROOF:
            return 0
        soon = place.files / max(self._now() - place.began, LEAST_TIME) * HORIZON
        return min(self._depth, 1 << min(place.files - PROOF + 1, 16), max(1, int(soon)))

    def _bring(self, rendition: Rendition) -> bool:
        """Start fetching a file if need be; tell whether there is room for more."""
        try:
            facts = self._known.facts(rendition)
        except KallglotError:
            return True
        if facts is not None and self._bringer.holds(rendition, facts.validator, 0):
            return True
        with self._lock:
            if self._under_way >= self._depth:
                return False
            self._under_way += 1
        if not self._can_spare():
            self._landed()
            return False
        future = self._bringer.bring(rendition)
        if future is None:
            self._landed()
        else:
            future.add_done_callback(lambda found: self._came(rendition, found))
        return True

    def _came(self, rendition: Rendition, found: Future[RenditionFacts]) -> None:
        self._landed()
        error = found.exception()
        if error is None:
            self._known.confirm(rendition, found.result())
        else:
            log.debug("%s was not brought along: %s", rendition.recording_id, error)

    def _landed(self) -> None:
        with self._lock:
            self._under_way -= 1
