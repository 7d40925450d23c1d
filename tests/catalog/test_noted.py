"""What comes by itself overtakes answers that were asked for before it, and what is remembered of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from fakes import FakeClock
from kallglotfs.catalog.catalog import Catalog
from kallglotfs.catalog.store import CatalogStore
from kallglotfs.errors import NoSuchFormat, NotFound
from kallglotfs.model import Recording, Rendition, Status
from kallglotfs.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kallglotfs.clock import Deadline

MP3 = Rendition("rec_1", "mp3")
READY = Recording("rec_1", size=4711)


class Service:
    """A service whose answers a test writes; it counts what it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer: Callable[[], Recording] = lambda: READY

    def look_up(self, rendition: Rendition, deadline: Deadline) -> Recording:
        self.asked += 1
        return self.answer()


class World:
    """A catalog on a real file, and the service behind it."""

    def __init__(self, store: CatalogStore, executor: ThreadPoolExecutor, clock: FakeClock) -> None:
        self.store = store
        self.service = Service()
        self.clock = clock
        self.gone: list[str] = []
        self.catalog = Catalog(store, self.service, executor, clock, 10.0, self.gone.append, lambda _: None)

    def ask(self, rendition: Rendition = MP3) -> Recording:
        """Ask for a recording as a callback does."""
        return self.catalog.recording(rendition, Patience(self.clock, 10.0, lambda: False))

    def tell(self, recording: Recording = READY) -> Recording:
        """Let an event come in."""
        self.store.save([recording])
        self.catalog.noted(recording.id)
        return recording


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Give a catalog."""
    clock = FakeClock()
    with (
        closing(CatalogStore(tmp_path / "state" / "x.sqlite", clock)) as store,
        ThreadPoolExecutor(1) as executor,
    ):
        yield World(store, executor, clock)


def missing() -> Recording:
    raise NotFound("rec_1: no such recording")


def test_an_id_that_was_unknown_a_moment_ago_is_known(world: World) -> None:
    """Without asking again."""
    world.service.answer = missing
    with pytest.raises(NotFound):
        world.ask()
    world.tell()
    assert world.ask() == READY
    assert world.service.asked == 1


def test_a_recording_in_processing_is_ready(world: World) -> None:
    """Without asking again, and without waiting until processing is asked about once more."""
    world.service.answer = lambda: Recording("rec_1", status=Status.PROCESSING)
    assert world.ask().status is Status.PROCESSING
    world.tell()
    assert world.ask() == READY
    assert world.service.asked == 1


@pytest.mark.parametrize("rendition", [MP3, Rendition("rec_1", "wav", 16000), Rendition("rec_1", "flac")])
def test_a_rendition_that_was_missing_may_be_asked_for(rendition: Rendition, world: World) -> None:
    """Its recording has become another since."""

    def no_such_format() -> Recording:
        raise NoSuchFormat("rec_1: not in this format")

    world.service.answer = no_such_format
    with pytest.raises(NoSuchFormat):
        world.ask(rendition)
    with pytest.raises(NotFound):
        world.catalog.facts(rendition)
    world.tell(Recording("rec_1", format="flac"))
    assert world.catalog.facts(rendition) is None


def test_an_answer_under_way_does_not_undo_what_came_meanwhile(world: World) -> None:
    """An event's id is taken for good, so what it told must not be lost to an older answer."""

    def overtaken(answer: Callable[[], Recording]) -> Callable[[], Recording]:
        def late() -> Recording:
            world.tell()
            return answer()

        return late

    for answer in (missing, lambda: Recording("rec_1", status=Status.PROCESSING)):
        for known in ([], [Recording("rec_1", status=Status.PROCESSING)]):
            world.store.forget("rec_1")
            world.store.save(known)
            world.clock.sleep(60)
            world.service.answer = overtaken(answer)
            assert world.ask() == READY
            assert world.store.recording("rec_1") == READY
            assert world.ask() == READY
    assert world.service.asked == 4
    assert world.gone == []


def test_a_recording_in_processing_that_is_no_more_is_forgotten(world: World) -> None:
    """As before: where nothing else was told, the service's answer counts."""
    world.store.save([Recording("rec_1", status=Status.PROCESSING)])
    world.service.answer = missing
    with pytest.raises(NotFound):
        world.ask()
    assert world.store.recording("rec_1") is None
    assert world.gone == ["rec_1"]


def test_a_failed_recording_is_away_at_once(world: World) -> None:
    """Without asking."""
    world.tell()
    assert world.ask() == READY
    world.tell(Recording("rec_1", status=Status.FAILED))
    with pytest.raises(NotFound):
        world.ask()
    assert world.service.asked == 0
