"""Recordings in processing are watched for, at growing distances, until they are what they will be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fakes import FakeClock
from kallglotfs.catalog.processing import GIVE_UP, LOOK, Processing
from kallglotfs.catalog.store import CatalogStore
from kallglotfs.clock import Deadline
from kallglotfs.errors import NotFound, ServiceFault
from kallglotfs.model import Recording, Rendition, Status

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kallglotfs.catalog.sources import Step


class World:
    """The source on a real catalog file."""

    def __init__(self, path: Path) -> None:
        self.clock = FakeClock()
        self.store = CatalogStore(path / "catalog.sqlite", self.clock)
        self.answers: dict[str, Recording | Exception] = {}
        self.asked: list[tuple[str, float]] = []
        self.noted: list[str] = []
        self.source = Processing(
            self.store, self, lambda: Deadline(self.clock, 1.0), self.clock, self.noted.append
        )

    def look_up(self, rendition: Rendition, deadline: Deadline) -> Recording:
        self.asked.append((rendition.recording_id, self.clock.time - 1_000_000.0))
        answer = self.answers.get(rendition.recording_id)
        if isinstance(answer, Exception):
            raise answer
        return answer or Recording(rendition.recording_id, status=Status.PROCESSING)

    def add(self, *ids: str) -> None:
        self.store.save(Recording(each, status=Status.PROCESSING) for each in ids)

    def run(self, seconds: float) -> list[Step]:
        """Let time pass, as the thread of the sources does."""
        ends = self.clock.time + seconds
        steps = []
        while self.clock.time <= ends:
            step = self.source.step("")
            steps.append(step)
            assert step.pause is not None
            self.clock.time += step.pause
        return steps


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Nothing in processing."""
    made = World(tmp_path)
    yield made
    made.store.close()


def test_nothing_in_processing_costs_nothing(world: World) -> None:
    """But an indexed look now and then."""
    assert {step.pause for step in world.run(1000)} == {LOOK}
    assert world.asked == []


def test_one_that_becomes_ready_is_saved_and_told(world: World) -> None:
    """Within seconds of the service's saying so."""
    world.add("rec_a")
    world.run(20)
    world.answers["rec_a"] = Recording("rec_a", size=5)
    assert sum(step.found for step in world.run(20)) == 1
    assert world.noted == ["rec_a"]
    assert world.store.processing() == []
    asked = len(world.asked)
    world.run(1000)
    assert len(world.asked) == asked


def test_one_that_stays_is_asked_for_at_growing_distances_and_given_up(world: World) -> None:
    """Some dozens of requests in two days, then none."""
    world.add("rec_a")
    world.run(2 * GIVE_UP)
    times = [moment for _, moment in world.asked]
    assert times[0] <= 10
    assert len(times) < 90
    assert times[-1] < GIVE_UP + 3600
    assert world.store.processing() == ["rec_a"]


@pytest.mark.parametrize("status", [Status.FAILED, None])
def test_one_that_fails_or_vanishes_is_told_and_not_found(world: World, status: Status | None) -> None:
    """The kernel's attributes are to be forgotten."""
    world.add("rec_a")
    world.answers["rec_a"] = NotFound("404") if status is None else Recording("rec_a", status=status)
    assert sum(step.found for step in world.run(20)) == 0
    assert world.noted == ["rec_a"]
    assert len(world.asked) == 1


def test_one_that_cannot_be_asked_for_holds_up_no_other(world: World) -> None:
    """The next step is another's."""
    world.add("rec_a", "rec_b")
    world.answers = {"rec_a": ServiceFault("500"), "rec_b": Recording("rec_b")}
    world.source.step("")
    world.clock.time += 10
    with pytest.raises(ServiceFault):
        world.source.step("")
    assert world.source.step("").found == 1
    assert world.noted == ["rec_b"]
