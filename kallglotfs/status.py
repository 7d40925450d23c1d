"""The state of a mount, collected from its parts: as JSON, as Prometheus metrics, and for one recording.

Used by `mount.py`, which hands it to the virtual files. Nothing here is secret: no key, no URL, no number.

Threading: may be called on any thread; every part is asked for a snapshot of its own.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from prometheus_client.metrics_core import Metric

    from kallglotfs.clock import Clock
    from kallglotfs.model import Recording, Rendition, RenditionFacts
    from kallglotfs.tally import Spending

PREFIX = "kallglotfs_"


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
        clock: Clock,
    ) -> None:
        self._identity = identity
        self._tally = tally
        self._store = store
        self._cached = cached
        self._lease_left = lease_left
        self._parts = dict(parts)
        self._clock = clock

    def status(self) -> Snapshot:
        """Return the state of everything."""
        return {
            **asdict(self._identity),
            "uptime": round(self._clock.wall() - self._identity.started, 1),
            "counts": self._tally.counts(),
            **{name: part() for name, part in self._parts.items()},
        }

    def metrics(self) -> bytes:
        """Return all numbers as Prometheus reads them."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics; called by the library."""
        for name, count in sorted(self._tally.counts().items()):
            yield CounterMetricFamily(PREFIX + name, name.replace("_", " "), value=count)
        yield GaugeMetricFamily(
            f"{PREFIX}uptime_seconds",
            "seconds since the mount was made",
            value=self._clock.wall() - self._identity.started,
        )
        for part, state in self._parts.items():
            for name, value in _numbers(state()):
                yield GaugeMetricFamily(
                    f"{PREFIX}{part}_{name}", f"{part}: {name.replace('_', ' ')}", value=value
                )

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


def _numbers(state: Snapshot, prefix: str = "") -> Iterable[tuple[str, float]]:
    """Yield the numbers of a part's state; those below another name carry that in front."""
    for name, value in state.items():
        if isinstance(value, bool | int | float):
            yield prefix + name, float(value)
        elif isinstance(value, dict):
            yield from _numbers(value, f"{prefix}{name}_")
