"""The budget governor, on a clock that only waiting moves."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest

from fakes import FakeClock
from kallglotfs.clock import Clock, Deadline
from kallglotfs.errors import Interrupted, NothingToSpare, RateLimited
from kallglotfs.remote.budget import Budget
from kallglotfs.urgency import Bulk, Urgency

if TYPE_CHECKING:
    from kallglotfs.remote.gate import Pass


@dataclass
class World:
    """A service that counts requests in windows, and a budget before it.

    Attributes:
        limit: requests per window.
        length: seconds of a window, which begins with its first request.
        skew: seconds by which the service's clock is ahead.
        dated: whether it sends its Date.
        floors: whether it rounds the reset down.
        headers: those of the three that it sends.
        retry_after: what a 429 says; None for the seconds to the reset, "" for nothing.
        slides: whether the window is the last `length` seconds at any moment.
    """

    limit: int = 60
    length: float = 60.0
    skew: float = 0.0
    dated: bool = True
    floors: bool = False
    headers: tuple[str, ...] = ("Limit", "Remaining", "Reset")
    retry_after: str | None = None
    slides: bool = False
    clock: FakeClock = field(default_factory=FakeClock)
    used: list[float] = field(default_factory=list)
    began: float = float("-inf")
    refused: int = 0
    granted: int = 0

    def __post_init__(self) -> None:
        self.budget = Budget(self.clock, 90)
        self.clock.time += 0.37

    def ask(self, urgency: Urgency = Urgency.INTERACTIVE) -> float:
        """Make a request and return the seconds it was held up."""
        deadline = Deadline(self.clock, 20, urgency)
        while True:
            given = self.budget.admit(deadline)
            if self.serve(given):
                return deadline.held

    def serve(self, given: Pass) -> bool:
        """Answer a request; tell whether it was granted."""
        now = self.clock.now()
        if self.slides:
            self.used = [at for at in self.used if now - at < self.length]
            resets = (self.used[0] if self.used else now) + self.length
        else:
            if now >= self.began + self.length:
                self.began, self.used = now, []
            resets = self.began + self.length
        granted = len(self.used) < self.limit
        if granted:
            self.used.append(now)
            self.granted += 1
        else:
            self.refused += 1
        answer = self.standing(self.limit - len(self.used), resets)
        if granted:
            self.budget.answered(given, answer)
            return True
        if self.retry_after is None:
            answer["Retry-After"] = str(int(resets - now + 0.999))
        elif self.retry_after:
            answer["Retry-After"] = self.retry_after
        self.budget.refused(given, answer)
        return False

    def standing(self, remaining: int, resets: float) -> dict[str, str]:
        """Return the headers of an answer."""
        wall = self.clock.wall() + self.skew
        reset = wall + resets - self.clock.now()
        values = {
            "Limit": str(self.limit),
            "Remaining": str(remaining),
            "Reset": str(int(reset if self.floors else reset + 0.999)),
        }
        sent = {f"X-RateLimit-{name}": values[name] for name in self.headers}
        return sent | ({"Date": formatdate(wall, usegmt=True)} if self.dated else {})

    def others(self, count: int) -> None:
        """Let somebody else who shares the budget make requests."""
        now = self.clock.now()
        if now >= self.began + self.length:
            self.began, self.used = now, []
        self.used += [now] * min(count, self.limit - len(self.used))


def test_a_persons_request_goes_while_there_is_one() -> None:
    """And the next one waits for the reset, instead of being answered with a 429."""
    world = World()
    for _ in range(60):
        assert world.ask() == 0
    assert 59 <= world.ask() <= 62
    assert world.refused == 0


@pytest.mark.parametrize("floors", [False, True])
def test_bulk_is_spread_over_the_window_and_uses_nearly_all_of_it(
    floors: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Three hundred requests at sixty a minute take five minutes and a little, without one 429."""
    world = World(floors=floors)
    began = world.clock.now()
    waits = []
    for _ in range(300):
        waits.append(world.ask(Urgency.BULK))
        world.clock.sleep(0.05)
    assert world.refused == 0
    assert max(waits) < 6
    assert 240 <= world.clock.now() - began < 325


def test_a_person_is_answered_at_once_beside_a_bulk_reader() -> None:
    """At any moment of a window, the gap between two included."""
    world = World()
    waits = []
    for turn in range(300):
        world.ask(Urgency.BULK)
        if turn % 7 == 0:
            waits.append(world.ask())
    assert world.refused == 0
    assert max(waits) < 0.5


def test_others_who_share_the_budget_are_made_room_for() -> None:
    """Somebody takes one every two seconds: bulk slows down, and nobody gets a 429."""
    world = World()
    mark = world.clock.now()
    for _ in range(150):
        world.ask(Urgency.BULK)
        due = int((world.clock.now() - mark) / 2)
        world.others(due)
        mark += due * 2
    assert world.refused == 0
    assert 0.35 < 150 / (world.clock.now() - 1_000_000) < 0.6


def test_answers_that_overtake_each_other_raise_nothing() -> None:
    """Within a window the lowest number is the latest."""
    world = World(limit=4)
    passes = [world.budget.admit(Deadline(world.clock, 20)) for _ in range(4)]
    resets = world.clock.now() + 60
    for given, remaining in zip(passes, (0, 3, 1, 2), strict=True):
        world.budget.answered(given, world.standing(remaining, resets))
    deadline = Deadline(world.clock, 20)
    world.budget.admit(deadline)
    assert deadline.held > 55


def test_a_window_that_was_believed_over_too_early_costs_one_429_at_the_most() -> None:
    """The first one goes alone; without a Date the service's clock is learned from its refusal."""
    world = World(skew=-20, dated=False)
    for _ in range(400):
        world.ask(Urgency.BULK)
    assert world.refused <= 1


@pytest.mark.parametrize("dated", [True, False])
@pytest.mark.parametrize("skew", [3600, -3600, 86400, -86400, 5, -5])
def test_the_services_clock_need_not_be_ours(
    skew: float,
    dated: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """An hour, a day or seconds off, told or not."""
    world = World(skew=skew, dated=dated)
    began = world.clock.now()
    for _ in range(300):
        world.ask(Urgency.BULK)
    assert world.refused <= (0 if dated else 1)
    assert world.clock.now() - began < 400


@pytest.mark.parametrize(
    "headers", [("Remaining",), ("Limit",), ("Limit", "Remaining"), ("Remaining", "Reset")]
)
def test_some_of_the_headers_will_do(headers: tuple[str, ...]) -> None:
    """What is not told is assumed."""
    world = World(headers=headers)
    began = world.clock.now()
    for _ in range(300):
        world.ask(Urgency.BULK)
    assert world.refused <= 1
    assert world.clock.now() - began < 420


@pytest.mark.parametrize("headers", [("Limit", "Remaining", "Reset"), ("Limit", "Remaining")])
def test_a_window_that_slides_confuses_nobody(headers: tuple[str, ...]) -> None:
    """Its reset moves on with every answer."""
    world = World(slides=True, headers=headers)
    began = world.clock.now()
    for _ in range(300):
        world.ask(Urgency.BULK)
    assert world.refused == 0
    assert world.clock.now() - began < 600


def test_a_service_that_tells_nothing_is_free_until_the_first_429() -> None:
    """Then what it granted stands for its limit, and more is tried bit by bit."""
    world = World(headers=())
    assert [world.ask(Urgency.BULK) for _ in range(60)] == [0] * 60
    began = world.clock.now()
    for _ in range(300):
        world.ask(Urgency.BULK)
    assert 1 <= world.refused <= 8
    assert world.clock.now() - began < 420


def test_nothing_new_for_a_while_is_a_new_window_not_no_limit() -> None:
    """Bulk does not burst through what it knew of yesterday."""
    world = World(limit=16)
    world.ask()
    world.clock.sleep(3600)
    held = [world.ask(Urgency.BULK) for _ in range(5)]
    assert held[:2] == [0, 0]
    assert held[-1] > 1


def test_a_429_closes_the_gate_for_everybody() -> None:
    """For as long as it says."""
    world = World(headers=())
    given = world.budget.admit(Deadline(world.clock, 20))
    world.budget.refused(given, {"Retry-After": "12"})
    deadline = Deadline(world.clock, 20)
    world.budget.admit(deadline)
    assert deadline.held == pytest.approx(12)
    assert deadline.remaining() == pytest.approx(20)


@pytest.mark.parametrize("text", ["91", "1000000000"])
def test_a_wait_beyond_the_throttle_timeout_is_refused_at_once(text: str) -> None:
    """Nobody sleeps for nothing."""
    world = World()
    world.budget.refused(world.budget.admit(Deadline(world.clock, 20)), {"Retry-After": text})
    before = world.clock.now()
    with pytest.raises(RateLimited):
        world.budget.admit(Deadline(world.clock, 20))
    assert world.clock.now() == before


def test_a_pause_that_nobody_can_mean_is_probed() -> None:
    """One request every ten seconds, and all is well with the first that is answered."""
    world = World()
    world.budget.refused(world.budget.admit(Deadline(world.clock, 20)), {"Retry-After": "1000000000"})
    tried = 0
    for _ in range(60):
        world.clock.sleep(1)
        try:
            given = world.budget.admit(Deadline(world.clock, 20))
        except RateLimited:
            continue
        tried += 1
        world.budget.refused(given, {"Retry-After": "1000000000"})
    assert tried == 6
    world.clock.sleep(10)
    world.budget.answered(world.budget.admit(Deadline(world.clock, 20)), {})
    assert world.ask() == 0


@pytest.mark.parametrize("text", ["", "garbage", "-5", "nan", "0", "Thu, 01 Jan 1970 00:00:10 GMT"])
def test_a_429_that_names_no_time_pauses_longer_each_time(text: str) -> None:
    """One second, two, four: no loop of 429s."""
    world = World()
    held = []
    for _ in range(4):
        deadline = Deadline(world.clock, 20)
        world.budget.refused(world.budget.admit(deadline), {"Retry-After": text})
        held.append(deadline.held)
    assert held == pytest.approx([0, 1, 2, 4])


def test_a_429_that_names_no_time_waits_for_the_reset_where_that_is_told() -> None:
    """Which is soon enough, and certain."""
    world = World(limit=5, retry_after="-3")
    world.ask()
    world.others(4)
    assert 58 < world.ask() < 63
    assert world.refused == 1


def test_many_refusals_at_once_are_one() -> None:
    """Twenty requests were under way: the pause is one second, not a million."""
    world = World(headers=())
    passes = [world.budget.admit(Deadline(world.clock, 20)) for _ in range(20)]
    for given in passes:
        world.budget.refused(given, {})
    deadline = Deadline(world.clock, 20)
    world.budget.admit(deadline)
    assert deadline.held == pytest.approx(1)


def test_after_a_pause_requests_go_one_two_four_at_a_time() -> None:
    """Not all at once into another 429."""
    world = World(headers=())
    world.budget.refused(world.budget.admit(Deadline(world.clock, 20)), {"Retry-After": "5"})
    world.clock.sleep(5)
    steps = []
    for step in (1, 2, 4):
        passes = []
        while True:
            deadline = Deadline(world.clock, 20)
            given = world.budget.admit(deadline)
            passes.append(given)
            if deadline.held:
                break
        steps.append(len(passes) - 1)
        # The last one came through only because two seconds went by.
        for given in passes[:step]:
            world.budget.answered(given, {})
        for given in passes[step:]:
            world.budget.lost(given)
    assert steps[0] == 1
    assert steps == sorted(steps)


def test_headers_that_make_no_sense_are_not_believed() -> None:
    """A reset in the past or next year stops nobody for longer than a minute."""
    world = World()
    for reset in ("-100", "99999999999", "nan", "soon"):
        given = world.budget.admit(Deadline(world.clock, 20))
        world.budget.answered(given, {"X-RateLimit-Remaining": "5", "X-RateLimit-Reset": reset})
    assert world.ask() == 0


def test_prefetch_never_waits_and_leaves_a_reserve() -> None:
    """It takes from the same bucket as bulk, and nothing when that runs low."""
    world = World()
    world.ask()
    taken = 0
    while world.budget.can_spare():
        assert world.ask(Urgency.PREFETCH) == 0
        taken += 1
    assert 5 <= taken <= 7
    with pytest.raises(NothingToSpare):
        world.ask(Urgency.PREFETCH)
    assert world.ask(Urgency.BULK) < 2
    assert world.ask() == 0


def test_background_leaves_half_of_the_window_alone() -> None:
    """A person and a bulk reader find it there."""
    world = World()
    world.ask()
    began = world.clock.now()
    while world.clock.now() - began < 20:
        world.ask(Urgency.BACKGROUND)
    assert world.granted < 30
    assert world.ask(Urgency.BULK) < 2
    assert world.ask() == 0


class Queue:
    """A budget whose gate is closed, on the real clock, with threads that wait before it."""

    def __init__(self, pause: str = "1") -> None:
        self.budget = Budget(Clock(), 90)
        told = {"X-RateLimit-Limit": "900", "X-RateLimit-Remaining": "900", "Retry-After": pause}
        self.budget.refused(self.budget.admit(Deadline(Clock(), 20)), told)
        self.order: list[str] = []
        self.threads: list[threading.Thread] = []

    def add(self, name: str, deadline: Deadline) -> None:
        def run() -> None:
            try:
                given = self.budget.admit(deadline)
            except Interrupted:
                self.order.append(f"{name} left")
                return
            self.order.append(name)
            self.budget.answered(given, {})

        before = len(self.budget._waiting)
        thread = threading.Thread(target=run)
        thread.start()
        self.threads.append(thread)
        while len(self.budget._waiting) == before and thread.is_alive():
            time.sleep(0.001)

    def join(self) -> None:
        for thread in self.threads:
            thread.join(10)


def test_the_most_urgent_goes_first_and_within_a_class_who_came_first() -> None:
    """Whoever waits longest is not overtaken by their equals."""
    queue = Queue()
    for name, urgency in (
        ("background", Urgency.BACKGROUND),
        ("bulk 1", Urgency.BULK),
        ("person 1", Urgency.INTERACTIVE),
        ("bulk 2", Urgency.BULK),
        ("person 2", Urgency.INTERACTIVE),
    ):
        queue.add(name, Deadline(Clock(), 20, urgency))
    queue.join()
    assert queue.order == ["person 1", "person 2", "bulk 1", "bulk 2", "background"]


def test_work_that_somebody_more_urgent_comes_to_wait_for_moves_up() -> None:
    """While it is waiting."""
    queue = Queue()
    deadline = Deadline(Clock(), 20, Urgency.BACKGROUND)
    queue.add("bulk", Deadline(Clock(), 20, caller=Bulk()))
    queue.add("promoted", deadline)
    deadline.join(None)
    queue.join()
    assert queue.order == ["promoted", "bulk"]


def test_work_that_nobody_wants_any_more_leaves_at_once_and_spends_nothing() -> None:
    """Ctrl-C in a queue of a minute."""
    queue = Queue("60")
    deadline = Deadline(Clock(), 20)
    queue.add("gone", deadline)
    began = time.monotonic()
    deadline.call_off()
    queue.join()
    assert queue.order == ["gone left"]
    assert time.monotonic() - began < 1


def test_waiting_is_cut_off_by_the_throttle_timeout() -> None:
    """Not a moment later, where nobody knew how long it would take."""
    clock = FakeClock()
    budget = Budget(clock, 5)
    # Nobody says for how long: the last one is for persons.
    given = budget.admit(Deadline(clock, 20))
    budget.answered(given, {"X-RateLimit-Limit": "2", "X-RateLimit-Remaining": "1"})
    deadline = Deadline(clock, 20, Urgency.BULK)
    with pytest.raises(RateLimited):
        budget.admit(deadline)
    assert deadline.held == pytest.approx(5)


@pytest.mark.parametrize("count", [5, 40, 150])
def test_the_time_that_bulk_will_take_is_told(count: int) -> None:
    """Within a third, whether it fits the window or takes several; unknown before any answer."""
    world = World()
    assert world.budget.forecast(count) is None
    world.ask()
    told = world.budget.forecast(count)
    assert told is not None
    began = world.clock.now()
    for _ in range(count):
        world.ask(Urgency.BULK)
    taken = world.clock.now() - began
    assert abs(told - taken) <= max(3.0, taken / 3)
