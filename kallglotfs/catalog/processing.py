"""Recordings in processing are asked for again until they are ready, at growing distances."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from kallglotfs.catalog.sources import Step
from kallglotfs.errors import NotFound
from kallglotfs.model import DEFAULT_FORMAT, Rendition, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kallglotfs.clock import Clock, Deadline
    from kallglotfs.model import Recording

#: Seconds between two looks into the catalog.
LOOK = 5.0
#: Seconds until a recording is asked for again, at least and at most; between, a part of what it has taken.
SOONEST, LATEST, AGE_PART = 5.0, 3600.0, 0.25
#: Seconds after which a recording is taken not to become ready any more.
GIVE_UP = 2 * 86400.0


class Store(Protocol):
    """Where recordings are kept: `store.CatalogStore`."""

    def processing(self) -> list[str]:
        """Return the ids of those in processing."""

    def save(self, recordings: Iterable[Recording]) -> int:
        """Add or update recordings."""

    def forget(self, recording_id: str) -> None:
        """Remove a recording."""


class Lookup(Protocol):
    """Who is asked: `remote.service.KallglotService`."""

    def look_up(self, rendition: Rendition, deadline: Deadline) -> Recording:
        """Ask what a recording is."""


class Processing:
    """The source of recordings that become ready.

    Args:
        store: where recordings are kept.
        lookup: who is asked.
        deadline: makes the deadline of a request.
        clock: what tells the time.
        noted: told the id of a recording that has changed.
    """

    name = "processing"

    def __init__(
        self,
        store: Store,
        lookup: Lookup,
        deadline: Callable[[], Deadline],
        clock: Clock,
        noted: Callable[[str], None],
    ) -> None:
        self._store = store
        self._lookup = lookup
        self._deadline = deadline
        self._clock = clock
        self._noted = noted
        #: When each was first seen here, and when it is due.
        self._seen: dict[str, tuple[float, float]] = {}

    def step(self, position: str) -> Step:
        """Ask for one recording that is due."""
        now = self._clock.now()
        waiting = self._store.processing()
        self._seen = {each: self._seen.get(each, (now, now + SOONEST)) for each in waiting}
        due = [each for each in waiting if self._seen[each][1] <= now < self._seen[each][0] + GIVE_UP]
        if not due:
            return Step(position, pause=LOOK)
        recording_id = min(due, key=lambda each: self._seen[each][1])
        first, _ = self._seen[recording_id]
        self._seen[recording_id] = (first, now + min(LATEST, max(SOONEST, (now - first) * AGE_PART)))
        try:
            found = self._lookup.look_up(Rendition(recording_id, DEFAULT_FORMAT), self._deadline())
        except NotFound:
            self._store.forget(recording_id)
            self._noted(recording_id)
            return Step(position)
        if found.status is Status.PROCESSING:
            return Step(position)
        self._store.save([found])
        self._noted(recording_id)
        return Step(position, found=found.status is Status.READY)
