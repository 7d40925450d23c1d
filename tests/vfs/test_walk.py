"""Walks: what comes next is brought along for who reads in order, nothing for anybody else."""

from __future__ import annotations

import random
from concurrent.futures import Future

from kallglotfs.errors import NotFound
from kallglotfs.model import Rendition, RenditionFacts, Validator
from kallglotfs.vfs.walk import PROOF, Walk

FILES = [Rendition(f"rec_{index:03}", "mp3") for index in range(100)]
FACTS = RenditionFacts(Validator(1000, '"v"'))


class World:
    """A listing of a hundred files, none of them known or cached."""

    def __init__(self) -> None:
        self.asked: list[Rendition] = []
        self.pending: dict[Rendition, Future[RenditionFacts]] = {}
        self.confirmed: dict[Rendition, RenditionFacts] = {}
        self.allowed = 1000
        self.time = 0.0
        self.walk = Walk(self, self, self, self.can_spare, lambda: self.time, depth=4)

    def can_spare(self) -> bool:
        self.allowed -= 1
        return self.allowed >= 0

    def following(self, rendition: Rendition, count: int) -> list[Rendition]:
        place = FILES.index(rendition) + 1
        return FILES[place : place + count]

    def facts(self, rendition: Rendition) -> RenditionFacts | None:
        return self.confirmed.get(rendition)

    def confirm(self, rendition: Rendition, facts: RenditionFacts) -> None:
        self.confirmed[rendition] = facts

    def holds(self, rendition: Rendition, validator: Validator, index: int) -> bool:
        return rendition in self.confirmed

    def bring(self, rendition: Rendition) -> Future[RenditionFacts] | None:
        if rendition in self.pending:
            return None
        self.asked.append(rendition)
        self.pending[rendition] = Future()
        return self.pending[rendition]

    def read(self, rendition: Rendition) -> None:
        """Open a file and read it to its end, in a tenth of a second."""
        self.time += 0.1
        self.walk.opened(rendition)
        self.walk.finished(rendition)

    def land(self) -> None:
        """Let everything under way arrive."""
        for future in self.pending.values():
            if not future.done():
                future.set_result(FACTS)


def test_nothing_is_brought_before_a_walk_is_proven() -> None:
    """Two files in a row may be chance."""
    world = World()
    for file in FILES[:PROOF]:
        world.read(file)
    assert world.asked == []
    world.read(FILES[PROOF])
    assert world.asked == FILES[PROOF + 1 : PROOF + 3]


def test_the_further_a_walk_goes_the_more_is_brought() -> None:
    """Up to the depth."""
    world = World()
    for file in FILES[: PROOF + 2]:
        world.read(file)
    assert world.asked == FILES[PROOF + 1 : PROOF + 5]


def test_who_listens_to_one_call_after_the_other_has_the_next_one_brought() -> None:
    """Each takes minutes; what is never heard would cost requests for nothing."""
    world = World()
    for file in FILES[:10]:
        world.time += 200
        world.read(file)
        world.land()
    assert world.asked == FILES[PROOF + 1 : 11]


def test_a_walk_asks_for_every_file_once() -> None:
    """However far it goes."""
    world = World()
    for file in FILES:
        world.read(file)
        world.land()
    assert world.asked == FILES[PROOF + 1 :]
    assert set(world.confirmed) == set(world.asked)


def test_no_more_than_the_depth_is_under_way() -> None:
    """Memory and threads are bounded, even where nothing arrives."""
    world = World()
    for file in FILES[:20]:
        world.read(file)
    assert len(world.asked) == 4


def test_who_opens_at_random_gets_nothing_ahead() -> None:
    """Reading every file to its end is not walking."""
    world = World()
    order = FILES[:]
    random.Random(7).shuffle(order)
    for file in order:
        world.read(file)
    assert len(world.asked) <= 4


def test_who_opens_in_order_without_reading_gets_nothing_ahead() -> None:
    """A player that shows covers, an indexer."""
    world = World()
    for file in FILES:
        world.walk.opened(file)
    assert world.asked == []


def test_two_walks_do_not_disturb_each_other() -> None:
    """Two rsyncs of one mount."""
    world = World()
    for step in range(PROOF + 1):
        for file in (FILES[step], FILES[50 + step]):
            world.read(file)
            world.land()
    assert set(world.asked) == {*FILES[PROOF + 1 : PROOF + 3], *FILES[PROOF + 51 : PROOF + 53]}


def test_what_the_budget_does_not_spare_is_not_asked_for() -> None:
    """Somebody may be waiting for those requests."""
    world = World()
    world.allowed = 1
    for file in FILES[:10]:
        world.read(file)
    assert len(world.asked) == 1
    world.land()
    world.read(FILES[10])
    assert len(world.asked) == 1


def test_a_walk_that_no_person_takes_is_told_from_one_that_a_person_may_take() -> None:
    """Whoever asks: a file server's clients all look the same."""
    world = World()
    for file in FILES[:8]:
        assert not world.walk.hurries(file)
        world.read(file)
    assert world.walk.hurries(FILES[8])
    assert not world.walk.hurries(FILES[20])
    stroll = World()
    for file in FILES[:20]:
        assert not stroll.walk.hurries(file)
        stroll.read(file)
        stroll.time += 30


def test_a_file_that_cannot_be_brought_stops_nothing() -> None:
    """Its own reader will be told."""
    world = World()
    for file in FILES[: PROOF + 2]:
        world.read(file)
    for future in world.pending.values():
        future.set_exception(NotFound("gone"))
    world.read(FILES[PROOF + 2])
    world.read(FILES[PROOF + 3])
    assert world.confirmed == {}
    assert len(world.asked) > 4
