"""Waiting for others: patience, single flight, deadlines."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from fakes import FakeClock
from kallglotfs.clock import Clock, Deadline
from kallglotfs.errors import BadResponse, Interrupted, TimedOut
from kallglotfs.patience import Patience
from kallglotfs.single_flight import SingleFlight


def test_patience_returns_what_the_work_brings() -> None:
    """A result passes through."""
    future: Future[int] = Future()
    future.set_result(5)
    assert Patience(Clock(), 1, lambda: False).wait(future, Deadline(Clock(), 1)) == 5


def test_patience_ends_when_the_caller_is_gone() -> None:
    """A killed caller is let go within a fraction of a second."""
    began = time.monotonic()
    with pytest.raises(Interrupted):
        Patience(Clock(), 30, lambda: True).wait(Future(), Deadline(Clock(), 30))
    assert time.monotonic() - began < 2


def test_patience_runs_out() -> None:
    """Work that never ends is given up."""
    with pytest.raises(TimedOut):
        Patience(Clock(), 0.1, lambda: False).wait(Future(), Deadline(Clock(), 30))


def test_waiting_for_the_rate_limit_does_not_count() -> None:
    """What the service asks us to wait, the caller waits longer."""
    future: Future[int] = Future()
    deadline = Deadline(Clock(), 0.2)
    timer = threading.Timer(1.2, future.set_result, [1])
    timer.start()
    patience = Patience(Clock(), 0.2, lambda: False)
    deadline.hold(5)
    with pytest.raises(TimedOut):
        # Held before the wait began: that was somebody else's wait.
        patience.wait(future, deadline)
    waiting = Patience(Clock(), 0.2, lambda: False)
    threading.Timer(0.1, deadline.hold, [5]).start()
    assert waiting.wait(future, deadline) == 1
    timer.join()


def test_two_hundred_callers_share_one_piece_of_work() -> None:
    """One leader, one result."""
    flights: SingleFlight[int] = SingleFlight()
    calls = []

    def work() -> int:
        calls.append(1)
        time.sleep(0.3)
        return 7

    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(lambda _: flights.run("key", work, Deadline(Clock(), 10)), range(200)))
    assert answers == [7] * 200
    assert len(calls) == 1


def test_followers_share_the_leaders_error() -> None:
    """An error is not tried again by each of them."""
    flights: SingleFlight[int] = SingleFlight()
    calls = []

    def work() -> int:
        calls.append(1)
        time.sleep(0.3)
        raise BadResponse("no")

    def call(_: int) -> str:
        with pytest.raises(BadResponse):
            flights.run("key", work, Deadline(Clock(), 10))
        return "refused"

    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(call, range(20))) == {"refused"}
    assert len(calls) == 1


def test_a_follower_with_time_left_leads_when_the_leader_ran_out() -> None:
    """A leader that came late does not fail those who came with time."""
    flights: SingleFlight[int] = SingleFlight()
    started = threading.Event()

    def late() -> int:
        started.set()
        time.sleep(0.2)
        raise TimedOut("late")

    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(flights.run, "key", late, Deadline(Clock(), 0.1))
        started.wait(5)
        assert flights.run("key", lambda: 3, Deadline(Clock(), 10)) == 3
        assert isinstance(leader.exception(), TimedOut)


def test_a_deadline_is_pushed_out_by_holding_and_restarted_by_progress() -> None:
    """Time told by the injected clock alone."""
    clock = FakeClock()
    deadline = Deadline(clock, 10)
    clock.time += 9
    deadline.hold(30)
    assert deadline.remaining() == 31
    deadline.restart()
    assert deadline.remaining() == 10
    clock.time += 10
    with pytest.raises(TimedOut):
        deadline.check()
