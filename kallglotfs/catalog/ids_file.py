"""A file of ids that is watched: what is added to it appears in the mount.

The file is looked at every two seconds, by its time and size: that costs a microsecond, and works on every
filesystem, where notifications do not. Ids that are known cost nothing; each new one costs the request that
`kallglotfs add` would spend on it.
"""

from __future__ import annotations

import logging
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
        self._bad = 0
        self._refused: set[str] = set()

    def step(self, position: str) -> Step:
        """Add the next id that is not known, or look whether the file has changed.

        The position is the state of the file that has been read to its end.
        """
        stamp = self._stamp()
        if not stamp:
            return Step("", pause=LOOK, note=f"{self._path} is not there")
        if stamp == position:
            return Step(position, pause=LOOK, note=self._note())
        if stamp != self._reading:
            try:
                # All of it: whoever writes it may replace it meanwhile. A million ids are 100 MB in passing.
                lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
            except OSError as error:
                return Step(position, pause=LOOK, note=f"{self._path}: {error.strerror}")
            self._reading, self._bad, self._rest = stamp, 0, read_ids(lines)
            self._refused = set()
        for entry in self._rest:
            if entry.text is None or entry.text in self._refused:
                self._bad += entry.text is None
                continue
            outcome = self._adder.add(entry.text)
            if outcome.result not in (Result.ADDED, Result.KNOWN):
                self._bad += 1
                self._refused.add(entry.text)
                log.info("%s:%d: %r: %s", self.name, entry.line, entry.text[:80], outcome.result.value)
            if outcome.result is not Result.KNOWN:
                return Step(position, found=outcome.added, note=self._note())
        return Step(self._reading, pause=LOOK, note=self._note())

    def _note(self) -> str:
        return f"{self._bad} lines are no known id" if self._bad else ""

    def _stamp(self) -> str:
        try:
            found = self._path.stat()
        except OSError:
            return ""
        return f"{found.st_mtime_ns} {found.st_size} {found.st_ino}"
