"""Waiting for others: patience, single flight, deadlines."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from fakes import FakeClock
from kallglotfs.clock import Clock, Deadline
from kallglotfs.errors import BadResponse, Interrupted, KallglotError, ServiceFault, TimedOut
from kallglotfs.patience import Patience, Stalled
from kallglotfs.remote.retry import with_retries
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


def test_the_last_try_that_time_does_not_suffice_for_is_not_what_is_told() -> None:
    """A service that answers 503 for ever is that, wherever in a try the time is over."""
    clock = FakeClock()
    deadline = Deadline(clock, 3)
    tries = []

    def attempt() -> None:
        tries.append(clock.now())
        if len(tries) < 3:
            raise ServiceFault("503")
        raise TimedOut("no bytes in time")

    with pytest.raises(ServiceFault):
        with_retries(attempt, clock, deadline)
    assert len(tries) == 3


def test_a_try_that_stalls_at_once_is_told_as_it_is() -> None:
    """Nothing else went wrong before; what went wrong and well again is forgotten."""
    clock = FakeClock()
    deadline = Deadline(clock, 3)
    answers: list[KallglotError | None] = [ServiceFault("503"), None, TimedOut("no bytes in time")]

    def attempt() -> None:
        error = answers.pop(0)
        if error is not None:
            raise error

    with_retries(attempt, clock, deadline)
    with pytest.raises(TimedOut):
        with_retries(attempt, clock, deadline)


def test_who_has_no_time_left_is_told_what_the_work_is_trying_again_after() -> None:
    """Not merely that it takes long."""
    clock = Clock()
    deadline = Deadline(clock, 60)
    deadline.pause(1.0, ServiceFault("503"))
    with pytest.raises(ServiceFault):
        Patience(clock, -0.4, lambda: False).wait(Future(), deadline)
    deadline.restart()
    with pytest.raises(TimedOut):
        Patience(clock, -0.4, lambda: False).wait(Future(), deadline)


def test_work_that_stalls_is_left_when_its_caller_says_so() -> None:
    """To look for the answer elsewhere, with the rest of the time."""
    clock = Clock()
    patience = Patience(clock, 5, lambda: False)
    deadline = Deadline(clock, 60)
    with pytest.raises(Stalled):
        patience.wait(Future(), deadline, lambda: deadline.silence > 0.1)
    assert 0.1 < patience.spent < 2


def test_what_a_call_has_spent_before_it_does_not_get_again() -> None:
    """A look-up of two seconds leaves the open one of three."""
    patience = Patience(FakeClock(), 3, lambda: False, spent=2.0)
    assert patience.spent == pytest.approx(2.0)
