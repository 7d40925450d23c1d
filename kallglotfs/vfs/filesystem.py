"""The filesystem as a program sees it, without FUSE and without errno.

A file is pinned when it is opened: from then on it is one version, told by size and ETag. If the storage
has another one, the open file is stale; a new open shows the new version.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cachetools import TTLCache

from kallglotfs.content.arena import Block
from kallglotfs.content.reader import ECHO, Content, Piece
from kallglotfs.errors import (
    ContentChanged,
    Interrupted,
    IsADirectory,
    KallglotError,
    NoSuchAttribute,
    NotALink,
    NotFound,
    NotReady,
)
from kallglotfs.model import Attrs, Kind, Status
from kallglotfs.vfs.attributes import NAMES, attributes_of
from kallglotfs.vfs.handles import Handles, Opened
from kallglotfs.vfs.listings import Listings
from kallglotfs.vfs.made import Made
from kallglotfs.vfs.naming import path_of, subject_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kallglotfs.clock import Clock
    from kallglotfs.model import Entry, Rendition, Validator
    from kallglotfs.patience import Patience
    from kallglotfs.tally import Tally
    from kallglotfs.vfs.renditions import Renditions
    from kallglotfs.vfs.tree import Tree
    from kallglotfs.vfs.walk import Walk

log = logging.getLogger(__name__)

#: Paths whose failure is remembered for a moment.
MOST_FAILED = 10_000


class Kept(Protocol):
    """What is asked of the block cache."""

    def holds(self, rendition: Rendition, validator: Validator, index: int) -> bool:
        """Tell whether a block is at hand."""

    def release(self, rendition: Rendition) -> None:
        """Stop fetching ahead."""


class ContentReader(Protocol):
    """Who reads bytes: `content.reader.Reader`."""

    def read(
        self, content: Content, offset: int, length: int, patience: Patience, sharers: int
    ) -> list[Piece]:
        """Return bytes, in pieces."""


class Facts(Protocol):
    """What is asked of the catalog."""

    def doubt(self, rendition: Rendition) -> None:
        """Forget what the storage said."""

    def missing(self, rendition: Rendition, reason: str) -> None:
        """Remember that the storage has not got it."""

    def count(self) -> int:
        """Count the listed recordings."""

    def total_bytes(self) -> int:
        """Return the bytes of all known recordings."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What `statfs` shows: files and bytes known."""

    files: int
    size: int


class FileSystem:
    """Everything a mount can be asked.

    Args:
        tree: paths.
        renditions: what an audio file shows.
        kept: the block cache.
        reader: reads bytes.
        catalog: what is known.
        walk: told what is opened and read to its end.
        clock: what tells the time.
        tally: counts what is read, and remembers what went wrong.
    """

    def __init__(
        self,
        tree: Tree,
        renditions: Renditions,
        kept: Kept,
        reader: ContentReader,
        catalog: Facts,
        walk: Walk,
        clock: Clock,
        tally: Tally,
    ) -> None:
        self._tree = tree
        self._renditions = renditions
        self._kept = kept
        self._reader = reader
        self._catalog = catalog
        self._walk = walk
        self._handles = Handles()
        self._listings = Listings()
        self._clock = clock
        self._tally = tally
        self._lock = threading.Lock()
        self._failed: TTLCache[str, KallglotError] = TTLCache(MOST_FAILED, ECHO, timer=clock.now)

    def attributes(self, path: str, patience: Patience) -> Attrs:
        """Return what `stat` shows of a path; raises as `Tree.attributes`.

        A failure answers for its path for a moment: Linux lets those who look up the same name do so one
        after the other, in a wait that cannot be killed, and each of them would take `timeout`.
        """
        with self._lock:
            failed = self._failed.get(path)
        if failed is not None:
            raise failed.with_traceback(None)
        try:
            attrs = self._tree.attributes(path, patience)
        except (NotFound, Interrupted):
            raise
        except KallglotError as error:
            with self._lock:
                self._failed.setdefault(path, error)
            raise
        if attrs.rendition is not None:
            self._handles.show(path, attrs.size)
        return attrs

    def target(self, path: str, patience: Patience) -> str:
        """Return where a link leads.

        Raises:
            NotALink: the path is something else.
            KallglotError: as `Tree.attributes`.
        """
        attrs = self._tree.attributes(path, patience)
        if attrs.target is None:
            raise NotALink("not a link")
        return attrs.target

    def open_directory(self, path: str, patience: Patience) -> int:
        """Open a directory and return its number.

        Raises:
            KallglotError: as `Tree.entries`.
        """
        # Once now, so that what can go wrong goes wrong here.
        first = [self._tree.entries(path, patience)]
        return self._listings.add(
            # Who rewinds later has the time of a call of its own.
            lambda: first.pop() if first else self._tree.entries(path, patience.anew())
        )

    def entries(self, number: int, offset: int) -> Iterator[tuple[Entry, int]]:
        """Yield the entries of an open directory behind an offset, each with the offset behind itself.

        Raises:
            BadHandle: not open.
            KallglotError: as `Tree.entries`.
        """
        return self._listings.get(number).read(offset)

    def close_directory(self, number: int) -> None:
        """Close a directory."""
        self._listings.remove(number)

    def open(self, path: str, patience: Patience) -> Opened:
        """Open a file and pin its version.

        Returns:
            The open file's number, and what the kernel may do with pages of it.

        Raises:
            IsADirectory: the path is a directory.
            NotReady: the recording is still being processed.
            ContentChanged: the storage has another version than `stat` showed. It has been noted: the next
                `stat` and `open` are right. (Linux looks the path up again by itself and opens it.)
            KallglotError: as the service says.
        """
        attrs = self._tree.attributes(path, patience)
        rendition = attrs.rendition
        if attrs.kind is Kind.TEXT:
            return self._handles.add_made(Made(self._tree.text(path, patience)))
        if rendition is None:
            raise IsADirectory("is a directory")
        if self._renditions.recording(rendition, patience).status is Status.PROCESSING:
            raise NotReady(f"{rendition.recording_id}: still being processed")
        validator = self._renditions.pinned(rendition)
        if validator is None or not self._kept.holds(rendition, validator, 0):
            if self._walk.hurries(rendition):
                patience.in_bulk()
            found = self._renditions.confirmed(rendition, patience).validator
            if found.size != attrs.size or (validator is not None and not validator.accepts(found)):
                raise ContentChanged(f"{rendition.recording_id}: another version than was looked up")
            validator = found
        if not self._handles.is_shown(path, validator.size):
            # Became ready, or was corrected, while the kernel still took the old size for true.
            raise ContentChanged(f"{rendition.recording_id}: another size than was looked up")
        self._walk.opened(rendition)
        return self._handles.add(Content(rendition, validator))

    def read(self, number: int, offset: int, length: int, patience: Patience) -> list[Piece]:
        """Return exactly the bytes at `offset`, in pieces; fewer only at the end of the file.

        Raises:
            BadHandle: not open.
            ContentChanged: the pinned version is no more.
            KallglotError: as the service says.
        """
        content = self._handles.get(number)
        if isinstance(content, Made):
            made = content.read(offset, length)
            return [Piece(Block(memoryview(made)), 0, len(made))] if made else []
        try:
            pieces = self._reader.read(content, offset, length, patience, self._handles.count())
        except ContentChanged:
            self._catalog.doubt(content.rendition)
            raise
        except NotFound as error:
            self._catalog.missing(content.rendition, str(error))
            raise ContentChanged(str(error)) from error
        if offset + length >= content.validator.size and not content.finished:
            content.finished = True
            self._walk.finished(content.rendition)
        self._tally.add("reads")
        self._tally.add("served_bytes", sum(piece.stop - piece.start for piece in pieces))
        return pieces

    def failed(self, path: str, error: KallglotError) -> None:
        """Remember what went wrong with a path, for who wants to know why."""
        self._tally.mishap(type(error).__name__, str(error), path, self._clock.wall())
        subject = subject_of(path)
        if subject is not None:
            self._tally.fail(subject, str(error), self._clock.wall())

    def end(self, recording_id: str) -> list[str]:
        """Turn a recording's open files stale: it is no more.

        Returns:
            The paths of which the kernel may have pages.
        """
        return list(map(path_of, self._handles.end(recording_id)))

    def paths(self, recording_id: str) -> list[str]:
        """Return the paths of a recording of which the kernel may have pages."""
        return list(map(path_of, self._handles.paged(recording_id)))

    def release(self, number: int) -> None:
        """Close a file."""
        content = self._handles.remove(number)
        if content is not None:
            self._kept.release(content.rendition)

    def extended(self, path: str, patience: Patience) -> dict[str, bytes]:
        """Return the extended attributes of a path; a directory has none."""
        attrs = self._tree.attributes(path, patience)
        if attrs.rendition is None:
            return {}
        return attributes_of(self._renditions.recording(attrs.rendition, patience), attrs.rendition)

    def extended_value(self, path: str, name: str, patience: Patience) -> bytes:
        """Return one extended attribute.

        Raises:
            NoSuchAttribute: the path has none of that name. Names that no file has cost no look-up:
                `ls` and `cp` ask for ACLs and labels of every file.
        """
        value = self.extended(path, patience).get(name) if name in NAMES else None
        if value is None:
            raise NoSuchAttribute(name)
        return value

    def open_files(self) -> int:
        """Return how many files are open."""
        return self._handles.count()

    def usage(self) -> Usage:
        """Return what `df` shows."""
        return Usage(self._catalog.count(), self._catalog.total_bytes())
