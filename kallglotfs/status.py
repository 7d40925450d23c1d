"""The state of a mount, collected from its parts: as JSON, as Prometheus metrics, and for one recording.

Used by `assembly/`, which hands it to the virtual files, the control socket and the listener for metrics.
Nothing here is secret: no key, no URL, no number. Who reads what, though, is told on the control socket
alone: the virtual files are everybody's who may read the mount.

Threading: may be called on any thread; every part is asked for a snapshot of its own.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from kallglotfs.advice import advice
from kallglotfs.metrics import families

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from prometheus_client.metrics_core import Metric

    from kallglotfs.clock import Clock
    from kallglotfs.model import Recording, Rendition, RenditionFacts
    from kallglotfs.tally import Mishap, Spending

#: The part that counts the known recordings, which takes a while where they are a million.
SLOW = "known"


@dataclass(frozen=True, slots=True)
class Identity:
    """Which mount this is.

    Attributes:
        started: epoch seconds.
    """

    version: str
    profile: str
    mount_point: str
    api: str
    pid: int
    started: float


class Tally(Protocol):
    """What has been counted: `tally.Tally`."""

    def counts(self) -> dict[str, int]:
        """Return all counts by name."""

    def spending(self, subject: str) -> Spending:
        """Return what a recording has cost."""

    def asked_for(self) -> int:
        """Return for how many recordings the API was asked."""

    def dearest(self) -> list[tuple[str, int]]:
        """Return the recordings that cost most."""

    def mishaps(self) -> list[Mishap]:
        """Return what went wrong."""


class Store(Protocol):
    """What is known: `catalog.store.CatalogStore`."""

    def recording(self, recording_id: str) -> Recording | None:
        """Return a recording."""

    def renditions(self, recording_id: str) -> list[tuple[Rendition, RenditionFacts]]:
        """Return what the storage confirmed of a recording."""


#: A part's state: names and values that JSON takes.
Snapshot = dict[str, Any]


class Status:
    """Collects the state of a mount.

    Args:
        identity: which mount.
        tally: what has been counted.
        store: what is known of recordings.
        cached: returns the bytes of a recording that are cached, by tier.
        lease_left: returns the seconds a rendition's lease has left, None for none.
        parts: every part by name, each returning its state.
        readers: returns who has which files open.
        clock: what tells the time.
    """

    def __init__(
        self,
        identity: Identity,
        tally: Tally,
        store: Store,
        cached: Callable[[str], Mapping[str, int]],
        lease_left: Callable[[Rendition], float | None],
        parts: Mapping[str, Callable[[], Snapshot]],
        readers: Callable[[], list[dict[str, Any]]],
        clock: Clock,
    ) -> None:
        self._identity = identity
        self._tally = tally
        self._store = store
        self._cached = cached
        self._lease_left = lease_left
        self._parts = dict(parts)
        self._readers = readers
        self._clock = clock

    def status(self, *, brief: bool = False) -> Snapshot:
        """Return the state of everything, in numbers.

        Args:
            brief: leave out what takes a while to count.
        """
        return {
            **asdict(self._identity),
            "uptime": round(self._clock.wall() - self._identity.started, 1),
            "counts": {
                **self._tally.counts(),
                **{f"errors_{each.kind}": each.count for each in self._tally.mishaps()},
            },
            "spending": {"recordings": self._tally.asked_for()},
            **{name: part() for name, part in self._parts.items() if not (brief and name == SLOW)},
        }

    def confidential(self, *, brief: bool = False) -> Snapshot:
        """Return the state of everything, who reads what included: for the mount's own user.

        Args:
            brief: leave out what takes a while to count.
        """
        state = self.status(brief=brief)
        dearest = [{"id": each, "requests": count} for each, count in self._tally.dearest()]
        return {
            **state,
            "open_files": {**state.get("open_files", {}), "by_process": self._readers()},
            "spending": {**state["spending"], "dearest": dearest},
            "errors": [{**asdict(each), "advice": advice(each.kind)} for each in self._tally.mishaps()],
        }

    def metrics(self) -> bytes:
        """Return all numbers as Prometheus reads them, those of the process as its libraries name them."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        ProcessCollector(registry=registry)
        return generate_latest(registry)

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics; called by the library."""
        return families(self.status())

    def why(self, recording_id: str) -> Snapshot:
        """Return what is known of a recording and what it has cost."""
        recording = self._store.recording(recording_id)
        spending = self._tally.spending(recording_id)
        return {
            "id": recording_id,
            "known": recording is not None,
            **({} if recording is None else _facts(recording)),
            "renditions": [
                {
                    "format": rendition.format,
                    "sample_rate": rendition.rate,
                    "size": facts.validator.size,
                    "lease_seconds_left": self._lease_left(rendition),
                }
                for rendition, facts in self._store.renditions(recording_id)
            ],
            "cached_bytes": dict(self._cached(recording_id)),
            "api_requests": spending.requests,
            "last_error": spending.last_error or None,
            "last_error_at": spending.failed_at or None,
        }


def _facts(recording: Recording) -> Snapshot:
    return {
        "status": recording.status.value,
        "session": recording.session_id,
        "channel": recording.channel,
        "format": recording.format,
        "size": recording.size,
        "duration": recording.duration,
        "created_at": None if recording.created_at is None else recording.created_at.isoformat(),
        "expires_at": None if recording.expires_at is None else recording.expires_at.isoformat(),
    }
