"""The rate limit's gate, on a clock that only sleeping moves."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from fakes import FakeClock
from kallglotfs.clock import Deadline
from kallglotfs.errors import RateLimited
from kallglotfs.remote.budget import Budget
from kallglotfs.remote.retry import parse_retry_after


def headers(clock: FakeClock, remaining: int, reset: float, skew: float = 0.0) -> dict[str, str]:
    """Return what the service says of its window."""
    now = clock.wall() + skew
    return {
        "X-RateLimit-Limit": "60",
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Reset": str(int(now + reset)),
        "Date": formatdate(now, usegmt=True),
    }


def test_a_window_that_is_used_up_is_waited_for() -> None:
    """Instead of being answered with a 429."""
    clock = FakeClock()
    budget = Budget(clock, 90)
    budget.learn(headers(clock, 2, 30, skew=7200))
    deadline = Deadline(clock, 20)
    for _ in range(2):
        budget.admit(deadline)
    assert clock.slept == []
    budget.admit(deadline)
    assert clock.slept == [pytest.approx(30, abs=1)]
    assert deadline.remaining() > 19


def test_a_429_closes_the_gate_for_everybody() -> None:
    """For as long as it says."""
    clock = FakeClock()
    budget = Budget(clock, 90)
    budget.refuse({"Retry-After": "12"})
    budget.admit(Deadline(clock, 20))
    assert clock.slept == [12]


@pytest.mark.parametrize("text", ["91", "1000000000"])
def test_a_wait_beyond_the_throttle_timeout_is_refused_at_once(text: str) -> None:
    """Nobody sleeps for nothing."""
    clock = FakeClock()
    budget = Budget(clock, 90)
    budget.refuse({"Retry-After": text})
    with pytest.raises(RateLimited):
        budget.admit(Deadline(clock, 20))
    assert clock.slept == []


@pytest.mark.parametrize("text", ["", "garbage", "-5", "nan", "0"])
def test_a_429_that_names_no_time_pauses_longer_each_time(text: str) -> None:
    """One second, two, four."""
    clock = FakeClock()
    budget = Budget(clock, 90)
    for _ in range(3):
        budget.refuse({"Retry-After": text})
        budget.admit(Deadline(clock, 20))
    assert clock.slept == [1, 2, 4]


def test_headers_that_make_no_sense_are_not_believed() -> None:
    """A reset in the past or next year stops nobody."""
    clock = FakeClock()
    budget = Budget(clock, 90)
    for reset in (-100, 1e7):
        budget.learn(headers(clock, 0, reset))
        budget.admit(Deadline(clock, 20))
    budget.learn({"X-RateLimit-Remaining": "x", "X-RateLimit-Reset": "y"})
    budget.admit(Deadline(clock, 20))
    assert clock.slept == []


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3", 3), ("2.5", 2.5), (None, None), ("", None), ("-1", None), ("inf", None), ("soon", None)],
)
def test_retry_after_in_seconds(text: str | None, seconds: float | None) -> None:
    """Or not at all."""
    assert parse_retry_after(text, 0) == seconds


def test_retry_after_as_a_date() -> None:
    """By the sender's clock; a past one means now."""
    assert parse_retry_after(formatdate(1000, usegmt=True), 990) == 10
    assert parse_retry_after(formatdate(1000, usegmt=True), 2000) == 0


def test_what_is_spare_leaves_a_reserve_for_who_waits() -> None:
    """A quarter of the limit."""
    clock = FakeClock()
    budget = Budget(clock, 90)
    assert budget.spare() > 100
    reset = str(int(clock.wall()) + 60)
    budget.learn({"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "40", "X-RateLimit-Reset": reset})
    assert budget.spare() == 25
    budget.learn({"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "10", "X-RateLimit-Reset": reset})
    assert budget.spare() == 0
    clock.sleep(61)
    assert budget.spare() > 100
    budget.refuse({"Retry-After": "5"})
    assert budget.spare() == 0
