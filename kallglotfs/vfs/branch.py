"""What a top-level directory has to answer: the part that all of them have in common.

Users: `tree.py`, which asks the branch a path leads into; `recordings.py`, `sessions.py`, `by_date.py` and
the others are branches. A path reaches its branch as its parts below the branch's own name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from kallglotfs.errors import IsADirectory, NotADirectory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kallglotfs.model import Attrs, Entry
    from kallglotfs.patience import Patience
    from kallglotfs.vfs.made import Begin


class Branch(Protocol):
    """A top-level directory."""

    def attributes(self, parts: tuple[str, ...], patience: Patience) -> Attrs:
        """Return what `stat` shows.

        Raises:
            NotFound: no such path.
            NotADirectory: the path goes through a file.
            KallglotError: as the service says.
        """

    def entries(self, parts: tuple[str, ...], patience: Patience) -> Iterator[Entry]:
        """Return the names in a directory, as a stream.

        Raises:
            NotFound, NotADirectory: the path is no directory.
            KallglotError: as the service says.
        """

    def text(self, parts: tuple[str, ...], patience: Patience) -> bytes | Begin:
        """Return the content of a file that is made.

        Raises:
            NotFound, IsADirectory: the path is no such file.
            KallglotError: as the service says.
        """


def no_directory(branch: Branch, parts: tuple[str, ...], patience: Patience) -> NotADirectory:
    """Return what to raise where a directory was expected; raises itself where there is nothing at all."""
    branch.attributes(parts, patience)
    return NotADirectory("not a directory")


def no_text() -> IsADirectory:
    """Return what to raise where a file was expected and a directory is."""
    return IsADirectory("is a directory")
