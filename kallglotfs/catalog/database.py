"""The catalog's SQLite file: kept private, shared by threads and processes, replaced when damaged.

Users: the stores, which say what their tables mean; `tables.py` says what tables there are.

Threading: connections are pooled, and each is used by one thread at a time. They are not kept in
`threading.local`: ctypes gives a thread of libfuse a new Python thread state at every callback
(measured: 300 calls, 300 sets of locals), so each callback would open a connection for good.
`_lock` is a leaf; `_replacing` is held while a damaged file is replaced. Processes share the file by WAL.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from kallglotfs.catalog.private_file import make_private
from kallglotfs.catalog.tables import VERSION, migrate, probe
from kallglotfs.errors import ConfigError, SystemFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kallglotfs.clock import Clock

T = TypeVar("T")

log = logging.getLogger(__name__)

#: Seconds to wait for another process's write.
BUSY = 5.0
#: Connections at one time. They are kept, and SQLite keeps the descriptor even of one that is closed while
#: others are open: without a limit, sixty readers left 78 descriptors behind. A statement takes microseconds.
MOST = 16

_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
# What a statement of ours fails with where a table is not what it should be; tested for when opening only.
_FOREIGN = (*_DAMAGE, sqlite3.SQLITE_ERROR)


class Database:
    """Runs statements on the catalog's file.

    Args:
        path: the file; its directory is made 0700, itself 0600.
        clock: names a damaged file that is moved aside.

    Raises:
        ConfigError: the directory or the file cannot be used, or a newer version wrote it.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._replacing = threading.Lock()
        #: Taken for one statement or transaction; nobody who has a connection asks for another.
        self._turns = threading.BoundedSemaphore(MOST)
        self._idle: list[sqlite3.Connection] = []
        #: Grows when the file is replaced; connections of an earlier one are not used again.
        self._generation = 0
        self._closed = False
        self._unreadable = False
        self._inode = make_private(path)
        try:
            self._open()
        except ConfigError:
            self.close()
            raise

    def rows(self, query: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query; a file that cannot be read knows nothing, which is logged once."""
        generation = self._generation
        try:
            with self._connection() as connection:
                found = connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            if not self._closed:
                if not self._unreadable:
                    log.warning("the catalog cannot be read: %s", error)
                self._unreadable = True
                with contextlib.suppress(sqlite3.Error, OSError, ConfigError):
                    self._mend(error, generation)
            return []
        self._unreadable = False
        return found

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in a transaction of its own.

        Args:
            work: may be run a second time, on a fresh file, where the first shows that the file is damaged.

        Returns:
            What `work` returns.

        Raises:
            SystemFault: the file cannot be written (full, read-only, locked for too long), or a value cannot
                be stored.
        """
        try:
            generation = self._generation
            try:
                return self._transact(work)
            except sqlite3.Error as error:
                if not self._mend(error, generation):
                    raise
            return self._transact(work)
        except (sqlite3.Error, OSError, ConfigError) as error:
            raise SystemFault(f"{self._path.name}: {error}") from None
        except (OverflowError, UnicodeEncodeError) as error:
            # A service may send any number and any text.
            raise SystemFault(
                f"{self._path.name}: a value cannot be stored ({type(error).__name__})"
            ) from None

    def flush(self) -> None:
        """Make sure that what was written outlasts a power cut; `write` alone outlasts a crash of ours.

        Raises:
            SystemFault: the disk refuses.
        """
        # Beside the transaction, so that threads flush together and nobody's write waits for the disk. SQLite
        # holds no lock on its log, so closing it here drops none.
        try:
            descriptor = os.open(f"{self._path}-wal", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return  # all of it is in the file itself, which SQLite has flushed
        except OSError as error:
            raise SystemFault(f"{self._path.name}: {error.strerror}") from None
        try:
            os.fdatasync(descriptor)
        except OSError as error:
            raise SystemFault(f"{self._path.name}: {error.strerror}") from None
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Close the file; a connection in use is closed when its thread is done with it."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _open(self) -> None:
        try:
            try:
                self._migrate()
            except sqlite3.Error as error:
                if _code(error) not in _FOREIGN:
                    raise
                self._start_anew(error, self._generation)
        except (sqlite3.Error, OSError) as error:
            raise ConfigError(f"state_dir: {self._path}: {error}") from None

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._connection() as connection, connection:
            # Immediate: a transaction that begins by reading cannot wait for its turn to write.
            connection.execute("BEGIN IMMEDIATE")
            return work(connection)

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with self._turns, self._pooled() as connection:
            yield connection

    @contextlib.contextmanager
    def _pooled(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._closed:
                raise sqlite3.ProgrammingError("the catalog is closed")
            connection = self._idle.pop() if self._idle else None
            generation = self._generation
        if connection is None:
            connection = self._connect()
        try:
            yield connection
        finally:
            with self._lock:
                keep = not self._closed and generation == self._generation
                if keep:
                    self._idle.append(connection)
            if not keep:
                connection.close()

    def _connect(self) -> sqlite3.Connection:
        # Not "rwc": SQLite would make a file that is gone anew, readable to others and without tables.
        connection = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=BUSY,
            check_same_thread=False,
            isolation_level=None,
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _migrate(self) -> None:
        """Bring the schema up to date and look at every table once."""
        with self._connection() as connection:
            if migrate(connection) > VERSION:
                raise ConfigError(
                    f"{self._path}: written by a newer kallglotfs; use that, or another state_dir"
                )
            probe(connection)

    def _mend(self, error: sqlite3.Error, generation: int) -> bool:
        """Replace the file where `error` says that it is damaged; tell whether it did."""
        if _code(error) not in _DAMAGE:
            return False
        self._start_anew(error, generation)
        return True

    def _start_anew(self, error: sqlite3.Error, generation: int) -> None:
        with self._replacing:
            with self._lock:
                if generation != self._generation:
                    return  # another thread was faster
                self._generation += 1
                idle, self._idle = self._idle, []
            for connection in idle:
                connection.close()
            # Another process may have been faster: its new file is not ours to move.
            if self._path.exists() and self._path.stat().st_ino == self._inode:
                self._move_aside(error)
            self._inode = make_private(self._path)
            self._migrate()

    def _move_aside(self, error: sqlite3.Error) -> None:
        aside = self._path.with_name(f"{self._path.name}.corrupt-{int(self._clock.wall())}")
        log.warning(
            "the catalog %s is damaged (%s): moved to %s, starting anew", self._path, error, aside.name
        )
        self._path.replace(aside)
        for suffix in ("-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)


def _code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code; errors of the module itself have none."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
