"""A file of ids that is watched: what is added to it appears in the mount.

The file is looked at every two seconds, by its time and size: that costs a microsecond, and works on every
filesystem, where notifications do not. Ids that are known cost nothing; each new one costs the request that
`kallglotfs add` would spend on it.
"""

from __future__ import annotations

import itertools
import logging
import os
import stat
from typing import TYPE_CHECKING, Protocol

from kallglotfs.catalog.adding import Result
from kallglotfs.catalog.id_lists import read_ids
from kallglotfs.catalog.sources import Step

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kallglotfs.catalog.adding import Outcome
    from kallglotfs.catalog.id_lists import Entry

log = logging.getLogger(__name__)

#: Seconds between two looks.
LOOK = 2.0
#: Lines that are passed over in one step: other sources want their turn.
AT_ONCE = 1000
#: Seconds until the file is read again of which the service could not answer all.
AGAIN = 300.0


#: How the id of a session begins: it costs a request even where all of its recordings are known.
SESSION = "sess_"
#: The state of what is there and is no file.
_NO_FILE = "-"


class Adder(Protocol):
    """Who adds: `adding.Adder`."""

    def add(self, text: str) -> Outcome:
        """Add one id."""


class IdsFile:
    """The source of ids that somebody writes down.

    Args:
        path: the file; it may come later, and be replaced.
        adder: adds an id.
    """

    name = "ids_file"

    def __init__(self, path: Path, adder: Adder) -> None:
        self._path = path
        self._adder = adder
        self._rest: Iterator[Entry] = iter(())
        self._reading = ""
        self._count = 0
        self._bad = 0
        self._failed = False
        #: Sessions that were listed in this run: they are a request each whether they bring anything or not.
        self._listed: set[str] = set()
        #: Ids that nobody knows: at which reading of the file they are due again, and the one after that.
        self._refused: dict[str, tuple[int, int]] = {}

    def step(self, position: str) -> Step:
        """Add the next id that is not known, or look whether the file has changed.

        The position is the state of the file that has been read to its end.

        Raises:
            KallglotError: as `Adder.add`; the id is tried again.
        """
        stamp = self._stamp()
        if stamp in ("", _NO_FILE):
            missing = "there" if not stamp else "a file"
            return Step("", pause=LOOK, note=f"{self._path} is not {missing}")
        if stamp == position:
            return Step(position, pause=LOOK, note=self._note())
        if stamp != self._reading:
            try:
                self._read(stamp)
            except OSError as error:
                return Step(position, pause=LOOK, note=f"{self._path}: {error.strerror}")
        return self._go_on(position)

    def _go_on(self, position: str) -> Step:
        passed = 0
        for entry in itertools.islice(self._rest, AT_ONCE):
            passed += 1
            added = self._add(entry)
            if added is not None:
                return Step(position, found=added, note=self._note())
        if passed:
            return Step(position, note=self._note())
        if self._failed:
            # What the service could not answer it may answer later: the file counts as not read.
            self._reading = ""
            return Step(position, pause=AGAIN, note=self._note())
        return Step(self._reading, pause=LOOK, note=self._note())

    def _read(self, stamp: str) -> None:
        # All of it: whoever writes it may replace it meanwhile. A million ids are 100 MB in passing.
        lines = _content(self._path).decode(errors="replace").splitlines()
        self._reading, self._rest = stamp, read_ids(lines)
        self._count += 1
        self._bad, self._failed = 0, False

    def _add(self, entry: Entry) -> int | None:
        """Add one id; return how many recordings were new, None where nobody had to be asked."""
        text = entry.text
        if text is None:
            self._bad += 1
            return None
        due, further = self._refused.get(text, (0, self._count + 1))
        if due > self._count:
            self._bad += 1
            return None
        if text in self._listed:
            return None
        try:
            outcome = self._adder.add(text)
        except BaseException:
            self._rest = itertools.chain([entry], self._rest)
            raise
        if outcome.result is Result.FAILED:
            self._failed = True
        elif outcome.result in (Result.UNKNOWN, Result.BAD):
            # A file that grows line by line must not cost a request a line for what is not there.
            self._refused[text] = (further, further + 2 * (further - self._count))
        if outcome.result not in (Result.ADDED, Result.KNOWN):
            self._bad += 1
            log.info("%s:%d: %r: %s", self.name, entry.line, text[:80], outcome.result.value)
            return 0
        self._refused.pop(text, None)
        if text.startswith(SESSION):
            self._listed.add(text)
            return outcome.added
        return None if outcome.result is Result.KNOWN else outcome.added

    def _note(self) -> str:
        return f"{self._bad} lines are no known id" if self._bad else ""

    def _stamp(self) -> str:
        try:
            found = self._path.stat()
        except OSError:
            return ""
        if not stat.S_ISREG(found.st_mode):
            return _NO_FILE  # a pipe would wait, a device never end
        return f"{found.st_mtime_ns} {found.st_ctime_ns} {found.st_size} {found.st_ino}"


def _content(path: Path) -> bytes:
    """Return what a file holds. What has come into its place meanwhile and is none is not waited for.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(0, "is not a file")
        return file.read()
