"""Numbers are summed up as the report says."""

from __future__ import annotations

import pytest

from bench.figures import Series, Verdict, best, percentile


@pytest.mark.parametrize(("part", "value"), [(0.5, 2), (0.95, 4), (0.0, 1), (1.0, 4)])
def test_a_percentile_is_a_value_that_was_measured(part: float, value: float) -> None:
    """Nearest rank, nothing in between."""
    assert percentile([4, 1, 3, 2], part) == value


def test_a_peer_is_judged_by_its_best_variant() -> None:
    """The highest median, not the highest value."""
    assert best([Series("a", "MB/s", [1, 9, 1]), Series("b", "MB/s", [2, 2, 2])]).label == "b"


def test_a_target_may_be_a_floor_or_a_ceiling() -> None:
    """At least and at most."""
    assert Verdict("", 8, 8).reached
    assert not Verdict("", 1.26, 1.25, at_least=False).reached
