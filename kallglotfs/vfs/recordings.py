"""`/recordings/`: every known recording by its id, and any other by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from kallglotfs.errors import NotADirectory, NotFound
from kallglotfs.model import Attrs, Entry, Kind
from kallglotfs.vfs.branch import no_directory, no_text
from kallglotfs.vfs.naming import format_name, parse_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kallglotfs.model import Rendition
    from kallglotfs.patience import Patience
    from kallglotfs.vfs.renditions import Renditions


class Recordings:
    """The branch of recordings.

    Args:
        renditions: which there are.
        mounted: the directory's time, epoch seconds.
    """

    def __init__(self, renditions: Renditions, mounted: float) -> None:
        self._renditions = renditions
        self._mounted = mounted

    def attributes(self, parts: tuple[str, ...], patience: Patience) -> Attrs:
        """Return what `stat` shows; raises as `Branch.attributes`."""
        if not parts:
            return Attrs(self._mounted)
        return self._renditions.attributes(self._rendition(parts), patience)

    def entries(self, parts: tuple[str, ...], patience: Patience) -> Iterator[Entry]:
        """Return the names in the directory; raises as `Branch.entries`."""
        if parts:
            raise no_directory(self, parts, patience)
        return (Entry(format_name(each), Kind.AUDIO) for each in self._renditions.listed())

    def text(self, _parts: tuple[str, ...], _patience: Patience) -> NoReturn:
        """Refuse: nothing here is made."""
        raise no_text()

    @staticmethod
    def _rendition(parts: tuple[str, ...]) -> Rendition:
        rendition = parse_name(parts[0])
        if rendition is None:
            raise NotFound("no such name")
        if len(parts) > 1:
            raise NotADirectory("not a directory")
        return rendition
