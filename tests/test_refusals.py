"""Refusals: held briefly at first, longer each time, forgotten when it goes well."""

from __future__ import annotations

import pytest

from fakes import FakeClock
from kallglotfs.refusals import Refusals


@pytest.fixture
def clock() -> FakeClock:
    """A clock that moves when told to."""
    return FakeClock()


@pytest.fixture
def refusals(clock: FakeClock) -> Refusals[str]:
    """One and a half seconds at first, twelve at most, two keys."""
    return Refusals(clock, 1.5, 12.0, 2)


def held(refusals: Refusals[str], clock: FakeClock, key: str) -> float:
    """Return for how many seconds a refusal still holds, in steps of an eighth."""
    seconds = 0.0
    while refusals.get(key) is not None:
        clock.sleep(0.125)
        seconds += 0.125
    return seconds


def test_a_refusal_holds_twice_as_long_each_time(refusals: Refusals[str], clock: FakeClock) -> None:
    """Up to the longest."""
    found = []
    for _ in range(6):
        refusals.add("a", "no")
        found.append(held(refusals, clock, "a"))
    assert found == [1.5, 3.0, 6.0, 12.0, 12.0, 12.0]


def test_a_refusal_that_still_holds_is_not_added_to(refusals: Refusals[str], clock: FakeClock) -> None:
    """Sixteen readers who are refused at once are one refusal, and the first answer stays."""
    for answer in ("first", *["later"] * 15):
        refusals.add("a", answer)
    assert refusals.get("a") == "first"
    assert held(refusals, clock, "a") == 1.5


def test_success_starts_over(refusals: Refusals[str], clock: FakeClock) -> None:
    """The next refusal is a first one again."""
    refusals.add("a", "no")
    clock.sleep(1.5)
    refusals.add("a", "no")
    assert refusals.repeated("a")
    refusals.clear("a")
    assert refusals.get("a") is None
    assert not refusals.repeated("a")
    refusals.add("a", "no")
    assert held(refusals, clock, "a") == 1.5


def test_a_refusal_of_long_ago_is_none(refusals: Refusals[str], clock: FakeClock) -> None:
    """Who asks now and then is told afresh, with a short hold."""
    refusals.add("a", "no")
    clock.sleep(1.5 + 11.9)
    assert refusals.repeated("a")
    clock.sleep(0.1)
    assert not refusals.repeated("a")
    refusals.add("a", "no")
    assert held(refusals, clock, "a") == 1.5


def test_keys_are_their_own_and_memory_is_bounded(refusals: Refusals[str]) -> None:
    """The one that nobody asked for is let go."""
    refusals.add("a", "1")
    refusals.add("b", "2")
    assert (refusals.get("a"), refusals.get("b"), refusals.get("c")) == ("1", "2", None)
    refusals.add("c", "3")
    assert (refusals.get("a"), refusals.get("b"), refusals.get("c")) == (None, "2", "3")
