"""Waiting for others: patience, single flight, deadlines."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from fakes import FakeClock
from kallglotfs.clock import Clock, Deadline
from kallglotfs.errors import (
    BadResponse,
    Interrupted,
    KallglotError,
    NothingToSpare,
    RateLimited,
    ServiceFault,
    TimedOut,
)
from kallglotfs.patience import Patience, Stalled
from kallglotfs.remote.retry import with_retries
from kallglotfs.single_flight import SingleFlight
from kallglotfs.urgency import Bulk, Urgency


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
    calls, callers = [], []

    def work() -> int:
        calls.append(1)
        while len(callers) < 200:
            time.sleep(0.01)
        time.sleep(0.3)
        return 7

    def call(number: int) -> int:
        callers.append(number)
        return flights.run("key", work, Deadline(Clock(), 30))

    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(call, range(200)))
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


@pytest.mark.parametrize("error", [NothingToSpare("no"), Interrupted("nobody")])
def test_a_follower_leads_when_the_leader_gave_up_for_want_of_somebody_waiting(error: Exception) -> None:
    """Now there is somebody."""
    flights: SingleFlight[int] = SingleFlight()
    started = threading.Event()

    def unwanted() -> int:
        started.set()
        time.sleep(0.2)
        raise error

    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(flights.run, "key", unwanted, Deadline(Clock(), 10))
        started.wait(5)
        assert flights.run("key", lambda: 3, Deadline(Clock(), 10)) == 3
        assert leader.exception() is error


def test_a_leader_becomes_as_urgent_as_its_followers() -> None:
    """Also when somebody joins a follower later."""
    flights: SingleFlight[int] = SingleFlight()
    started, ended = threading.Event(), threading.Event()
    leader = Deadline(Clock(), 10, Urgency.PREFETCH)
    follower = Deadline(Clock(), 10, Urgency.PREFETCH)

    def work() -> int:
        started.set()
        ended.wait(5)
        return 7

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(flights.run, "key", work, leader)
        started.wait(5)
        second = pool.submit(flights.run, "key", work, follower)
        while follower._leader is None:
            time.sleep(0.001)
        assert leader.urgency() is Urgency.PREFETCH
        follower.join(Bulk())
        assert leader.urgency() is Urgency.BULK
        follower.join(None)
        assert leader.urgency() is Urgency.INTERACTIVE
        ended.set()
        assert first.result() == second.result() == 7


def test_a_follower_waits_as_long_as_it_was_held_up_with_its_leader_and_not_twice() -> None:
    """And not beyond what it may be held up altogether."""
    flights: SingleFlight[int] = SingleFlight()
    started, ended = threading.Event(), threading.Event()
    leader = Deadline(Clock(), 10)
    leader.most_held = 1.0

    def work() -> int:
        started.set()
        leader.pause()
        ended.wait(5)
        leader.resume()
        return 7

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(flights.run, "key", work, leader)
        started.wait(5)
        fresh, tired = Deadline(Clock(), 0.3), Deadline(Clock(), 0.1)
        tired.hold(0.9)
        # That was long ago.
        tired._ends -= 0.9
        second = pool.submit(flights.run, "key", work, fresh)
        third = pool.submit(flights.run, "key", work, tired)
        began = time.monotonic()
        with pytest.raises(RateLimited):
            third.result()
        assert time.monotonic() - began < 0.8
        ended.set()
        assert first.result() == second.result() == 7
        assert fresh.held == pytest.approx(leader.held, abs=0.3)


def test_patience_with_the_rate_limit_ends_for_the_whole_call() -> None:
    """However many pieces of work it waits for."""
    patience = Patience(Clock(), 5, lambda: False, throttle_timeout=0.6)

    def wait() -> int:
        deadline = Deadline(Clock(), 5)
        future: Future[int] = Future()
        threading.Timer(0.05, deadline.hold, [0.6]).start()
        threading.Timer(0.5, future.set_result, [1]).start()
        return patience.wait(future, deadline)

    assert wait() == 1
    with pytest.raises(RateLimited):
        wait()


def test_a_pause_does_not_count_while_it_lasts_and_after() -> None:
    """For the deadline and for who looks at it."""
    clock = FakeClock()
    deadline = Deadline(clock, 10)
    deadline.pause()
    clock.time += 30
    assert deadline.remaining() == 10
    assert deadline.held == 30
    deadline.resume()
    clock.time += 4
    assert deadline.remaining() == 6
    assert deadline.held == 30


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
    deadline.rest(1.0, ServiceFault("503"))
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
