"""The catalog's file: is it whole, of our version, free to be written; and a recording out of it."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

from kallglotfs.catalog.store import CatalogStore
from kallglotfs.catalog.tables import VERSION
from kallglotfs.doctor.finding import Finding, failure, ok, quoted, warning
from kallglotfs.errors import KallglotError

if TYPE_CHECKING:
    from pathlib import Path

    from kallglotfs.clock import Clock
    from kallglotfs.model import Recording

NAME = "catalog"
#: Seconds to wait for a lock, and for looking through the file.
LOCK, LOOK = 1.0, 1.5


def catalog(path: Path) -> Finding:
    """Check the file; nothing is written to it, made or moved.

    Args:
        path: of the profile's catalog.
    """
    if not os.path.lexists(path):
        return ok(NAME, "none yet: nothing is known, the first mount makes it")
    shown = quoted(path)
    owner = path.lstat().st_uid
    if owner != os.geteuid():
        return failure(NAME, f"{path} belongs to another user", f"sudo chown $(id -un) {shown}*")
    if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        return failure(NAME, f"{path} cannot be written", f"chmod 600 {shown}")
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=LOCK)) as file:
            return _looked_through(file, path)
    except sqlite3.Error as error:
        if "locked" in str(error) or "busy" in str(error):
            found = f"{path} stays locked: another program holds it"
            return failure(NAME, found, f"find out which: fuser -v {shown}")
        found = f"{path} cannot be used ({error}): the next mount moves it aside and starts anew"
        return warning(NAME, found, f"keep a copy: cp -a {shown} {shown}.kept; later: kallglotfs add …")


def example(path: Path, clock: Clock) -> Recording | None:
    """Return a recording that is known and should be there, None where there is none.

    Args:
        path: of a catalog that `catalog` has found good.
        clock: what tells the time.
    """
    if not os.path.lexists(path):
        return None
    try:
        store = CatalogStore(path, clock)
    except KallglotError:
        return None
    try:
        return next(store.listed(clock.wall()), None)
    finally:
        store.close()


def _looked_through(file: sqlite3.Connection, path: Path) -> Finding:
    version = int(file.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        found = f"{path} was written by a newer kallglotfs"
        return failure(NAME, found, "pip install --upgrade kallglotfs, or name another state_dir")
    file.isolation_level = None
    file.execute("BEGIN IMMEDIATE")
    file.execute("ROLLBACK")
    limit = threading.Timer(LOOK, file.interrupt)
    limit.daemon = True
    limit.start()
    began = time.monotonic()
    try:
        verdict = str(file.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.OperationalError:
        if time.monotonic() - began < LOOK:
            raise
        return ok(NAME, f"{path.name}, version {version}; too large to be looked through here")
    finally:
        limit.cancel()
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict.partition("\n")[0])
    known = file.execute("SELECT count(*) FROM recordings").fetchone()[0] if version else 0
    return ok(NAME, f"{path.name}, version {version}, {known} recording{'s' * (known != 1)}")
