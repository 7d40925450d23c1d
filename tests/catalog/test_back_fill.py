"""Paging through the service's list of sessions, whatever the service makes of paging."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from fakes import FakeClock
from kallglotfs.catalog.back_fill import NEWS, BackFill
from kallglotfs.catalog.session_store import SessionStore
from kallglotfs.catalog.store import CatalogStore
from kallglotfs.clock import Deadline
from kallglotfs.errors import NoSuchFormat, NotFound, NotPermitted
from kallglotfs.model import Session
from kallglotfs.vfs.naming import is_session_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from kallglotfs.catalog.sources import Step

PAGE = 10


@dataclass
class Page:
    """A page."""

    sessions: list[Session]
    more: bool


@dataclass
class Service:
    """A list of sessions, newest first, cursor-paginated as the reference says."""

    ids: list[str]
    asked: list[dict[str, str]] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    deaf: bool = False
    store: SessionStore | None = None
    refuses: frozenset[str] = frozenset()

    def sessions(self, cursor: Mapping[str, str], deadline: Deadline) -> Page:
        self.asked.append(dict(cursor))
        assert len(self.asked) < 500, "it asks for ever"
        if self.errors:
            raise self.errors.pop(0)
        if self.deaf:
            return Page([Session(each) for each in self.ids[:PAGE]], more=True)
        for name in cursor.values():
            if name not in self.ids:
                raise NoSuchFormat("422")
        if "ending_before" in cursor:
            at = self.ids.index(cursor["ending_before"])
            begin = max(0, at - PAGE)
            return Page([Session(each) for each in self.ids[begin:at]], begin > 0)
        begin = self.ids.index(cursor["starting_after"]) + 1 if cursor else 0
        return Page([Session(each) for each in self.ids[begin : begin + PAGE]], begin + PAGE < len(self.ids))

    def list_now(self, session_id: str, deadline: Deadline) -> int:
        self.listed.append(session_id)
        assert len(self.listed) < 500, "it lists for ever"
        if session_id in self.refuses:
            raise NotPermitted("403")
        if self.store is not None:
            self.store.listed(session_id, 1.0, settled=True)
        return 1


class World:
    """The source on a real catalog file."""

    def __init__(self, path: Path, count: int) -> None:
        self.clock = FakeClock()
        self.catalog = CatalogStore(path / "catalog.sqlite", self.clock)
        self.store = SessionStore(self.catalog.database)
        self.service = Service([f"sess_{number:03}" for number in range(count, 0, -1)], store=self.store)
        self.position = ""
        self.source = self.again()

    def again(self) -> BackFill:
        return BackFill(
            self.service, self.store, self.service, lambda: Deadline(self.clock, 1.0), is_session_id,
        )  # fmt: skip

    def step(self) -> Step:
        found = self.source.step(self.position)
        self.position = found.position
        return found

    def run(self, most: int = 400) -> Step:
        """Go on until the source wants to rest."""
        for _ in range(most):
            found = self.step()
            if found.pause is None or found.pause >= NEWS:
                return found
        raise AssertionError("it does not come to rest")

    def known(self) -> list[str]:
        return sorted(self.store.ids())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Thirty-five sessions, none known."""
    made = World(tmp_path, 35)
    yield made
    made.catalog.close()


def test_everything_is_paged_in_once(world: World) -> None:
    """A request a page and a session."""
    assert world.run().pause == NEWS
    assert world.known() == sorted(world.service.ids)
    assert sorted(world.service.listed) == sorted(world.service.ids)
    assert len(world.service.asked) == 4


def test_news_are_asked_for_now_and_then(world: World) -> None:
    """One request where there are none; all pages where there are many."""
    world.run()
    world.service.asked.clear()
    world.service.listed.clear()
    world.run()
    assert world.service.asked == [{"ending_before": "sess_035"}]
    world.service.ids = [f"sess_{number:03}" for number in range(60, 0, -1)]
    world.run()
    assert world.known() == sorted(world.service.ids)
    assert len(world.service.listed) == 25
    assert len(world.service.asked) <= 5


@pytest.mark.parametrize("seed", range(8))
def test_it_goes_on_from_wherever_it_was_stopped(world: World, seed: int) -> None:
    """A restart at any step asks for no page twice but the last, and lists no session twice."""
    chosen = random.Random(seed)
    for _ in range(200):
        if world.step().pause == NEWS:
            break
        if chosen.random() < 0.3:
            world.source = world.again()
    assert world.known() == sorted(world.service.ids)
    assert sorted(world.service.listed) == sorted(world.service.ids)
    assert sum("ending_before" not in each for each in world.service.asked) == 4


def test_a_service_that_knows_no_cursors_comes_to_an_end(world: World) -> None:
    """The same page for ever: twice is enough, and once for news."""
    world.service.deaf = True
    world.run()
    assert len(world.service.asked) == 2
    for _ in range(3):
        world.run()
    assert len(world.service.asked) == 5
    assert len(world.known()) == PAGE


def test_pages_that_lead_round_in_a_circle_come_to_an_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A, B, A, B and more of it is promised each time."""
    pages = [["sess_1", "sess_2"], ["sess_3", "sess_4"]]

    def circle(cursor: Mapping[str, str], deadline: Deadline) -> Page:
        world.service.asked.append(dict(cursor))
        return Page([Session(each) for each in pages[len(world.service.asked) % 2]], more=True)

    monkeypatch.setattr(world.service, "sessions", circle)
    world.run()
    assert len(world.service.asked) <= 4
    for _ in range(3):
        world.run()
    assert len(world.service.asked) <= 12
    assert world.known() == ["sess_1", "sess_2", "sess_3", "sess_4"]


def test_a_cursor_that_has_vanished_begins_anew(world: World) -> None:
    """While the past is paged in: from the newest. Later: only down to what is known."""
    for _ in range(1 + PAGE):
        world.step()
    world.service.ids.remove("sess_026")
    world.run()
    assert set(world.service.ids) <= set(world.known())
    world.service.asked.clear()
    world.service.ids = ["sess_050", *world.service.ids[1:]]
    world.run()
    world.run()
    assert "sess_050" in world.known()
    assert len(world.service.asked) <= 5


def test_a_service_that_takes_no_cursor_of_news_is_not_paged_through_each_time(world: World) -> None:
    """Two requests at each look: the cursor that is refused, and the first page."""
    world.run()
    world.service.asked.clear()
    for _ in range(3):
        world.service.errors = [NoSuchFormat("422")]
        world.run()
    assert len(world.service.asked) <= 12


def test_no_list_is_learned_with_one_request(world: World) -> None:
    """The newer generation: no more in this run."""
    world.service.errors = [NotFound("404")]
    found = world.step()
    assert found.pause is None
    assert "lists no sessions" in found.note
    assert world.service.asked == [{}]


def test_a_session_that_is_refused_holds_up_no_other(world: World) -> None:
    """It is tried again when news are looked for."""
    world.service.refuses = frozenset({"sess_030"})
    world.run()
    assert sorted(world.service.listed) == sorted(world.service.ids)
    world.run()
    assert world.service.listed.count("sess_030") == 2


def test_a_catalog_that_cannot_be_written_does_not_burn_the_budget(world: World) -> None:
    """Each session once a round, though none can be noted as listed."""
    world.service.store = None
    world.run()
    assert len(world.service.listed) == 35


@pytest.mark.parametrize("position", ["x", "[]", "[1]", "{}", "[" * 5000, "null", '["a", "b", true]', "5"])
def test_a_position_that_cannot_be_read_is_the_beginning(world: World, position: str) -> None:
    """Whoever wrote it."""
    world.position = position
    world.run()
    assert len(world.known()) == 35


def test_ids_that_are_none_are_passed_over(world: World) -> None:
    """And what is behind them is found."""
    world.service.ids[9] = "../../etc"
    world.run()
    assert len(world.known()) == 34
