"""Brings recordings to the disk tier, a slice at a time, as a client asks for them.

Used by `assembly/questions.py`, which answers `kallglotfs warm` over the control socket. The daemon fetches,
rather than the client reading through the mount: what the kernel or our memory has already would never reach
the disk, and nothing has to be copied to a program that throws it away. No state is kept between slices but a
window of read-ahead, so a client that is killed leaves nothing behind but the slice under way.

A slice is read as any program reads, by one who is known to be in bulk: leases, the block cache, versions and
the budget's order are the reader's. What is on the disk already is passed over.

Threading: called on the threads of the control socket; the lock is a leaf.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cachetools import LRUCache

from kallglotfs.content.arena import BLOCK
from kallglotfs.content.cache import FIRST_RUN
from kallglotfs.content.ranges import block_count
from kallglotfs.content.reader import Content
from kallglotfs.errors import ContentChanged, NotFound, NotReady
from kallglotfs.model import DEFAULT_FORMAT, Rendition, Status
from kallglotfs.patience import Patience
from kallglotfs.urgency import Bulk
from kallglotfs.vfs.on_disk import Keeper, keeps, missing_of

if TYPE_CHECKING:
    from kallglotfs.clock import Clock
    from kallglotfs.content.reader import Piece
    from kallglotfs.model import Recording, Validator
    from kallglotfs.vfs.renditions import Renditions

#: Seconds after which a slice ends at the next block, so that who waits for it can show progress or stop.
SLICE = 1.0
#: Blocks read in one go where nothing has been fetched ahead: one request. Else one by one, so that it shows
#: that a slow line moves.
RUN = 4
#: Files whose windows are remembered, and among which the room for fetching ahead is divided.
FILES = 8
#: Seconds a file's last blocks get to be written.
SETTLE = 10.0
#: Seconds a slice waits for the rate limit; then the client is told, and asks again. Each time that comes
#: about, a thread is left behind that waits on until its turn, and whose lease is kept for the next.
HELD = 30.0


class Shelf(Keeper, Protocol):
    """The disk tier: `content.disk.DiskTier`."""

    def put(self, rendition: Rendition, validator: Validator, index: int, block: bytes) -> None:
        """Take a block."""

    def settle(self, recording_id: str, seconds: float) -> bool:
        """Wait until nothing of a recording is to be written."""

    def destroy(self, recording_id: str) -> bool:
        """Remove all blocks of a recording."""

    @property
    def trouble(self) -> str | None:
        """Why nothing can be written at present."""


class Knowledge(Protocol):
    """What is asked of the catalog."""

    def known(self, recording_id: str) -> Recording | None:
        """Return what is known without asking."""

    def is_listed(self, recording: Recording) -> bool:
        """Tell whether a listing shows it."""

    def recording(self, rendition: Rendition, patience: Patience) -> Recording:
        """Return the recording behind a name."""

    def doubt(self, rendition: Rendition) -> None:
        """Forget what the storage said."""

    def missing(self, rendition: Rendition, reason: str) -> None:
        """Remember that the storage has not got it."""


class Blocks(Protocol):
    """What is asked of the block cache."""

    def holds(self, rendition: Rendition, validator: Validator, index: int) -> bool:
        """Tell whether a block is at hand."""


class ContentReader(Protocol):
    """Who reads bytes: `content.reader.Reader`."""

    def read(
        self, content: Content, offset: int, length: int, patience: Patience, sharers: int
    ) -> list[Piece]:
        """Return bytes, in pieces."""


@dataclass(frozen=True, slots=True)
class Slice:
    """How far a file has come.

    Attributes:
        offset: where to go on; the size at the end.
        size: bytes of the file.
        missing: bytes that should be on the disk by now and are not; told at the end.
        trouble: why nothing can be written, None where all is well.
    """

    offset: int
    size: int
    missing: int = 0
    trouble: str | None = None


class Warming:
    """Brings files to the disk.

    Args:
        renditions: which there are.
        catalog: what is known.
        blocks: the block cache.
        reader: reads bytes.
        shelf: the disk tier.
        clock: what tells the time.
        timeout: seconds one wait may take.
    """

    def __init__(
        self,
        renditions: Renditions,
        catalog: Knowledge,
        blocks: Blocks,
        reader: ContentReader,
        shelf: Shelf,
        clock: Clock,
        timeout: float,
    ) -> None:
        self._renditions = renditions
        self._catalog = catalog
        self._blocks = blocks
        self._reader = reader
        self._shelf = shelf
        self._clock = clock
        self._timeout = timeout
        self._lock = threading.Lock()
        self._contents: LRUCache[Rendition, Content] = LRUCache(FILES)

    def look_up(self, recording_id: str) -> None:
        """Ask the service what a recording is, where that is not known.

        Raises:
            KallglotError: as the service says.
        """
        self._catalog.recording(Rendition(recording_id, DEFAULT_FORMAT), self._patience())

    def fetch(self, rendition: Rendition, offset: int) -> Slice:
        """Bring the next slice of a file.

        Args:
            rendition: which file.
            offset: the byte to go on at.

        Raises:
            ContentChanged: there is another version now; begin anew.
            KallglotError: as the service says.
        """
        patience = self._patience()
        content = self._content(rendition, patience)
        size = content.validator.size
        try:
            found = self._advance(content, offset, patience)
        except ContentChanged:
            self._catalog.doubt(rendition)
            raise
        except NotFound as error:
            self._catalog.missing(rendition, str(error))
            raise
        if found.offset < size or found.trouble is not None:
            return found
        self._shelf.settle(rendition.recording_id, SETTLE)
        missing = missing_of(self._shelf, rendition, content.validator, used=True)
        self._make_sure(rendition)
        return Slice(found.offset, size, missing, self._shelf.trouble if missing else None)

    def _advance(self, content: Content, offset: int, patience: Patience) -> Slice:
        rendition, validator = content.rendition, content.validator
        index, last = offset // BLOCK, block_count(validator.size, BLOCK)
        ends = self._clock.now() + SLICE
        while index < last and self._clock.now() < ends:
            if keeps(self._shelf, rendition, validator, index, used=True):
                index += 1
                continue
            trouble = self._shelf.trouble
            ahead = index < FIRST_RUN or content.window.length > 0
            wanted = range(index, min(index + (1 if ahead else RUN), last))
            self._bring(content, wanted, patience)
            index = wanted.stop
            if trouble is not None or self._shelf.trouble is not None:
                # One more try may have mended it.
                self._shelf.settle(rendition.recording_id, SETTLE)
                if self._shelf.trouble is not None:
                    return Slice(wanted.start * BLOCK, validator.size, trouble=self._shelf.trouble)
        return Slice(min(index * BLOCK, validator.size), validator.size)

    def _bring(self, content: Content, wanted: range, patience: Patience) -> None:
        """Read some blocks and see to it that they are written."""
        rendition, validator = content.rendition, content.validator
        start = wanted.start * BLOCK
        stop = min(wanted.stop * BLOCK, validator.size)
        pieces = self._reader.read(content, start, stop - start, patience, FILES)
        for index, piece in zip(wanted, pieces, strict=True):
            # Who fetched it has handed it to the disk; what came from memory nobody has.
            if not keeps(self._shelf, rendition, validator, index, used=True):
                self._shelf.put(rendition, validator, index, bytes(piece.view))

    def _content(self, rendition: Rendition, patience: Patience) -> Content:
        """Return a file as it is now, pinned as by `open`, so that opening it later needs nobody."""
        recording = self._renditions.recording(rendition, patience)
        if recording.status is Status.PROCESSING:
            raise NotReady(f"{rendition.recording_id}: still being processed")
        validator = self._renditions.pinned(rendition)
        # By its file first: another mount on the same directory may have written it.
        kept = validator is not None and (
            (validator.size > 0 and keeps(self._shelf, rendition, validator, 0, used=True))
            or self._blocks.holds(rendition, validator, 0)
        )
        if validator is None or not kept:
            validator = self._renditions.confirmed(rendition, patience).validator
        with self._lock:
            content = self._contents.get(rendition)
            if content is None or content.validator != validator:
                content = self._contents[rendition] = Content(rendition, validator)
        return content

    def _make_sure(self, rendition: Rendition) -> None:
        """Destroy what was written of a recording that is gone by now.

        Raises:
            NotFound: it is.
        """
        recording = self._catalog.known(rendition.recording_id)
        if recording is None or not self._catalog.is_listed(recording):
            self._shelf.destroy(rendition.recording_id)
            raise NotFound(f"{rendition.recording_id}: gone meanwhile")

    def _patience(self) -> Patience:
        return Patience(self._clock, self._timeout, lambda: False, Bulk, throttle_timeout=HELD)
