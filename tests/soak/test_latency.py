"""Durations are counted in steps, and added up over processes."""

from __future__ import annotations

import pytest

from soak.latency import Latencies


def test_percentiles_are_at_most_nine_per_cent_too_high() -> None:
    """Of durations from 1 ms to 1 s."""
    latencies = Latencies()
    for index in range(1, 1001):
        latencies.add(index / 1000)
    assert latencies.count == 1000
    assert latencies.longest == 1
    for part in (0.1, 0.5, 0.99):
        assert part <= latencies.percentile(part) <= part * 1.1
    assert latencies.percentile(1) == 1


def test_those_of_two_readers_add_up() -> None:
    """Through JSON, as processes hand them over."""
    first, second = Latencies(), Latencies()
    first.add(0.001)
    second.add(3.0)
    first.merge(Latencies.from_json(second.as_json()))
    assert first.count == 2
    assert first.longest == 3.0
    assert first.percentile(0.5) == pytest.approx(0.001, rel=0.1)


def test_no_calls_have_no_percentile() -> None:
    """Zero, not an error."""
    assert Latencies().percentile(0.5) == 0
