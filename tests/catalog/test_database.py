"""The catalog's file: private, migrated, replaced when damaged."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from kallglotfs.catalog.store import CatalogStore
from kallglotfs.catalog.tables import VERSION
from kallglotfs.clock import Clock
from kallglotfs.errors import ConfigError, SystemFault
from kallglotfs.model import Recording

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_700_000_000.0


class StoppedClock(Clock):
    """A wall clock that stands still."""

    def wall(self) -> float:
        """Return always the same moment."""
        return NOW


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the place of a catalog."""
    return tmp_path / "state" / "default.sqlite"


def opened(path: Path) -> closing[CatalogStore]:
    """Open a catalog for the length of a block."""
    return closing(CatalogStore(path, StoppedClock()))


def refusal(path: Path) -> str:
    """Return the one line with which a catalog is refused."""
    with pytest.raises(ConfigError) as caught:
        CatalogStore(path, Clock())
    assert str(caught.value).isprintable()
    return str(caught.value)


def filled(path: Path, count: int = 1) -> None:
    """Make a catalog with recordings."""
    with opened(path) as store:
        store.save(Recording(f"rec_{number:05}") for number in range(count))


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_file_is_private(path: Path, umask: int) -> None:
    """Directory, file and SQLite's own files are the owner's alone, whatever the umask."""
    before = os.umask(umask)
    try:
        with opened(path) as store:
            store.save([Recording("rec_1")])
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert modes == dict.fromkeys(("default.sqlite", "default.sqlite-wal", "default.sqlite-shm"), 0o600)


def test_an_open_file_is_made_private(path: Path) -> None:
    """A catalog that others could read is closed to them."""
    filled(path)
    path.chmod(0o644)
    filled(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_journal_is_a_wal(path: Path) -> None:
    """Readers and a writer do not wait for each other, and the version is marked."""
    filled(path)
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert other.execute("PRAGMA user_version").fetchone() == (VERSION,)


def test_a_file_of_the_first_version_is_brought_up_to_date(path: Path) -> None:
    """What was known stays known."""
    filled(path, 3)
    with closing(sqlite3.connect(path)) as other:
        for table in ("sessions", "documents", "events", "sources", "forgotten"):
            other.execute(f"DROP TABLE {table}")
        for index in ("recordings_session", "recordings_made"):
            other.execute(f"DROP INDEX {index}")
        other.execute("PRAGMA user_version = 1")
    with opened(path) as store:
        assert [recording.id for recording in store.listed(NOW)] == ["rec_00000", "rec_00001", "rec_00002"]
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA user_version").fetchone() == (VERSION,)
        assert other.execute("SELECT count(*) FROM sessions").fetchone() == (0,)


def test_a_linked_directory_is_refused(tmp_path: Path) -> None:
    """The state directory is no symbolic link, whether it leads somewhere or not."""
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real")
    assert refusal(link / "c.sqlite").startswith(f"state_dir: {link}: ")
    (tmp_path / "real").mkdir()
    assert "must be a directory of your own" in refusal(link / "c.sqlite")


def test_a_directory_open_to_everybody_is_refused(tmp_path: Path) -> None:
    """Where everybody may write, anybody could exchange the file."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o1777)
    assert "everybody may write to it" in refusal(tmp_path / "open" / "c.sqlite")


def test_a_foreign_directory_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state directory belongs to the user."""
    filled(path)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert "must be a directory of your own" in refusal(path)


def test_a_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    """A state_dir that is a file is one clear line."""
    (tmp_path / "file").write_text("")
    assert refusal(tmp_path / "file" / "c.sqlite").startswith(f"state_dir: {tmp_path / 'file'}: ")


def test_a_link_or_directory_in_place_of_the_file_is_refused(path: Path) -> None:
    """SQLite never follows a link that somebody laid."""
    path.parent.mkdir(mode=0o700)
    path.symlink_to("elsewhere")
    assert "must be a file of your own" in refusal(path)
    path.unlink()
    path.mkdir()
    assert "must be a file of your own" in refusal(path)


def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    """A catalog of a newer version is neither used nor moved."""
    filled(path)
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA user_version = 3")
    assert refusal(path) == f"{path}: written by a newer kallglotfs; use that, or another state_dir"
    assert [file.name for file in path.parent.iterdir()] == ["default.sqlite"]


def test_a_file_that_is_no_database_is_moved_aside(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Something else under the catalog's name is kept under another, and a fresh catalog begins."""
    path.parent.mkdir(mode=0o700)
    path.write_bytes(b"not a database " * 1000)
    with opened(path) as store:
        assert store.save([Recording("rec_1")]) == 1
    assert path.with_name(f"default.sqlite.corrupt-{int(NOW)}").read_bytes() == b"not a database " * 1000
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_database_of_something_else_is_moved_aside(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A SQLite file without our tables is no catalog."""
    path.parent.mkdir(mode=0o700)
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE cats (name)")
        other.execute("PRAGMA user_version = 1")
    with opened(path) as store:
        assert store.count(NOW) == 0
    assert path.with_name(f"default.sqlite.corrupt-{int(NOW)}").exists()
    assert len(caplog.records) == 1


def test_damage_found_when_opening_starts_a_fresh_catalog(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that was cut short or overwritten behind its header is moved aside."""
    filled(path)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    with opened(path) as store:
        assert store.save([Recording("rec_1")]) == 1
    assert len(caplog.records) == 1


def test_damage_found_later_starts_a_fresh_catalog(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A page that turns out to be damaged costs what was known, not the mount."""
    filled(path, 20_000)
    with path.open("r+b") as file:
        size = path.stat().st_size
        file.seek(size // 4)
        file.write(b"\xff" * (size // 2))
    with opened(path) as store:
        assert len(list(store.listed(NOW))) < 20_000
        assert store.save([Recording("rec_1")]) == 1
        assert [recording.id for recording in store.listed(NOW)] == ["rec_1"]
    assert path.with_name(f"default.sqlite.corrupt-{int(NOW)}").exists()
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2


def test_a_writer_that_finds_damage_writes_to_a_fresh_catalog(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is being saved when damage shows is saved all the same."""
    filled(path, 20_000)
    size = path.stat().st_size
    with opened(path) as store:
        with path.open("r+b") as file:
            file.seek(8192)
            file.write(b"\xff" * (size - 8192))
        assert store.save(Recording(f"rec_{number:05}") for number in range(20_000)) == 20_000
        assert store.count(NOW) == 20_000
    assert len(caplog.records) == 1


def test_a_catalog_that_another_process_replaced_is_not_moved_again(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two processes that find the damage keep the fresh file of the first."""
    filled(path, 20_000)
    size = path.stat().st_size
    with opened(path) as mount:
        with path.open("r+b") as file:
            file.seek(8192)
            file.write(b"\xff" * (size - 8192))
        with opened(path) as other:
            other.save([Recording("rec_1")])
            other.processing()
            assert list(mount.listed(NOW)) == []
            assert [recording.id for recording in mount.listed(NOW)] == [
                recording.id for recording in other.listed(NOW)
            ]
    assert len(list(path.parent.glob("*.corrupt-*"))) == 1
    assert caplog.records


def test_a_catalog_that_is_gone_is_a_fault_and_not_made_anew_in_the_open(path: Path) -> None:
    """When somebody removes the file, no readable one takes its place."""
    with opened(path) as store:
        store._database.close()
        store._database._closed = False
        path.unlink()
        with pytest.raises(SystemFault, match="unable to open"):
            store.save([Recording("rec_1")])
        assert not path.exists()


def test_a_full_disk_is_a_fault(path: Path) -> None:
    """A catalog that cannot grow says so to whoever saves, and goes on reading."""
    with opened(path) as store:
        store.save([Recording("rec_1")])
        with store._database._connection() as connection:
            connection.execute("PRAGMA max_page_count = 5")
        with pytest.raises(SystemFault, match=r"default.sqlite: database or disk is full"):
            store.save(Recording(f"rec_{number:05}") for number in range(10_000))
        assert [recording.id for recording in store.listed(NOW)] == ["rec_1"]


def test_a_read_only_catalog_is_a_fault(path: Path) -> None:
    """A catalog that may not be written says so to whoever saves."""
    with opened(path) as store:
        with store._database._connection() as connection:
            connection.execute("PRAGMA query_only = 1")
        with pytest.raises(SystemFault, match="readonly"):
            store.save([Recording("rec_1")])


def test_what_cannot_be_read_is_logged_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A catalog that cannot be read knows nothing, and one warning says so."""
    filled(path)
    with opened(path) as store:
        for connection in store._database._idle:
            connection.close()
        assert store.recording("rec_00000") is None
        assert store.count(NOW) == 0
        assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_catalog_that_stays_locked_is_a_fault(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that never ends is waited for, then reported."""
    monkeypatch.setattr("kallglotfs.catalog.database.BUSY", 0.05)
    with opened(path) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(SystemFault, match="locked"):
            store.save([Recording("rec_1")])
        assert store.count(NOW) == 0


def test_a_catalog_that_cannot_be_opened_now_is_refused_and_left_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that another process holds is in use, not damaged: it is not moved aside."""
    monkeypatch.setattr("kallglotfs.catalog.database.BUSY", 0.05)
    path.parent.mkdir(mode=0o700)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert refusal(path) == f"state_dir: {path}: database is locked"
    assert [file.name for file in path.parent.iterdir()] == ["default.sqlite"]


def test_a_damaged_catalog_that_cannot_be_moved_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the damaged file cannot be put aside, one line says so."""
    path.parent.mkdir(mode=0o700)
    path.write_bytes(b"not a database " * 1000)

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(type(path), "replace", refuse)
    assert refusal(path) == f"state_dir: {path}: [Errno 30] Read-only file system"
