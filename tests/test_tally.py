"""Counts, spending and mishaps."""

from __future__ import annotations

import random

from kallglotfs.tally import DEAREST, Tally


def test_the_dearest_are_right_without_looking_at_all() -> None:
    """Against counting by hand, in any order of requests."""
    tally, counted = Tally(), dict.fromkeys((f"rec_{n}" for n in range(100)), 0)
    chance = random.Random(7)
    for _ in range(5000):
        subject = f"rec_{min(99, int(chance.expovariate(0.05)))}"
        tally.spend(subject)
        counted[subject] += 1
    found = tally.dearest()
    assert [count for _, count in found] == sorted(counted.values(), reverse=True)[:DEAREST]
    assert all(counted[subject] == count for subject, count in found)
    assert tally.asked_for() == sum(1 for count in counted.values() if count)


def test_mishaps_are_counted_by_kind_the_latest_first() -> None:
    """With what was said the last time."""
    tally = Tally()
    tally.mishap("TimedOut", "slow", "/a", 1.0)
    tally.mishap("Unreachable", "no host", "/b", 2.0)
    tally.mishap("TimedOut", "slower", "/c", 3.0)
    first, second = tally.mishaps()
    assert (first.kind, first.count, first.message, first.path) == ("TimedOut", 2, "slower", "/c")
    assert (second.kind, second.count) == ("Unreachable", 1)
    # A failure is no request.
    tally.fail("rec_a", "slow", 1.0)
    assert tally.asked_for() == 0
