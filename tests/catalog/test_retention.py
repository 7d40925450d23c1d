"""What is taken away of a recording that is no more, when, and how often it is tried."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from conftest import wait_until
from fakes import FakeClock
from kallglotfs.catalog import retention
from kallglotfs.catalog.retention import AGAIN, Remains, Retention
from kallglotfs.catalog.store import CatalogStore
from kallglotfs.clock import Clock
from kallglotfs.errors import KallglotError, NoSuchFormat, NotFound, TimedOut
from kallglotfs.model import Recording, Rendition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OGG = Rendition("rec_1", "ogg")
PATH = "/recordings/rec_1.mp3"


class AtOnce:
    """Runs work where it is submitted."""

    def submit(self, work: Callable[[], object], /) -> Future[object]:
        future: Future[object] = Future()
        future.set_result(work())
        return future


class World:
    """A catalog, and a note of everything that is taken away."""

    def __init__(self, store: CatalogStore, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self.done: list[str] = []
        self.destroyed = True
        self.answer: KallglotError | None = None
        self.asked: list[Rendition] = []
        remains = Remains(self.end, lambda _: [PATH], self.destroy, lambda path: self.note(f"drop {path}"))
        self.retention = Retention(store, remains, self.look_up, AtOnce(), clock)

    def note(self, what: str) -> None:
        self.done.append(what)

    def end(self, recording_id: str) -> list[str]:
        self.note(f"end {recording_id}")
        return [PATH]

    def destroy(self, recording_id: str) -> bool:
        self.note(f"destroy {recording_id}")
        return self.destroyed

    def look_up(self, rendition: Rendition) -> Recording:
        self.asked.append(rendition)
        if self.answer is not None:
            raise self.answer
        return Recording(rendition.recording_id)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world whose clock stands still, and whose thread does not run."""
    clock = FakeClock()
    with closing(CatalogStore(tmp_path / "state" / "catalog", clock)) as store:
        yield World(store, clock)


def ending(recording_id: str, at: float) -> Recording:
    return Recording(recording_id, expires_at=datetime.fromtimestamp(at, UTC))


def test_files_turn_stale_before_blocks_and_pages_go_and_all_of_it_twice_more(world: World) -> None:
    """What was on its way when it went is gone by then."""
    world.retention.gone("rec_1")
    assert world.done == ["end rec_1", "destroy rec_1"]
    world.retention._take_away()
    assert world.done[2:] == [f"drop {PATH}"]
    for seconds in AGAIN:
        world.clock.sleep(seconds - 0.1)
        world.retention._take_away()
        world.done.clear()
        world.clock.sleep(0.2)
        world.retention._take_away()
        assert world.done == ["destroy rec_1", f"drop {PATH}"]
    world.done.clear()
    world.clock.sleep(1000)
    world.retention._take_away()
    assert world.done == []
    assert sum(AGAIN) < 60


def test_what_cannot_be_destroyed_is_tried_until_it_is(world: World) -> None:
    """A disk that is read-only for an hour, say."""
    world.destroyed = False
    world.retention.gone("rec_1")
    world.retention._take_away()
    for _ in range(20):
        world.done.clear()
        world.clock.sleep(AGAIN[-1])
        world.retention._take_away()
        assert "destroy rec_1" in world.done
    world.destroyed = True
    world.clock.sleep(AGAIN[-1])
    world.retention._take_away()
    world.done.clear()
    world.clock.sleep(1000)
    world.retention._take_away()
    assert world.done == []


def test_each_end_is_seen_once(world: World) -> None:
    """Those before the mount as well, and none that is to come."""
    now = world.clock.wall()
    world.store.save([ending("rec_1", now - 1e6), ending("rec_2", now + 10), Recording("rec_3")])
    world.retention.look()
    assert world.done == ["end rec_1", "destroy rec_1"]
    assert world.store.next_expiry(now) == now + 10
    world.clock.sleep(10)
    world.retention.look()
    world.retention.look()
    assert world.done[2:] == ["end rec_2", "destroy rec_2"]
    assert world.store.next_expiry(world.clock.wall()) is None


@pytest.mark.parametrize(
    ("answer", "gone"),
    [(None, False), (NotFound("rec_1: 404"), True), (NoSuchFormat("no"), False), (TimedOut("no"), False)],
)
def test_a_missing_format_is_looked_into_once_a_minute(
    world: World,
    answer: KallglotError | None,
    gone: bool,  # noqa: FBT001
) -> None:
    """The recording is asked for in its own format; only where it is gone its files turn stale."""
    world.store.save([Recording("rec_1", format="wav")])
    world.answer = answer
    for _ in range(3):
        world.retention.doubt(OGG)
    assert world.done.count("destroy rec_1") == gone
    assert ("end rec_1" in world.done) == gone
    assert (world.store.recording("rec_1") is None) == gone
    assert set(world.asked) == {Rendition("rec_1", "wav")}
    assert len(world.asked) == (3 if isinstance(answer, TimedOut) else 1)
    world.retention._take_away()
    assert (f"drop {PATH}" in world.done) == gone


def test_the_thread_wakes_for_the_next_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a minute later; and it outlives a failure of whatever it calls."""
    clock = Clock()
    with closing(CatalogStore(tmp_path / "state" / "catalog", clock)) as store:
        world = World(store, clock)
        store.save([ending("rec_1", clock.wall() + 0.5)])
        monkeypatch.setattr(retention, "INTERVAL", 0.05)
        failures = iter([True])

        def end(recording_id: str) -> list[str]:
            world.note(recording_id)
            if next(failures, False):
                raise ZeroDivisionError
            return []

        remains = Remains(end, lambda _: [], lambda _: True, lambda _: None)
        thread = Retention(store, remains, world.look_up, AtOnce(), clock)
        thread.start()
        try:
            assert wait_until(lambda: world.done == ["rec_1", "rec_1"], 5)
        finally:
            thread.stop()
