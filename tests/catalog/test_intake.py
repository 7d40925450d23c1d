"""Events take effect once, whole, and in the order in which they happened."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest

from fakes import FakeClock
from kallglotfs.catalog.intake import (
    REMEMBERED_FOR,
    Event,
    Intake,
    Outcome,
    RecordingChanged,
    SessionEnded,
    TranscriptReady,
)
from kallglotfs.catalog.store import CatalogStore
from kallglotfs.errors import SystemFault
from kallglotfs.model import Recording, Status

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

READY = Recording("rec_1", session_id="sess_1", size=4711, created_at=datetime(2026, 3, 1, tzinfo=UTC))
FAILED = Recording("rec_1", status=Status.FAILED)


@pytest.fixture
def clock() -> FakeClock:
    """Give a clock."""
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the place of a catalog."""
    return tmp_path / "state" / "default.sqlite"


@pytest.fixture
def store(path: Path, clock: FakeClock) -> Iterator[CatalogStore]:
    """Give an empty catalog."""
    with closing(CatalogStore(path, clock)) as store:
        yield store


@pytest.fixture
def noted() -> list[str]:
    """Give a list of what the mount was told."""
    return []


@pytest.fixture
def intake(store: CatalogStore, noted: list[str], clock: FakeClock) -> Intake:
    """Give an intake."""
    return Intake(store.database, noted.append, clock)


def about(recording: Recording, happened_at: float | None = None, event_id: str = "evt_1") -> Event:
    """Return an event about a recording."""
    return Event(event_id, RecordingChanged(recording), happened_at)


def rows(store: CatalogStore, query: str) -> list[tuple[Any, ...]]:
    return store.database.rows(query)


def test_a_ready_recording_is_known_at_once(intake: Intake, store: CatalogStore, noted: list[str]) -> None:
    """With all that was told, and the mount is told."""
    assert intake.take(about(READY)) is Outcome.STORED
    assert store.recording("rec_1") == READY
    assert noted == ["rec_1"]


def test_an_event_takes_effect_once(
    intake: Intake, store: CatalogStore, noted: list[str], path: Path, clock: FakeClock
) -> None:
    """A repeated delivery changes nothing, even where it says something else, and over a restart."""
    intake.take(about(READY))
    assert intake.take(about(replace(READY, size=1))) is Outcome.DUPLICATE
    with closing(CatalogStore(path, clock)) as again:
        assert Intake(again.database, noted.append, clock).take(about(FAILED)) is Outcome.DUPLICATE
    assert store.recording("rec_1") == READY
    assert noted == ["rec_1"]


def test_what_an_event_leaves_out_stays(intake: Intake, store: CatalogStore) -> None:
    """The format as well, which has a default."""
    known = replace(READY, status=Status.PROCESSING, format="wav", channel="agent", duration=3.0)
    store.save([known])
    intake.take(Event("evt_1", RecordingChanged(Recording("rec_1"), tells_format=False)))
    assert store.recording("rec_1") == replace(known, status=Status.READY)
    intake.take(about(Recording("rec_1", format="ogg"), event_id="evt_2"))
    assert store.recording("rec_1") == replace(known, status=Status.READY, format="ogg")


def test_nothing_ready_goes_back_to_processing(intake: Intake, store: CatalogStore) -> None:
    """An answer that was asked for before the event came is older than the event."""
    intake.take(about(READY))
    store.save([replace(READY, status=Status.PROCESSING)])
    store.forget_unready("rec_1")
    assert store.recording("rec_1") == READY
    store.save([replace(READY, status=Status.FAILED)])
    assert store.recording("rec_1") == replace(READY, status=Status.FAILED)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_last_to_happen_counts_in_whatever_order_they_come(
    order: tuple[int, ...], intake: Intake, store: CatalogStore, clock: FakeClock
) -> None:
    """Ready, failed and ready again is ready; failed, ready and failed again is failed."""
    start = clock.wall() - 100
    events = [READY, FAILED, replace(READY, size=2)]
    others = [replace(each, id="rec_2") for each in (FAILED, READY, FAILED)]
    for index in order:
        intake.take(about(events[index], start + index, f"evt_a{index}"))
        intake.take(about(others[index], start + index, f"evt_b{index}"))
    assert store.recording("rec_1") == replace(READY, size=2)
    found = store.recording("rec_2")
    assert found is not None
    assert found.status is Status.FAILED


def test_of_two_at_one_time_ready_counts(intake: Intake, store: CatalogStore, clock: FakeClock) -> None:
    """A file that is there is better shown."""
    for name, first, second in (("rec_a", READY, FAILED), ("rec_b", FAILED, READY)):
        intake.take(about(replace(first, id=name), clock.wall(), f"evt_{name}1"))
        intake.take(about(replace(second, id=name), clock.wall(), f"evt_{name}2"))
        found = store.recording(name)
        assert found is not None
        assert found.status is Status.READY


def test_an_event_of_the_future_does_not_rule_for_ever(
    intake: Intake, store: CatalogStore, clock: FakeClock
) -> None:
    """The service's clock may be ahead: its events then count by when they came."""
    intake.take(about(READY, clock.wall() + 10**6))
    clock.sleep(1)
    intake.take(about(FAILED, clock.wall() + 10**6, "evt_2"))
    found = store.recording("rec_1")
    assert found is not None
    assert found.status is Status.FAILED


def test_an_ended_session_is_to_be_listed_once_more(intake: Intake, store: CatalogStore) -> None:
    """Whether it was known or not, and what it leaves out stays."""
    store.database.write(
        lambda connection: connection.execute(
            "INSERT INTO sessions (id, status, created_at, listed_at, settled) "
            "VALUES ('sess_1', 'active', 5, 9, 1)"
        )
    )
    intake.take(Event("evt_1", SessionEnded("sess_1", None, 8.0)))
    intake.take(Event("evt_2", SessionEnded("sess_2", 1.0, 2.0)))
    assert rows(store, "SELECT id, status, created_at, ended_at, listed_at, settled FROM sessions") == [
        ("sess_1", "ended", 5, 8, 9, 0),
        ("sess_2", "ended", 1, 2, None, 0),
    ]


def test_a_transcript_that_is_ready_is_to_be_asked_for_again(intake: Intake, store: CatalogStore) -> None:
    """What is kept of an unfinished one is out of date; other documents are not, nor a complete one."""

    def fill(connection: sqlite3.Connection) -> None:
        for session, kind, state in (
            ("sess_1", "transcript", "open"),
            ("sess_1", "session", "open"),
            ("sess_2", "transcript", "open"),
            ("sess_3", "transcript", "missing"),
            ("sess_4", "transcript", "complete"),
        ):
            connection.execute(
                "INSERT INTO documents (session_id, kind, state, size, languages, asked_at) "
                "VALUES (?, ?, ?, 1, '', 5)",
                (session, kind, state),
            )

    store.database.write(fill)
    for number in (1, 3, 4, 5):
        intake.take(Event(f"evt_{number}", TranscriptReady(f"sess_{number}")))
    assert rows(store, "SELECT session_id, kind, state, asked_at FROM documents") == [
        ("sess_1", "session", "open", 5),
        ("sess_1", "transcript", "open", 0),
        ("sess_2", "transcript", "open", 5),
        ("sess_3", "transcript", "open", 0),
        ("sess_4", "transcript", "complete", 5),
    ]
    assert rows(store, "SELECT id, settled FROM sessions") == [
        (f"sess_{number}", 0) for number in (1, 3, 4, 5)
    ]


def test_an_unknown_type_is_remembered_and_changes_nothing(
    intake: Intake, store: CatalogStore, noted: list[str]
) -> None:
    """So that its sender is content."""
    assert intake.take(Event("evt_1")) is Outcome.STORED
    assert intake.take(Event("evt_1")) is Outcome.DUPLICATE
    assert store.count(0) == 0
    assert noted == []


def test_an_older_event_does_not_bring_back_what_was_forgotten(
    intake: Intake, store: CatalogStore, clock: FakeClock
) -> None:
    """Also where it comes later; what happens later is news."""
    moment = clock.wall()
    store.database.write(
        lambda connection: connection.execute("INSERT INTO forgotten VALUES ('rec_1', ?)", (moment,))
    )
    clock.sleep(60)
    assert intake.take(about(READY, moment)) is Outcome.STORED
    assert store.recording("rec_1") is None
    assert intake.take(about(READY, moment + 1, "evt_2")) is Outcome.STORED
    assert store.recording("rec_1") == READY


def test_ids_are_kept_for_thirty_days(intake: Intake, store: CatalogStore, clock: FakeClock) -> None:
    """And no longer: the table does not grow for ever."""
    intake.take(Event("evt_1"))
    clock.sleep(REMEMBERED_FOR - 10)
    intake.take(Event("evt_2"))
    assert rows(store, "SELECT id FROM events") == [("evt_1",), ("evt_2",)]
    clock.sleep(3700)
    intake.take(Event("evt_3"))
    assert rows(store, "SELECT id FROM events") == [("evt_2",), ("evt_3",)]


def test_an_event_that_cannot_be_stored_takes_no_effect(
    intake: Intake, store: CatalogStore, noted: list[str]
) -> None:
    """Neither half: it is sent again, and counts then."""
    store.database.write(
        lambda connection: connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON recordings BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
    )
    with pytest.raises(SystemFault):
        intake.take(about(READY))
    assert rows(store, "SELECT id FROM events") == []
    assert noted == []
    store.database.write(lambda connection: connection.execute("DROP TRIGGER full"))
    assert intake.take(about(READY)) is Outcome.STORED
    assert store.recording("rec_1") == READY


def test_an_event_is_flushed_to_the_disk_before_it_counts_as_stored(path: Path) -> None:
    """A power cut after the answer loses nothing: the log is synced after each commit, repeated ones too."""
    program = (
        "import os, sys; from pathlib import Path;"
        "from kallglotfs.catalog.intake import Event, Intake;"
        "from kallglotfs.catalog.store import CatalogStore;"
        "from kallglotfs.clock import Clock; store = CatalogStore(Path(sys.argv[1]), Clock());"
        "synced = []; real = os.fdatasync;"
        "os.fdatasync = lambda fd: (synced.append(os.readlink(f'/proc/self/fd/{fd}')), real(fd));"
        "intake = Intake(store.database, print, Clock());"
        "intake.take(Event('evt_1')); intake.take(Event('evt_1')); print(synced)"
    )
    command = [sys.executable, "-c", program, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == str([f"{path}-wal"] * 2)
