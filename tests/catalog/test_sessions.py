"""When a session is asked for again, and when never; on a real catalog file, with the service faked."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from fakes import FakeClock
from kallglotfs.catalog.freshness import SOONEST
from kallglotfs.catalog.session_documents import TRANSCRIPT, SessionDocuments
from kallglotfs.catalog.session_store import SessionStore
from kallglotfs.catalog.sessions import Sessions
from kallglotfs.catalog.store import CatalogStore
from kallglotfs.content.documents import Documents
from kallglotfs.errors import BadResponse, NotFound, NotPermitted, ServiceFault, SystemFault, TimedOut
from kallglotfs.model import Recording, Status
from kallglotfs.patience import Patience
from kallglotfs.remote.session_schema import Reading
from kallglotfs.vfs.naming import is_recording_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kallglotfs.clock import Deadline
    from kallglotfs.errors import KallglotError

ID = "sess_a"


class Service:
    """Answers what a test says, and counts."""

    def __init__(self) -> None:
        self.recordings: list[Recording] = []
        self.body: dict[str, object] | bytes = {
            "id": ID,
            "session_id": ID,
            "status": "completed",
            "turns": [],
        }
        self.error: KallglotError | None = None
        self.asked: list[str] = []
        self.gate: threading.Event | None = None

    def session_recordings(self, session_id: str, deadline: Deadline) -> Iterator[Recording]:
        self._ask("recordings")
        yield from self.recordings

    def session_document(self, session_id: str, kind: str, deadline: Deadline) -> bytes:
        self._ask(kind)
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.gate is not None:
            self.gate.wait(10)
        if self.error is not None:
            raise self.error


class Known:
    """What is known of sessions, and the world around."""

    def __init__(self, path: Path) -> None:
        self.clock = FakeClock()
        self.service = Service()
        self.executor = ThreadPoolExecutor(64)
        self.store = CatalogStore(path / "catalog.sqlite", self.clock)
        self.session_store = SessionStore(self.store.database)
        self.shelf = Documents(None)
        self.restart()

    def restart(self) -> None:
        """Know what the files know, and no more."""
        self.sessions = Sessions(
            self.session_store, self.store, self.service, self.executor, self.clock, 10.0, is_recording_id
        )
        self.documents = SessionDocuments(
            self.session_store, self.service, Reading(), self.shelf, self.sessions.is_past, self.executor,
            self.clock, 10.0,
        )  # fmt: skip

    def patience(self) -> Patience:
        return Patience(self.clock, 10.0, lambda: False)

    def look(self) -> list[str]:
        """Enter the session as `ls` does, and return the ids of its recordings."""
        self.sessions.enter(ID, self.patience())
        return [each.id for each in self.sessions.recordings(ID, self.patience())]

    def transcript(self) -> bytes:
        return self.documents.document(ID, TRANSCRIPT, self.patience())

    def recording(self, name: str = "rec_a", *, age: float = 0.0, **fields: object) -> Recording:
        made = datetime.fromtimestamp(self.clock.wall() - age, UTC)
        return replace(Recording(name, created_at=made), **fields)  # type: ignore[arg-type]


@pytest.fixture
def known(tmp_path: Path) -> Iterator[Known]:
    """Nothing known yet."""
    made = Known(tmp_path)
    yield made
    made.executor.shutdown()
    made.store.close()


def test_a_session_is_listed_with_the_first_look(known: Known) -> None:
    """One request for entering and listing; items that name no session are this one's."""
    known.service.recordings = [known.recording(), known.recording("no/id"), known.recording()]
    assert known.look() == ["rec_a"]
    assert known.look() == ["rec_a"]
    assert known.service.asked == ["recordings"]
    assert list(known.sessions.ids()) == [ID]


def test_an_old_session_is_never_listed_again(known: Known) -> None:
    """Not in a year, not after a restart."""
    known.service.recordings = [known.recording(age=100_000.0)]
    known.look()
    known.clock.time += 1e8
    known.restart()
    assert known.look() == ["rec_a"]
    assert known.service.asked == ["recordings"]


def test_an_old_session_with_a_recording_in_processing_is(known: Known) -> None:
    """Until it is ready."""
    known.service.recordings = [known.recording(age=100_000.0, status=Status.PROCESSING)]
    known.look()
    known.clock.time += 4000
    known.service.recordings = [known.recording(age=104_000.0)]
    known.look()
    known.clock.time += 1e6
    known.look()
    assert known.service.asked == ["recordings"] * 2


def test_a_young_session_is_listed_at_growing_distances(known: Known) -> None:
    """Looked at every second for a day: some dozens of requests."""
    known.service.recordings = [known.recording()]
    times: list[float] = []
    begin = known.clock.time
    while known.clock.time - begin < 100_000:
        count = len(known.service.asked)
        known.look()
        if len(known.service.asked) > count:
            times.append(known.clock.time - begin)
        known.clock.time += 1.0 if known.clock.time - begin < 300 else 60.0
    assert times[:4] == [0.0, 15.0, 30.0, 45.0]
    distances = [after - before for before, after in pairwise(times)]
    assert max(distances) <= 3660
    assert len(times) < 60
    # Settled: not at all any more.
    assert times[-1] < 95_000


def test_an_empty_session_is_looked_at_again(known: Known) -> None:
    """Recordings come after the call."""
    assert known.look() == []
    known.clock.time += SOONEST
    known.service.recordings = [known.recording()]
    assert known.look() == ["rec_a"]


def test_a_clock_that_was_set_back_does_not_stop_refreshing(known: Known) -> None:
    """An answer of the future is worth another question."""
    known.service.recordings = [known.recording()]
    known.look()
    known.clock.epoch -= 1e6
    known.look()
    assert known.service.asked == ["recordings"] * 2


@pytest.mark.parametrize(
    "error", [NotFound("404"), NotPermitted("403"), ServiceFault("503"), TimedOut("late")]
)
def test_an_unknown_session_that_cannot_be_listed_is_an_error(known: Known, error: KallglotError) -> None:
    """The service's own, remembered for a moment."""
    known.service.error = error
    for _ in range(3):
        with pytest.raises(type(error)):
            known.look()
    assert known.service.asked == ["recordings"]
    known.clock.time += 2.1
    known.service.error = None
    assert known.look() == []
    assert list(known.sessions.ids()) == [ID]


@pytest.mark.parametrize(
    "error", [NotFound("404"), NotPermitted("403"), ServiceFault("503"), TimedOut("late")]
)
def test_a_known_session_is_shown_as_it_was(known: Known, error: KallglotError) -> None:
    """And the service is let alone for a while."""
    known.service.recordings = [known.recording()]
    known.look()
    known.clock.time += 20
    known.service.error = error
    for _ in range(10):
        assert known.look() == ["rec_a"]
        known.clock.time += 1.0
    assert known.service.asked == ["recordings"] * 2
    known.clock.time += 10
    known.service.error = None
    known.service.recordings.append(known.recording("rec_b"))
    assert known.look() == ["rec_a", "rec_b"]


def test_a_session_known_by_a_recording_alone_can_be_entered_without_the_route(known: Known) -> None:
    """A service without sessions: one request learns it, for a quarter of a minute at least."""
    known.store.save([known.recording(session_id=ID)])
    known.service.error = NotFound("404")
    for _ in range(14):
        assert known.look() == ["rec_a"]
        known.clock.time += 1.0
    assert known.service.asked == ["recordings"]


def test_one_request_serves_fifty_who_ask_at_once(known: Known) -> None:
    """Also those who come to ask when the answer has just arrived."""
    known.service.recordings = [known.recording()]
    known.service.gate = threading.Event()
    found: list[list[str]] = []
    threads = [threading.Thread(target=lambda: found.append(known.look())) for _ in range(50)]
    for thread in threads:
        thread.start()
    known.service.gate.set()
    for thread in threads:
        thread.join()
    assert found == [["rec_a"]] * 50
    assert known.service.asked == ["recordings"]
    readers = [
        threading.Thread(target=lambda: found.append([known.transcript().decode()])) for _ in range(50)
    ]
    for thread in readers:
        thread.start()
    for thread in readers:
        thread.join()
    assert len(found) == 100
    assert known.service.asked == ["recordings", "transcript"]


def test_a_completed_transcript_is_asked_for_once(known: Known) -> None:
    """Once more after a restart that has lost it."""
    body = known.transcript()
    known.clock.time += 1e8
    known.restart()
    assert known.transcript() == body
    assert known.service.asked == ["transcript"]
    known.shelf.forget(ID)
    assert known.transcript() == body
    assert known.service.asked == ["transcript"] * 2


def test_an_unfinished_transcript_is_refreshed(known: Known) -> None:
    """Until it is complete."""
    known.service.body = {"status": "in_progress", "turns": [{"text": "a"}]}
    assert not known.documents.transcript(ID, known.patience()).complete
    known.clock.time += SOONEST - 1
    known.transcript()
    assert known.service.asked == ["transcript"]
    known.clock.time += 1
    known.service.body = {"status": "completed", "turns": [{"text": "a"}, {"text": "b"}]}
    assert len(known.documents.transcript(ID, known.patience()).turns) == 2
    known.clock.time += 1e8
    known.transcript()
    assert known.service.asked == ["transcript"] * 2


@pytest.mark.parametrize("error", [ServiceFault("503"), TimedOut("late")])
def test_an_unfinished_transcript_is_shown_as_it_was_while_nobody_answers(
    known: Known, error: KallglotError
) -> None:
    """And one that was never seen is the error."""
    known.service.error = error
    with pytest.raises(type(error)):
        known.transcript()
    known.clock.time += 20
    known.service.error = None
    known.service.body = {"status": "in_progress", "turns": []}
    body = known.transcript()
    known.clock.time += 20
    known.service.error = error
    for _ in range(10):
        assert known.transcript() == body
        known.clock.time += 1.0
    assert known.service.asked == ["transcript"] * 3


def test_a_session_without_a_transcript_is_asked_for_it_at_distances(known: Known) -> None:
    """It may come; the listing goes on without."""
    known.service.error = NotFound("404")
    for _ in range(5):
        assert known.documents.languages(ID, known.patience()) is None
        known.clock.time += 2.5
    assert known.service.asked == ["transcript"]
    known.clock.time += SOONEST
    known.service.error = None
    assert known.documents.languages(ID, known.patience()) == ()


def test_languages_are_known_without_asking_again(known: Known) -> None:
    """They stand in the catalog."""
    turn = {"text": "a", "translation": {"language": "ES", "text": "b"}}
    known.service.body = {"status": "completed", "turns": [turn, turn]}
    assert known.documents.languages(ID, known.patience()) == ("es",)
    known.shelf.forget(ID)
    assert known.documents.languages(ID, known.patience()) == ("es",)
    assert known.service.asked == ["transcript"]


@pytest.mark.parametrize("kind", ["transcript", "session"])
def test_what_others_have_said_is_not_shown(known: Known, kind: str) -> None:
    """A document of another session is an error, and not kept."""
    known.service.body = {"id": "sess_b", "session_id": "sess_b", "status": "completed", "turns": []}
    with pytest.raises(BadResponse):
        known.documents.document(ID, kind, known.patience())
    assert known.session_store.told(ID, kind) is None


@pytest.mark.parametrize("body", [b"{}", b'{"turns": 5}', b'{"turns": [null, 1, {"text": 7}], "status": []}'])
def test_a_transcript_that_says_little_is_an_unfinished_one(known: Known, body: bytes) -> None:
    """Odd fields are fields that were not sent."""
    known.service.body = body
    assert not known.documents.transcript(ID, known.patience()).complete


def test_a_disk_that_is_full_hides_no_recording(known: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shown from memory, and not asked for at every look."""

    def full(*_: object, **__: object) -> None:
        raise SystemFault("no space")

    monkeypatch.setattr(known.store.database, "write", full)
    known.service.recordings = [known.recording(), known.recording("rec_f", status=Status.FAILED)]
    for _ in range(3):
        assert known.look() == ["rec_a"]
    assert known.service.asked == ["recordings"]


def test_recordings_that_say_they_are_of_another_session_stay_there(known: Known) -> None:
    """A recording's own word counts; nobody's call is shown in another's folder."""
    known.service.recordings = [known.recording(), known.recording("rec_b", session_id="sess_b")]
    assert known.look() == ["rec_a"]
    assert list(known.sessions.ids()) == [ID, "sess_b"]
