"""The extents under way: which one brings a block, and what nobody fetches yet.

User: the block cache. Every method is called with its condition held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kallglotfs.content.arena import BLOCK
from kallglotfs.content.ranges import block_count

if TYPE_CHECKING:
    from kallglotfs.content.arena import Block
    from kallglotfs.content.extent import Extent
    from kallglotfs.model import Rendition, Validator

#: Blocks of an extent that is on the wire already and, called off, would save too little to matter.
SHORT = 4


class UnderWay:
    """A table of extents, by rendition."""

    def __init__(self) -> None:
        self._extents: dict[Rendition, list[Extent]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._extents.values()))

    def add(self, extent: Extent) -> None:
        """Take an extent in."""
        self._extents.setdefault(extent.rendition, []).append(extent)

    def retire(self, extent: Extent) -> None:
        """Forget an extent that is done."""
        extents = self._extents.get(extent.rendition, [])
        if extent in extents:
            extents.remove(extent)
        if not extents:
            self._extents.pop(extent.rendition, None)

    def finding(self, rendition: Rendition) -> Extent | None:
        """Return an extent that tells the version; one that is being received is as good as one to come."""
        extents = self._extents.get(rendition, ())
        fit = (each for each in extents if each.contact.done() or (each.finding and not each.stalled()))
        return next(fit, None)

    def covering(self, rendition: Rendition, validator: Validator, index: int) -> Extent | None:
        """Return the extent that a block is coming from."""
        for extent in self._extents.get(rendition, ()):
            if index in extent.coming and extent.validator == validator and not extent.stalled():
                return extent
        return None

    def gap(self, rendition: Rendition, validator: Validator, blocks: range) -> range:
        """Return the leading run of `blocks` that nobody fetches, within the file."""
        start, stop = blocks.start, min(blocks.stop, block_count(validator.size, BLOCK))
        for extent in self._extents.get(rendition, ()):
            coming = extent.coming
            if (
                start < coming.stop
                and coming.start < stop
                and extent.validator == validator
                and not extent.stalled()
            ):
                stop = max(start, coming.start)
        return range(start, stop)

    def fulfil(self, rendition: Rendition, validator: Validator, index: int, block: Block) -> None:
        """Give a block to whoever waits for it, wherever that is."""
        for extent in self._extents.get(rendition, ()):
            if extent.validator == validator:
                extent.fulfil(index, block)

    def drop_ahead(self, rendition: Rendition, owner: object, wanted: range) -> None:
        """Cancel what one reader had fetched ahead and nobody waits for, but for blocks around `wanted`."""
        for extent in list(self._extents.get(rendition, ())):
            coming = extent.coming
            elsewhere = coming.stop <= wanted.start or wanted.stop <= coming.start
            # A short one is on the wire already, and may be wanted again.
            saves = extent.queued or len(coming) > SHORT
            if extent.owner is owner and extent.unwanted and elsewhere and saves:
                extent.cancel()

    def release(self, rendition: Rendition) -> None:
        """Cancel what nobody waits for."""
        for extent in list(self._extents.get(rendition, ())):
            if extent.unwanted:
                extent.cancel()

    def forget(self, recording_id: str) -> None:
        """Cancel all that is of a recording."""
        for rendition in [each for each in self._extents if each.recording_id == recording_id]:
            for extent in list(self._extents[rendition]):
                extent.cancel()
