"""The tree of the mount: which branch answers for a path.

/
├── recordings/     every recording by its id
├── sessions/       calls: recordings, transcripts, subtitles
├── by-date/        recordings by the time they were made
├── .kallglotfs/    what the mount knows of itself; not listed
└── .nomedia, …     empty files that keep indexers out
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kallglotfs.errors import NotADirectory, NotFound
from kallglotfs.model import Attrs, Entry, Kind
from kallglotfs.vfs.branch import no_text
from kallglotfs.vfs.insight import INSIGHT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kallglotfs.patience import Patience
    from kallglotfs.vfs.branch import Branch
    from kallglotfs.vfs.made import Begin

ROOT = "/"
#: Empty files by which Android, tracker and Spotlight leave a folder alone.
MARKERS = (".metadata_never_index", ".nomedia", ".trackerignore")


class Tree:
    """Maps paths to branches.

    Args:
        branches: by name.
        mounted: the root's time, epoch seconds.
    """

    def __init__(self, branches: Mapping[str, Branch], mounted: float) -> None:
        self._branches = dict(branches)
        self._mounted = mounted

    def attributes(self, path: str, patience: Patience) -> Attrs:
        """Return what `stat` shows; raises as `Branch.attributes`."""
        if path == ROOT:
            return Attrs(self._mounted)
        top, parts = _split(path)
        if top in MARKERS:
            if parts:
                raise NotADirectory("not a directory")
            return Attrs(self._mounted, text=True)
        return self._branch(top).attributes(parts, patience)

    def entries(self, path: str, patience: Patience) -> Iterator[Entry]:
        """Return the names in a directory, as a stream; raises as `Branch.entries`."""
        if path == ROOT:
            return self._root()
        top, parts = _split(path)
        if top in MARKERS:
            raise NotADirectory("not a directory")
        return self._branch(top).entries(parts, patience)

    def text(self, path: str, patience: Patience) -> bytes | Begin:
        """Return the content of a file that is made; raises as `Branch.text`."""
        if path == ROOT:
            raise no_text()
        top, parts = _split(path)
        return b"" if top in MARKERS else self._branch(top).text(parts, patience)

    def _root(self) -> Iterator[Entry]:
        for name in MARKERS:
            yield Entry(name, Kind.TEXT)
        for name in self._branches:
            if name != INSIGHT:
                yield Entry(name, Kind.DIRECTORY)

    def _branch(self, name: str) -> Branch:
        try:
            return self._branches[name]
        except KeyError:
            raise NotFound("no such name") from None


def _split(path: str) -> tuple[str, tuple[str, ...]]:
    top, *parts = path.strip("/").split("/")
    return top, tuple(parts)
