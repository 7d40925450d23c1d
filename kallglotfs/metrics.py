"""Every metric for Prometheus, and how it follows from the state of a mount.

One table, from which come the exposition (`status.py`: the virtual file and the HTTP listener) and the
reference in `docs/monitoring.md`. Names follow Prometheus's conventions: counters end in `_total`, units are
seconds and bytes. No label holds an id or a program: that would be as many series as there are calls.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

PREFIX = "kallglotfs_"
_ERRORS, _RESPONSES = "errors_", "api_responses_"

#: A mount's state, from `Status.status`.
State = dict[str, Any]
#: Label values and a number for each series of a metric; None where there is nothing to tell.
Series = tuple[tuple[str, ...], float | None]


@dataclass(frozen=True, slots=True)
class Definition:
    """One metric.

    Attributes:
        name: without prefix; with `_total` for a counter.
        help: what it counts or measures.
        series: gives the values from a state.
        labels: the names of its labels.
    """

    name: str
    help: str
    series: Callable[[State], Iterable[Series]]
    labels: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """The name as Prometheus has it."""
        return PREFIX + self.name

    @property
    def is_counter(self) -> bool:
        """Whether it only ever grows while the mount lasts."""
        return self.name.endswith("_total")

    def family(self, state: State) -> Metric:
        """Return the metric with its present values."""
        kind = CounterMetricFamily if self.is_counter else GaugeMetricFamily
        family = kind(self.full_name.removesuffix("_total"), self.help, labels=self.labels)
        for labels, value in self.series(state):
            if value is not None:
                family.add_metric(labels, float(value))
        return family


def _at(*path: str) -> Callable[[State], Iterator[Series]]:
    """Return what finds one number."""

    def series(state: State) -> Iterator[Series]:
        found: Any = state
        for name in path:
            found = found.get(name) if found else None
        yield (), found

    return series


def _count(name: str) -> Callable[[State], Iterator[Series]]:
    """Return what finds a count, which is zero until something was counted."""
    return lambda state: iter([((), state["counts"].get(name, 0))])


def _tiers(name: str) -> Callable[[State], Iterator[Series]]:
    return lambda state: (((tier,), state[tier][name]) for tier in ("memory", "disk") if state[tier])


def _counted(prefix: str) -> Callable[[State], Iterator[Series]]:
    """Return what finds all counts whose names begin in the same way."""
    return lambda state: (
        ((name.removeprefix(prefix),), count)
        for name, count in sorted(state["counts"].items())
        if name.startswith(prefix)
    )


def _sources(
    value: Callable[[Mapping[str, Any]], float | None],
) -> Callable[[State], Iterator[Series]]:
    return lambda state: (((name,), value(each)) for name, each in sorted(state["sources"].items()))


def _named(*path: str) -> Callable[[State], Iterator[Series]]:
    """Return what finds a table of numbers by name."""

    def series(state: State) -> Iterator[Series]:
        found: Any = state
        for name in path:
            found = found.get(name, {})
        return (((name,), value) for name, value in sorted(found.items()))

    return series


METRICS = (
    Definition(
        "mount_info",
        "Always 1; the labels tell which mount it is.",
        lambda state: [((state["version"], state["profile"], state["mount_point"]), 1)],
        ("version", "profile", "mount_point"),
    ),
    Definition("start_time_seconds", "When the mount was made, seconds since the epoch.", _at("started")),
    Definition("uptime_seconds", "Seconds since the mount was made.", _at("uptime")),
    Definition("reads_total", "Reads of audio that the kernel passed on.", _count("reads")),
    Definition(
        "served_bytes_total",
        "Bytes of audio given to the kernel; its page cache gives more.",
        _count("served_bytes"),
    ),
    Definition("fetched_bytes_total", "Bytes of audio received from the storage.", _count("fetched_bytes")),
    Definition("storage_requests_total", "Requests to the storage.", _count("storage_requests")),
    Definition("api_requests_total", "Requests to the API, which the budget counts.", _count("api_requests")),
    Definition(
        "api_responses_total",
        "Answers of the API by class of status.",
        _counted(_RESPONSES),
        ("class",),
    ),
    Definition(
        "requested_recordings_total",
        "Recordings and sessions for which the API was asked at least once.",
        _at("spending", "recordings"),
    ),
    Definition(
        "budget_limit",
        "Requests that the API allows in a window; absent until it said so.",
        _at("budget", "limit"),
    ),
    Definition("budget_remaining", "Requests left in the window.", _at("budget", "remaining")),
    Definition("budget_reset_seconds", "Seconds until the window ends.", _at("budget", "resets_in")),
    Definition("budget_waiting", "Requests that wait for their turn.", _at("budget", "waiting")),
    Definition("leases", "Signed URLs that are kept.", _at("leases", "kept")),
    Definition("leases_valid", "Signed URLs that are kept and have not run out.", _at("leases", "valid")),
    Definition("cache_hits_total", "Blocks that a tier of the cache had.", _tiers("hits"), ("tier",)),
    Definition("cache_misses_total", "Blocks that a tier of the cache had not.", _tiers("misses"), ("tier",)),
    Definition("cache_blocks", "Blocks in a tier of the cache.", _tiers("blocks"), ("tier",)),
    Definition("cache_bytes", "Bytes that a tier of the cache takes.", _tiers("used"), ("tier",)),
    Definition("cache_capacity_bytes", "Bytes that a tier may take.", _tiers("capacity"), ("tier",)),
    Definition("disk_written_blocks_total", "Blocks written to the disk tier.", _at("disk", "written")),
    Definition(
        "disk_dropped_blocks_total",
        "Blocks that were not written, for want of time, room or a working disk.",
        _at("disk", "dropped"),
    ),
    Definition(
        "disk_damaged_blocks_total", "Blocks that did not open and were removed.", _at("disk", "damaged")
    ),
    Definition("disk_failing", "1 while the disk tier cannot write.", _at("disk", "failing")),
    Definition("fetches", "Range requests under way or queued.", _at("memory", "extents")),
    Definition("open_files", "Files that are open.", _at("open_files", "count")),
    Definition("known_recordings", "Recordings that directories list.", _at("known", "recordings")),
    Definition(
        "errors_total", "Failed calls by kind, ordinary answers left out.", _counted(_ERRORS), ("kind",)
    ),
    Definition(
        "source_last_run_timestamp_seconds",
        "When a source last ran, seconds since the epoch.",
        _sources(lambda source: source["last_run"]),
        ("source",),
    ),
    Definition(
        "source_failing",
        "1 while a source does not work.",
        _sources(lambda source: bool(source["last_error"])),
        ("source",),
    ),
    Definition(
        "source_found_total",
        "Recordings and sessions that a source has brought, in all runs.",
        _sources(lambda source: source["found"]),
        ("source",),
    ),
    Definition(
        "webhooks_received_total", "Deliveries, whatever became of them.", _at("webhooks", "received")
    ),
    Definition("webhooks_stored_total", "Events that were new.", _at("webhooks", "stored")),
    Definition("webhooks_duplicates_total", "Events that were known.", _at("webhooks", "duplicates")),
    Definition("webhooks_failed_total", "Events that could not be stored.", _at("webhooks", "failed")),
    Definition(
        "webhooks_refused_total", "Deliveries that were refused.", _named("webhooks", "refused"), ("reason",)
    ),
    Definition(
        "webhooks_last_event_timestamp_seconds",
        "When the last event was stored, seconds since the epoch.",
        _at("webhooks", "last_event"),
    ),
    Definition(
        "passed_over_total",
        "What was passed over in the service's answers as unusable.",
        _named("passed_over"),
        ("what",),
    ),
)


def families(state: State) -> Iterator[Metric]:
    """Yield all metrics that have a value.

    Args:
        state: from `Status.status`.
    """
    for each in METRICS:
        family = each.family(state)
        if family.samples:
            yield family


def markdown() -> str:
    """Return the reference table of the documentation."""
    rows = (
        f"| `{each.full_name}` | {'counter' if each.is_counter else 'gauge'} "
        f"| {', '.join(f'`{label}`' for label in each.labels)} | {each.help} |"
        for each in METRICS
    )
    return "| Metric | Type | Labels | What it tells |\n| --- | --- | --- | --- |\n" + "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(markdown())
