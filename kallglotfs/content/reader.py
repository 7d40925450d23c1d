"""Turns a read of bytes into blocks and back.

Threading: reads of one file come on several threads at once. Its window is replaced, not changed; a lost
update costs a little read-ahead.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from kallglotfs.content.extent import BLOCK
from kallglotfs.content.ranges import block_count, block_range, blocks_of, clamp
from kallglotfs.content.window import LARGE_RUN, Window

if TYPE_CHECKING:
    from kallglotfs.content.cache import Ticket
    from kallglotfs.model import Rendition, Validator
    from kallglotfs.patience import Patience


class Blocks(Protocol):
    """What the reader needs of the block cache."""

    def ask(self, rendition: Rendition, validator: Validator, index: int, run: int) -> bytes | Ticket:
        """Return a block or a ticket for it."""

    def collect(self, ticket: Ticket, patience: Patience) -> bytes:
        """Wait for a block."""

    def fetch_ahead(self, rendition: Rendition, validator: Validator, blocks: range, run: int) -> None:
        """Start fetching blocks."""


@dataclass(slots=True)
class Content:
    """One version of a rendition, as one open file reads it."""

    rendition: Rendition
    validator: Validator
    window: Window = field(default_factory=Window)


class Reader:
    """Reads bytes of contents through the block cache.

    Args:
        blocks: the cache.
        streams: range requests that may run in parallel for one file.
        window_bytes: bytes all windows together may span.
    """

    def __init__(self, blocks: Blocks, streams: int, window_bytes: int) -> None:
        self._blocks = blocks
        self._most = max(1, min(streams * LARGE_RUN, window_bytes // BLOCK))

    def read(self, content: Content, offset: int, length: int, patience: Patience, sharers: int = 1) -> bytes:
        """Return exactly the bytes at `offset`, fewer only at the end of the file.

        Args:
            content: what to read.
            offset: first byte.
            length: bytes wanted.
            patience: how to wait.
            sharers: open files among which the room for fetching ahead is divided.

        Raises:
            KallglotError: as the source says.
        """
        size = content.validator.size
        part = clamp(offset, length, size)
        if not part:
            return b""
        blocks = blocks_of(part, BLOCK)
        window = content.window.read(blocks, max(1, self._most // max(1, sharers)))
        asked = [
            self._blocks.ask(
                content.rendition, content.validator, index, max(window.run, blocks.stop - index)
            )
            for index in blocks
        ]
        content.window, ahead = window.ahead(block_count(size, BLOCK))
        if ahead:
            self._blocks.fetch_ahead(content.rendition, content.validator, ahead, window.run)
        found = [
            answer if isinstance(answer, bytes) else self._blocks.collect(answer, patience)
            for answer in asked
        ]
        return _join(found, blocks, part, size)


def _join(found: list[bytes], blocks: range, part: range, size: int) -> bytes:
    cut = []
    for index, block in zip(blocks, found, strict=True):
        whole = block_range(index, BLOCK, size)
        assert len(block) == len(whole)
        start, stop = max(part.start, whole.start), min(part.stop, whole.stop)
        if len(found) == 1 and stop - start == len(block):
            return block
        cut.append(memoryview(block)[start - whole.start : stop - whole.start])
    return b"".join(cut)
