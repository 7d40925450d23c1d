"""One call of a program is one time limit, however many callbacks the kernel makes of it."""

from __future__ import annotations

from fakes import FakeClock
from kallglotfs.call_time import GAP, CallTime, Step


def test_a_look_up_counts_for_the_open_that_follows_at_once() -> None:
    """And for that one only."""
    times = CallTime(FakeClock())
    times.note(5, Step.LOOK_UP, 2.0)
    assert times.before(6, Step.LOOK_UP) == 0.0
    assert times.before(5, Step.LOOK_UP) == 2.0
    assert times.before(5, Step.LOOK_UP) == 0.0


def test_what_was_a_while_ago_was_another_call() -> None:
    """The program has been running in between."""
    clock = FakeClock()
    times = CallTime(clock)
    times.note(5, Step.LOOK_UP, 2.0)
    clock.sleep(GAP + 0.01)
    assert times.before(5, Step.LOOK_UP) == 0.0


def test_two_look_ups_are_two_calls_but_after_a_stale_open_it_is_still_one() -> None:
    """Linux looks up again by itself only then."""
    times = CallTime(FakeClock())
    times.note(5, Step.LOOK_UP, 2.0)
    assert times.before(5, Step.STALE) == 0.0
    times.note(5, Step.STALE, 2.5)
    assert times.before(5, Step.STALE) == 2.5


def test_callers_that_cannot_be_told_apart_and_quick_callbacks_are_not_counted() -> None:
    """Neither is worth a look-up in the table."""
    times = CallTime(FakeClock())
    times.note(0, Step.LOOK_UP, 2.0)
    times.note(5, Step.LOOK_UP, 0.001)
    assert times.before(0, Step.LOOK_UP) == 0.0
    assert times.before(5, Step.LOOK_UP) == 0.0
