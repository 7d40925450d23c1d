"""Sources take turns, rest, fail and go on, and what they have reached is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from conftest import wait_until
from fakes import FakeClock
from kallglotfs.catalog.database import Database
from kallglotfs.catalog.source_store import SourceStore
from kallglotfs.catalog.sources import FIRST_PAUSE, LONGEST_PAUSE, Sources, Step
from kallglotfs.errors import SystemFault, Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Source:
    """Does what it is told, step by step; rests a minute when it is told nothing."""

    def __init__(self, name: str, *steps: Step | Exception) -> None:
        self.name = name
        self.steps = list(steps)
        self.positions: list[str] = []

    def step(self, position: str) -> Step:
        self.positions.append(position)
        step = self.steps.pop(0) if self.steps else Step(position, pause=60.0)
        if isinstance(step, Exception):
            raise step
        return step


class World:
    """Sources on a real catalog file."""

    def __init__(self, path: Path) -> None:
        self.clock = FakeClock()
        self.database = Database(path / "catalog.sqlite", self.clock)
        self.store = SourceStore(self.database)

    def sources(self, *sources: Source) -> Sources:
        return Sources(sources, self.store, self.clock)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Nothing has run yet."""
    made = World(tmp_path)
    yield made
    made.database.close()


def test_sources_take_turns(world: World) -> None:
    """One step each; who rests is passed over."""
    first, second = Source("first", Step("1"), Step("2")), Source("second")
    sources = world.sources(first, second)
    assert sources.run_due() == 0.0
    assert sources.run_due() == 0.0
    assert sources.run_due() == 60.0
    assert (first.positions, second.positions) == (["", "1", "2"], [""])


def test_a_restart_goes_on_where_it_was(world: World) -> None:
    """From the position after the last step."""
    world.sources(Source("first", Step("here", found=3))).run_due()
    again = Source("first")
    sources = world.sources(again)
    sources.run_due()
    assert again.positions == ["here"]
    assert sources.states()["first"].found == 3


@pytest.mark.parametrize("error", [Unreachable("down"), ValueError("a bug")])
def test_a_source_that_fails_is_tried_again_at_growing_distances(world: World, error: Exception) -> None:
    """It keeps its position, tells why, and stops no other."""
    broken, other = Source("broken", Step("here"), *[error] * 9), Source("other")
    sources = world.sources(broken, other)
    begin = world.clock.time
    while broken.steps:
        world.clock.time += max(sources.run_due(), 0.0)
    assert world.clock.time - begin > FIRST_PAUSE * 2**5
    assert sources.states()["broken"].last_error
    assert set(broken.positions[1:]) == {"here"}
    assert len(other.positions) > 5
    # The pause begins anew after a success.
    world.clock.time += LONGEST_PAUSE
    sources.run_due()
    assert sources.states()["broken"].last_error == ""
    broken.steps = [error]
    world.clock.time += LONGEST_PAUSE
    assert sources.run_due() <= FIRST_PAUSE
    assert world.store.state("broken").last_error


def test_a_source_that_has_no_more_is_not_asked_again(world: World) -> None:
    """In this run."""
    source = Source("first", Step("end", pause=None, note="nothing there"))
    sources = world.sources(source)
    assert sources.run_due() == float("inf")
    world.clock.time += 1e9
    assert sources.run_due() == float("inf")
    assert source.positions == [""]
    assert world.store.state("first").last_error == "nothing there"


def test_a_step_that_brings_nothing_is_not_written_down(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watch that looks every two seconds does not write every two seconds."""
    written: list[str] = []
    monkeypatch.setattr(world.store, "save", lambda name, _: written.append(name))
    sources = world.sources(Source("first", Step("", pause=2.0), Step("", pause=2.0), Step("x"), Step("x")))
    for _ in range(4):
        sources.run_due()
        world.clock.time += 2.0
    assert written == ["first"]


def test_a_full_disk_stops_no_source(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on from memory."""

    def full(*_: object) -> None:
        raise SystemFault("no space")

    monkeypatch.setattr(world.store, "save", full)
    source = Source("first", Step("1"), Step("2"))
    sources = world.sources(source)
    for _ in range(3):
        sources.run_due()
    assert source.positions == ["", "1", "2"]


def test_no_step_begins_after_the_end(world: World) -> None:
    """And the thread goes home."""
    source = Source("first")
    sources = world.sources(source)
    sources.stop()
    sources.start()
    sources.run_due()
    assert source.positions == []


def test_a_source_is_replaced_and_taken_away_while_others_run(world: World) -> None:
    """The new one begins at once, where that name has got to; a pause of the old one is not its own."""
    first, other = Source("one", Step("1", pause=None)), Source("other")
    sources = world.sources(first, other)
    sources.run_due()
    second = Source("one", Step("2", pause=5.0))
    sources.replace("one", second)
    assert sources.run_due() == 5.0
    assert (first.positions, second.positions, other.positions) == ([""], ["1"], [""])
    sources.replace("one", None)
    assert set(sources.states()) == {"other"}
    assert sources.run_due() == 60.0
    sources.replace("new", Source("new", Step("3")))
    assert sources.run_due() == 0.0
    assert sources.states()["new"].position == "3"


def test_a_source_that_is_added_wakes_the_thread(world: World) -> None:
    """Which sleeps without an end where nothing is due."""
    sources = world.sources(Source("one", Step("1", pause=None)))
    sources.start()
    assert wait_until(lambda: sources.states()["one"].position == "1")
    added = Source("added", Step("2", pause=None))
    sources.replace("added", added)
    assert wait_until(lambda: added.positions == [""])
    sources.stop()
