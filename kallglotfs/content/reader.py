"""Turns a read of bytes into blocks and back.

Threading: reads of one file come on several threads at once. Its window is replaced, not changed; a lost
update costs a little read-ahead. Failures have a lock, which an ordinary read never takes.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from kallglotfs.content.arena import BLOCK, Block
from kallglotfs.content.ranges import block_count, block_range, blocks_of, clamp
from kallglotfs.content.window import DISORDER, LARGE_RUN, Window
from kallglotfs.errors import Interrupted, KallglotError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kallglotfs.clock import Clock
    from kallglotfs.content.cache import Ticket
    from kallglotfs.model import Rendition, Validator
    from kallglotfs.patience import Patience

#: Seconds a failure answers for its blocks, whoever reads them. Linux reads a page whose read-ahead failed
#: once more before it tells the program, and lets the readers of one page read it one after the other:
#: without this, one `read` takes `timeout` twice, and the last of eight readers waits for eight of them.
ECHO = 0.5


class Blocks(Protocol):
    """What the reader needs of the block cache."""

    def ask(
        self, rendition: Rendition, validator: Validator, blocks: range, run: int
    ) -> Sequence[Block | Ticket]:
        """Return blocks or tickets for them."""

    def collect(self, ticket: Ticket, patience: Patience) -> Block:
        """Wait for a block."""

    def let_go(self, tickets: list[Ticket], *, gone: bool) -> None:
        """Give tickets back."""

    def fetch_ahead(
        self, rendition: Rendition, validator: Validator, blocks: range, run: int, owner: object
    ) -> None:
        """Start fetching blocks."""

    def passed(self, rendition: Rendition, validator: Validator, blocks: range) -> None:
        """Let blocks go before others."""

    def drop_ahead(self, rendition: Rendition, owner: object, wanted: range) -> None:
        """Stop fetching what was fetched ahead."""


class Piece(NamedTuple):
    """Some bytes of a block, which is kept as long as they are wanted."""

    block: Block
    start: int
    stop: int

    @property
    def view(self) -> memoryview:
        """The bytes; the block must outlive it."""
        return self.block.view[self.start : self.stop]


@dataclass(frozen=True, slots=True)
class Failure:
    """A read that failed a moment ago.

    Attributes:
        blocks: what it touched.
        error: why.
        until: how long it answers for reads of the same blocks, on `Clock.now`.
    """

    blocks: range
    error: KallglotError
    until: float

    def answers(self, blocks: range, now: float) -> bool:
        """Tell whether a read need not be tried."""
        return now < self.until and blocks.start < self.blocks.stop and self.blocks.start < blocks.stop


@dataclass(slots=True)
class Content:
    """One version of a rendition, as one open file reads it."""

    rendition: Rendition
    validator: Validator
    window: Window = field(default_factory=Window)
    #: The seek after which its window was last opened.
    settled: int = 0
    #: Whether its last byte has been read.
    finished: bool = False


class Reader:
    """Reads bytes of contents through the block cache.

    Args:
        blocks: the cache.
        clock: what tells the time.
        streams: range requests that may run in parallel for one file.
        window_bytes: bytes all windows together may span.
    """

    def __init__(self, blocks: Blocks, clock: Clock, streams: int, window_bytes: int) -> None:
        self._blocks = blocks
        self._clock = clock
        self._streams = streams
        self._lock = threading.Lock()
        self._failures: dict[tuple[Rendition, Validator], list[Failure]] = {}
        self._most = max(1, min(streams * LARGE_RUN, window_bytes // BLOCK))

    def read(
        self, content: Content, offset: int, length: int, patience: Patience, sharers: int = 1
    ) -> list[Piece]:
        """Return exactly the bytes at `offset`, fewer only at the end of the file.

        Args:
            content: what to read.
            offset: first byte.
            length: bytes wanted.
            patience: how to wait.
            sharers: open files among which the room for fetching ahead is divided.

        Returns:
            The bytes in pieces, to be put one behind the other: joining them would copy them once more.

        Raises:
            KallglotError: as the source says.
        """
        size = content.validator.size
        part = clamp(offset, length, size)
        if not part:
            return []
        blocks = blocks_of(part, BLOCK)
        if self._failures:
            self._recall(content, blocks)
        try:
            found = self._collect(content, blocks, patience, sharers)
        except Interrupted:
            raise
        except KallglotError as error:
            self._remember(content, Failure(blocks, error, self._clock.now() + ECHO))
            raise
        return _cut(found, blocks, part, size)

    def _recall(self, content: Content, blocks: range) -> None:
        now = self._clock.now()
        with self._lock:
            known = self._failures.get((content.rendition, content.validator), ())
            found = next((each for each in known if each.answers(blocks, now)), None)
        if found is not None:
            raise found.error.with_traceback(None)

    def _remember(self, content: Content, failure: Failure) -> None:
        now = self._clock.now()
        with self._lock:
            for key, known in list(self._failures.items()):
                self._failures[key] = [each for each in known if now < each.until]
                if not self._failures[key]:
                    del self._failures[key]
            self._failures.setdefault((content.rendition, content.validator), []).append(failure)

    def _collect(self, content: Content, blocks: range, patience: Patience, sharers: int) -> list[Block]:
        rendition, validator = content.rendition, content.validator
        now = self._clock.now()
        window = content.window.read(blocks, now)
        asked = self._blocks.ask(rendition, validator, blocks, window.run(self._streams))
        waited = any(not isinstance(answer, Block) for answer in asked)
        window = window.widen(max(1, self._most // max(1, sharers)), now, waited=waited)
        if window.length and content.settled != window.seeks:
            # Only now: one read elsewhere may be the kernel's, or a look at the tail.
            content.settled = window.seeks
            around = range(window.frontier - DISORDER, window.frontier + window.length)
            self._blocks.drop_ahead(rendition, content, around)
        content.window, ahead = window.ahead(block_count(validator.size, BLOCK), self._streams)
        if ahead:
            self._blocks.fetch_ahead(rendition, validator, ahead, window.run(self._streams), content)
        if window.length:
            # Not the first: as long as it is there, opening the file again asks nobody.
            behind = max(1, window.frontier - 2 * min(DISORDER, window.length))
            self._blocks.passed(rendition, validator, range(max(1, behind - len(blocks)), behind))
        return self._wait(asked, patience) if waited else [each for each in asked if isinstance(each, Block)]

    def _wait(self, asked: Sequence[Block | Ticket], patience: Patience) -> list[Block]:
        gone = False
        try:
            return [
                answer if isinstance(answer, Block) else self._blocks.collect(answer, patience)
                for answer in asked
            ]
        except Interrupted:
            gone = True
            raise
        finally:
            self._blocks.let_go([each for each in asked if not isinstance(each, Block)], gone=gone)


def _cut(found: list[Block], blocks: range, part: range, size: int) -> list[Piece]:
    pieces = []
    for index, block in zip(blocks, found, strict=True):
        whole = block_range(index, BLOCK, size)
        assert len(block) == len(whole)
        start, stop = max(part.start, whole.start), min(part.stop, whole.stop)
        pieces.append(Piece(block, start - whole.start, stop - whole.start))
    return pieces
