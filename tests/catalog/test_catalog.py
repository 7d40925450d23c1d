"""What is asked of the service, and how often when the answer is no."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import pytest

from fakes import FakeClock
from kallglotfs.catalog.catalog import Catalog
from kallglotfs.catalog.store import CatalogStore
from kallglotfs.errors import KallglotError, KeyRefused, NoSuchFormat, NotFound, NotPermitted, ServiceFault
from kallglotfs.model import Recording, Rendition
from kallglotfs.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kallglotfs.clock import Deadline

RENDITION = Rendition("rec_1", "mp3")


class AtOnce:
    """Runs work on the spot."""

    def submit(self, work: Callable[[], Any], /) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(work())
        except KallglotError as error:
            future.set_exception(error)
        return future


class Service:
    """Says no until told otherwise."""

    def __init__(self, error: KallglotError) -> None:
        self.error: KallglotError | None = error
        self.asked: list[Rendition] = []

    def look_up(self, rendition: Rendition, _deadline: Deadline) -> Recording:
        self.asked.append(rendition)
        if self.error is not None:
            raise self.error
        return Recording(rendition.recording_id)


class Rig:
    """A catalog on a service that says no."""

    def __init__(self, path: Path, error: KallglotError) -> None:
        self.clock = FakeClock()
        self.service = Service(error)
        self.gone: list[str] = []
        self.store = CatalogStore(path, self.clock)
        self.absent: list[Rendition] = []
        self.catalog = Catalog(
            self.store, self.service, AtOnce(), self.clock, 5, self.gone.append, self.absent.append
        )

    def ask(self, rendition: Rendition = RENDITION) -> Recording:
        return self.catalog.recording(rendition, Patience(self.clock, 5, lambda: False))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Callable[[KallglotError], Rig]]:
    """Make catalogs."""
    made: list[Rig] = []

    def make(error: KallglotError) -> Rig:
        made.append(Rig(tmp_path / f"catalog{len(made)}", error))
        return made[-1]

    yield make
    for each in made:
        each.store.close()


@pytest.mark.parametrize(
    ("error", "most"), [(NotFound("no"), 9), (NoSuchFormat("no"), 10), (NotPermitted("no"), 10)]
)
def test_who_asks_every_second_for_what_is_refused_costs_few_requests(
    error: KallglotError, most: int, rig: Callable[[KallglotError], Rig]
) -> None:
    """In two minutes nine or ten, not 120; and the answer is the same all the time."""
    made = rig(error)
    for _ in range(120):
        with pytest.raises(NotFound if isinstance(error, NotFound) else NotPermitted):
            made.ask()
        made.clock.sleep(1)
    assert 3 <= len(made.service.asked) <= most


@pytest.mark.parametrize("error", [NotFound("no"), NoSuchFormat("no"), NotPermitted("no")])
def test_a_refusal_that_was_a_fault_is_over_within_two_seconds(
    error: KallglotError, rig: Callable[[KallglotError], Rig]
) -> None:
    """And the next one is held briefly again."""
    made = rig(error)
    kind = NotFound if isinstance(error, NotFound) else NotPermitted
    for again in range(3):
        made.service.error = error
        name = Rendition(f"rec_{again}", "mp3")
        with pytest.raises(kind):
            made.ask(name)
        made.service.error = None
        with pytest.raises(kind):
            made.ask(name)
        made.clock.sleep(2)
        assert made.ask(name).id == name.recording_id
    assert len(made.service.asked) == 6


@pytest.mark.parametrize("error", [ServiceFault("503"), KeyRefused("401")])
def test_what_says_nothing_of_the_recording_is_not_remembered(
    error: KallglotError, rig: Callable[[KallglotError], Rig]
) -> None:
    """A service that fails and a key that is refused are asked again (the key has a hold of its own)."""
    made = rig(error)
    for _ in range(3):
        with pytest.raises(type(error)):
            made.ask()
    assert len(made.service.asked) == 3


def test_a_rendition_found_missing_is_asked_for_again_soon(rig: Callable[[KallglotError], Rig]) -> None:
    """The storage's 404 holds for a second; what is cached of the recording is destroyed."""
    made = rig(NotFound("no"))
    made.catalog.missing(RENDITION, "gone")
    assert (made.gone, made.absent) == ([], [RENDITION])
    with pytest.raises(NotFound):
        made.catalog.facts(RENDITION)
    made.clock.sleep(1)
    assert made.catalog.facts(RENDITION) is None
