"""What is kept of recordings over restarts."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import tracemalloc
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kallglotfs.catalog.store import CatalogStore, catalog_path
from kallglotfs.clock import Clock
from kallglotfs.errors import SystemFault
from kallglotfs.model import Delivery, Recording, Rendition, RenditionFacts, Status, Validator

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = 1_700_000_000.0
FULL = Recording(
    "rec_1",
    session_id="sess_1",
    channel="mixed",
    duration=12.5,
    status=Status.READY,
    format="wav",
    size=4711,
    sample_rate=48000,
    bit_depth=16,
    created_at=datetime(2024, 3, 26, 10, 0, 0, 250_000, UTC),
    expires_at=datetime(2024, 6, 26, tzinfo=UTC),
    delivery=Delivery.SIGNED,
)
MP3 = Rendition("rec_1", "mp3")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the place of a catalog."""
    return tmp_path / "state" / "default.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[CatalogStore]:
    """Give an empty catalog."""
    with closing(CatalogStore(path, Clock())) as store:
        yield store


def ids(store: CatalogStore, now: float = NOW) -> list[str]:
    """Return the ids of a listing."""
    return [recording.id for recording in store.listed(now)]


def run(script: str, path: Path) -> subprocess.Popen[str]:
    """Run a script that has `store` in another process."""
    prelude = (
        "import sys; from pathlib import Path; from kallglotfs.clock import Clock;"
        "from kallglotfs.model import *; from kallglotfs.catalog.store import CatalogStore;"
        "store = CatalogStore(Path(sys.argv[1]), Clock())\n"
    )
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", prelude + script + "\nstore.close()", str(path)],
        cwd=Path(__file__).parents[2],
        stderr=subprocess.PIPE,
        text=True,
    )


def ended_well(process: subprocess.Popen[str]) -> bool:
    """Wait for a process and tell whether it ended without a word."""
    _, errors = process.communicate(timeout=60)
    return (process.returncode, errors) == (0, "")


def test_a_recording_is_kept_whole(store: CatalogStore) -> None:
    """Everything that was saved of a recording reads back."""
    assert store.recording("rec_1") is None
    assert store.save([FULL]) == 1
    assert store.recording("rec_1") == FULL


def test_a_catalog_outlives_its_store(path: Path) -> None:
    """What was saved is there after a restart."""
    for _ in range(2):
        with closing(CatalogStore(path, Clock())) as store:
            store.save([FULL])
            store.save_facts(MP3, RenditionFacts(Validator(1, '"a"'), 5.0))
    with closing(CatalogStore(path, Clock())) as store:
        assert store.recording("rec_1") == FULL
        assert store.facts(MP3) == RenditionFacts(Validator(1, '"a"'), 5.0)


def test_what_a_new_value_leaves_out_is_kept(store: CatalogStore) -> None:
    """An answer that says less does not make known things unknown."""
    store.save([FULL])
    assert store.save([Recording("rec_1", format="wav")]) == 0
    assert store.recording("rec_1") == FULL


def test_what_a_new_value_says_wins(store: CatalogStore) -> None:
    """Status, format and delivery are those of the last answer, and so is everything it says."""
    store.save([FULL])
    newer = replace(FULL, status=Status.FAILED, format="mp3", size=1, delivery=Delivery.STREAMED)
    store.save([newer])
    assert store.recording("rec_1") == newer


def test_saving_counts_what_is_new(store: CatalogStore) -> None:
    """An id counts once, however often it is in the batch."""
    assert store.save([]) == 0
    assert store.save([Recording("rec_a"), Recording("rec_b"), Recording("rec_a", size=1)]) == 2
    assert store.save([Recording("rec_b"), Recording("rec_c")]) == 1
    known = store.recording("rec_a")
    assert known is not None
    assert known.size == 1


def test_a_listing_has_the_ready_and_unexpired_in_order(store: CatalogStore) -> None:
    """What is in processing, failed or past its retention is not listed."""
    store.save(
        [
            Recording("rec_c"),
            Recording("rec_a", size=10, expires_at=datetime.fromtimestamp(NOW + 1, UTC)),
            Recording("rec_b", size=5, expires_at=datetime.fromtimestamp(NOW, UTC)),
            Recording("rec_d", status=Status.PROCESSING),
            Recording("rec_e", status=Status.FAILED),
        ]
    )
    assert ids(store) == ["rec_a", "rec_c"]
    assert store.count(NOW) == 2
    assert store.total_bytes() == 15
    assert store.processing() == ["rec_d"]


def test_forgetting_takes_the_facts_along(store: CatalogStore) -> None:
    """A recording that is gone leaves nothing behind, and others stay."""
    other = Rendition("rec_2", "mp3")
    store.save([FULL, Recording("rec_2")])
    for rendition in (MP3, replace(MP3, rate=8000), other):
        store.save_facts(rendition, RenditionFacts(Validator(1), 1.0))
    store.forget("rec_1")
    assert store.recording("rec_1") is None
    assert store.facts(MP3) is None
    assert store.facts(replace(MP3, rate=8000)) is None
    assert store.facts(other) == RenditionFacts(Validator(1), 1.0)


def test_facts_are_kept_by_format_and_rate(store: CatalogStore) -> None:
    """Each rendition has facts of its own, the last ones saved."""
    assert store.facts(MP3) is None
    store.save_facts(MP3, RenditionFacts(Validator(10, '"a"'), 1.5))
    store.save_facts(MP3, RenditionFacts(Validator(11), 2.5))
    store.save_facts(replace(MP3, rate=16000), RenditionFacts(Validator(5), 3.5))
    assert store.facts(MP3) == RenditionFacts(Validator(11), 2.5)
    store.forget_facts(MP3)
    assert store.facts(MP3) is None
    assert store.facts(replace(MP3, rate=16000)) == RenditionFacts(Validator(5), 3.5)


def test_words_of_another_version_do_no_harm(store: CatalogStore, path: Path) -> None:
    """A status or delivery that this version does not know reads as the default."""
    store.save([FULL])
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE recordings SET status = 'archived', delivery = 'carrier pigeon'")
    known = store.recording("rec_1")
    assert known is not None
    assert (known.status, known.delivery) == (Status.READY, Delivery.UNKNOWN)
    assert ids(store) == []


@pytest.mark.parametrize("bad", [Recording("rec_1", size=2**63), Recording("rec_1", channel="\ud800")])
def test_a_value_that_cannot_be_stored_is_a_fault_without_effect(bad: Recording, store: CatalogStore) -> None:
    """An absurd number or text of the service leaves the catalog as it was."""
    with pytest.raises(SystemFault, match="a value cannot be stored"):
        store.save([Recording("rec_0"), bad])
    assert store.recording("rec_0") is None


def test_a_change_during_a_listing_does_not_break_it(store: CatalogStore) -> None:
    """Between two pages, recordings may come and go; none is listed twice."""
    store.save(Recording(f"rec_{number:05}") for number in range(2500))
    listing = store.listed(NOW)
    seen = [next(listing).id for _ in range(1000)]
    store.forget("rec_01500")
    store.save([Recording("rec_00000x"), Recording("rec_02000x")])
    seen += [recording.id for recording in listing]
    assert seen == sorted(set(seen))
    assert len(seen) == 2500
    assert "rec_02000x" in seen


def test_a_long_listing_needs_little_memory(store: CatalogStore) -> None:
    """A listing of 100,000 recordings is streamed by index: memory holds pages, not the whole."""
    store.save(Recording(f"rec_{number:06}", size=1) for number in range(100_000))
    tracemalloc.start()
    try:
        assert sum(1 for _ in store.listed(NOW)) == 100_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000


def test_a_listing_needs_no_sorting(store: CatalogStore, path: Path) -> None:
    """The index gives the pages in their order, and counting never touches the table."""
    store.save([FULL])
    with closing(sqlite3.connect(path)) as other:
        where = "FROM recordings WHERE status = 'ready' AND (expires_at IS NULL OR expires_at > 1)"
        page = other.execute(
            f"EXPLAIN QUERY PLAN SELECT * {where} AND id > 'rec_0' ORDER BY id LIMIT 9"
        ).fetchall()
        count = other.execute(f"EXPLAIN QUERY PLAN SELECT count(*) {where}").fetchall()
    assert "INDEX recordings_status (status=? AND id>?)" in str(page)
    assert "TEMP B-TREE" not in str(page)
    assert "COVERING INDEX recordings_status" in str(count)


def test_threads_share_a_catalog(store: CatalogStore) -> None:
    """Threads write and read at one time without an error or a lost row."""
    failures: list[BaseException] = []

    def work(name: int) -> None:
        try:
            for number in range(25):
                store.save([Recording(f"rec_{name}x{number:02}")])
                assert store.recording(f"rec_{name}x{number:02}") is not None
                assert f"rec_{name}x{number:02}" in ids(store)
        except BaseException as error:  # noqa: BLE001 - told to the test
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert store.count(NOW) == 200


def test_many_threads_one_after_another_keep_few_files_open(store: CatalogStore) -> None:
    """A thread that ends leaves no connection: libfuse's callbacks look like a new thread each."""
    for _ in range(50):
        thread = threading.Thread(target=store.count, args=(NOW,))
        thread.start()
        thread.join()
    assert len(store._database._idle) == 1


def test_processes_share_a_catalog(store: CatalogStore, path: Path) -> None:
    """What another process adds is seen at once, while both write."""
    others = [
        run(f"for n in range(50): store.save([Recording(f'rec_{name}x{{n:02}}')])", path) for name in range(3)
    ]
    for number in range(50):
        store.save([Recording(f"rec_9x{number:02}")])
    assert all([ended_well(other) for other in others])  # noqa: C419 - wait for each
    assert store.count(NOW) == 200
    assert len(ids(store)) == 200


def test_processes_that_begin_together_make_one_catalog(path: Path) -> None:
    """A new catalog comes out right when several processes make it at the same time."""
    others = [run(f"store.save([Recording('rec_{name}')])", path) for name in range(6)]
    assert all([ended_well(other) for other in others])  # noqa: C419 - wait for each
    with closing(CatalogStore(path, Clock())) as store:
        assert store.count(NOW) == 6


def test_a_closed_catalog_knows_nothing_and_takes_nothing(
    store: CatalogStore, caplog: pytest.LogCaptureFixture
) -> None:
    """After closing, late readers get nothing, without a word in the log, and writers a fault."""
    store.save([FULL])
    store.close()
    store.close()
    assert store.recording("rec_1") is None
    assert (ids(store), store.count(NOW), store.total_bytes(), store.processing()) == ([], 0, 0, [])
    with pytest.raises(SystemFault, match="closed"):
        store.save([FULL])
    assert caplog.records == []


def test_each_service_has_a_catalog_of_its_own(tmp_path: Path) -> None:
    """Profiles and services never share a file, and no name leaves the directory."""
    url = "https://api.kallglot.com/v1"
    found = catalog_path(tmp_path, "acme", url)
    assert found == tmp_path / "acme-a9abfa0e.sqlite"
    names = ["acme", "acme.eu", "acme_eu", "acme/eu", "..", "../x", "a" * 65, "a" * 64, "\udcff"]
    paths = {catalog_path(tmp_path, name, service) for name in names for service in (url, "http://x")}
    assert len(paths) == 2 * len(names)
    assert all(one.parent == tmp_path for one in paths)
