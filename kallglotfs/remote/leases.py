"""Leases: kept, renewed before they run out, renewed once when refused, shared by all readers.

Threading: the table is guarded by a lock that is never held across a request; one request per rendition
is under way at a time.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from cachetools import LRUCache

from kallglotfs.refusals import Refusals
from kallglotfs.single_flight import SingleFlight

if TYPE_CHECKING:
    from collections.abc import Callable

    from kallglotfs.clock import Clock, Deadline
    from kallglotfs.model import Lease, Rendition

log = logging.getLogger(__name__)

#: Leases kept: about 1 KB each.
MOST = 10_000
#: Seconds a rendition whose fresh lease was refused is not renewed again, at first and at most. One that
#: stays refused so costs two API requests at once and in the end one every half minute, whoever tries.
REFUSED_FOR, REFUSED_AT_MOST = 1.0, 30.0


class LeaseBroker:
    """Hands out the current lease of a rendition and gets a new one when it has to.

    Args:
        acquire: asks the service for a lease; raises what that raises.
        clock: what tells the time.
    """

    def __init__(self, acquire: Callable[[Rendition, Deadline], Lease], clock: Clock) -> None:
        self._acquire = acquire
        self._clock = clock
        self._lock = threading.Lock()
        self._leases: LRUCache[Rendition, Lease] = LRUCache(MOST)
        #: Those that the storage refused, and those that lead to where we do not go.
        self._refused: Refusals[Lease] = Refusals(clock, REFUSED_FOR, REFUSED_AT_MOST, MOST)
        self._flights: SingleFlight[Lease] = SingleFlight()

    def offer(self, rendition: Rendition, lease: Lease) -> None:
        """Keep a lease that an answer to another question brought along."""
        with self._lock:
            self._leases[rendition] = lease

    def current(self, rendition: Rendition, deadline: Deadline) -> Lease:
        """Return a lease that has not run out, getting one if need be.

        Raises:
            KallglotError: as the service says.
        """
        kept = self._kept(rendition)
        if kept is None:
            # What the storage refused a moment ago it may accept again, and asking it costs nothing.
            kept = self._refused.get(rendition)
        return kept or self._renew(rendition, deadline)

    def has(self, rendition: Rendition) -> bool:
        """Tell whether a lease is at hand whose use costs no API request."""
        kept = self._kept(rendition)
        return kept is not None and not kept.metered

    def seconds_left(self, rendition: Rendition) -> float | None:
        """Return for how long the lease at hand will be used, None where there is none or no end."""
        kept = self._kept(rendition)
        if kept is None or kept.ends == float("inf"):
            return None
        return round(kept.ends - self._clock.now(), 1)

    def state(self) -> dict[str, int]:
        """Return how many leases are kept, and how many of them have not run out."""
        with self._lock:
            kept = list(self._leases.values())
        now = self._clock.now()
        return {"kept": len(kept), "valid": sum(lease.ends > now for lease in kept)}

    def is_metered(self, rendition: Rendition) -> bool:
        """Tell whether the lease at hand is one whose requests are API requests."""
        kept = self._kept(rendition)
        return kept is not None and kept.metered

    def accepted(self, rendition: Rendition, lease: Lease) -> None:
        """Take note that the storage accepts a lease."""
        if self._refused.repeated(rendition):
            self._refused.clear(rendition)
            self.offer(rendition, lease)

    def renew(self, rendition: Rendition, refused: Lease, deadline: Deadline) -> Lease | None:
        """Return the lease to try after the storage refused one.

        Args:
            rendition: what it was for.
            refused: what the storage refused.
            deadline: of the whole.

        Returns:
            Another lease, or None when there is no better one: the service gave the same URL again, or a
            fresh one was refused before and none has been accepted since.
        """
        with self._lock:
            if self._leases.get(rendition) == refused:
                del self._leases[rendition]
        if self._refused.repeated(rendition):
            return None
        fresh = self._kept(rendition) or self._renew(rendition, deadline)
        return None if fresh.url == refused.url else fresh

    def give_up(self, rendition: Rendition, refused: Lease) -> None:
        """Note that even a fresh lease was refused, or leads to where we do not go.

        So other readers do not each ask for one more.
        """
        self._refused.add(rendition, refused)
        with self._lock:
            if self._leases.get(rendition) == refused:
                del self._leases[rendition]

    def _kept(self, rendition: Rendition) -> Lease | None:
        with self._lock:
            lease = self._leases.get(rendition)
        return lease if lease is not None and lease.ends > self._clock.now() else None

    def _renew(self, rendition: Rendition, deadline: Deadline) -> Lease:
        def work() -> Lease:
            # Another leader may have landed between our look and our turn.
            lease = self._kept(rendition) or self._acquire(rendition, deadline)
            self.offer(rendition, lease)
            return lease

        return self._flights.run(rendition, work, deadline)
