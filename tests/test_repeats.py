"""Failures that repeat: told once a minute, with their number."""

from __future__ import annotations

from fakes import FakeClock
from kallglotfs.repeats import MOST, QUIET, Repeats


def test_the_first_is_told_and_the_others_are_counted() -> None:
    """Until a minute is over, then the number is told along."""
    clock = FakeClock()
    repeats = Repeats(clock)
    assert repeats.since_told("a") == 0
    assert [repeats.since_told("a") for _ in range(7)] == [None] * 7
    assert repeats.since_told("b") == 0
    clock.sleep(QUIET)
    assert repeats.since_told("a") == 7
    assert repeats.since_told("a") is None


def test_memory_is_bounded() -> None:
    """A failure that has not been seen for long is told again."""
    repeats = Repeats(FakeClock())
    for number in range(MOST + 1):
        assert repeats.since_told(number) == 0
    assert repeats.since_told(MOST) is None
    assert repeats.since_told(0) == 0
