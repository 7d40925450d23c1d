"""Which blocks of a version are on the disk, by a look at their files.

Users: `forecast.py` and `warming.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from kallglotfs.content.arena import BLOCK
from kallglotfs.content.ranges import block_count, block_range

if TYPE_CHECKING:
    from kallglotfs.model import Rendition, Validator


class Keeper(Protocol):
    """The disk tier: `content.disk.DiskTier`."""

    def keeps(
        self, rendition: Rendition, validator: Validator, index: int, length: int, *, used: bool
    ) -> bool:
        """Tell whether a block has been written."""


def keeps(keeper: Keeper, rendition: Rendition, validator: Validator, index: int, *, used: bool) -> bool:
    """Tell whether a block of a version is on the disk.

    Args:
        keeper: the disk tier.
        rendition: whose block.
        validator: of which version.
        index: which one.
        used: whether this counts as a use, so that others are evicted before it.
    """
    length = len(block_range(index, BLOCK, validator.size))
    return keeper.keeps(rendition, validator, index, length, used=used)


def missing_of(keeper: Keeper, rendition: Rendition, validator: Validator, *, used: bool) -> int:
    """Return the bytes of a version that are not on the disk; arguments as of `keeps`."""
    return sum(
        len(block_range(index, BLOCK, validator.size))
        for index in range(block_count(validator.size, BLOCK))
        if not keeps(keeper, rendition, validator, index, used=used)
    )
