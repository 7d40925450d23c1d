"""The memory tier: blocks in the slots of an arena, and which of them goes when another needs its slot.

User: `cache.py`. What a copy has passed by goes first, even before memory is touched that never was: the
kernel has those pages, and a first touch costs more than receiving. Then goes what was used least recently.

Threading: guarded by the lock it is given, the block cache's. `room` takes it by itself, everything else is
called with it held.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from cachetools import LRUCache

from kallglotfs.content.arena import BLOCK, Arena, Block

if TYPE_CHECKING:
    import threading

    from kallglotfs.model import Rendition, Validator

#: What a block is kept by.
Key = tuple["Rendition", "Validator", int]

#: Blocks let go for one new one, before that gets memory of its own: all of them are being read from.
TRIES = 8
#: The part of the arena that is used before passed blocks make room for new ones.
WARM = 4


class MemoryTier:
    """Keeps blocks in memory.

    Args:
        capacity: bytes, blocks on their way included.
        lock: guards it.
    """

    def __init__(self, capacity: int, lock: threading.Condition) -> None:
        self._lock = lock
        self._arena = Arena(capacity)
        self._blocks: LRUCache[Key, Block] = LRUCache(self._arena.slots)
        #: Kept blocks that a reader has passed by, the earliest first.
        self._passed: OrderedDict[Key, None] = OrderedDict()

    @property
    def capacity(self) -> int:
        """Bytes of memory at the most."""
        return self._arena.slots * BLOCK

    @property
    def used(self) -> int:
        """Bytes of memory that have been used, and so are not the system's any more."""
        return self._arena.touched * BLOCK

    def __len__(self) -> int:
        return len(self._blocks)

    def __contains__(self, key: Key) -> bool:
        return key in self._blocks

    def get(self, key: Key) -> Block | None:
        """Return a block, which somebody wants now."""
        block = self._blocks.get(key)
        if block is not None:
            self._passed.pop(key, None)
        return block

    def keep(self, key: Key, block: Block) -> None:
        """Keep a block."""
        self._passed.pop(key, None)
        self._blocks[key] = block

    def passed(self, key: Key) -> None:
        """Take note that a reader is done with a block, for now."""
        if key in self._blocks:
            self._passed[key] = None

    def bytes_of(self, recording_id: str) -> int:
        """Return the bytes of a recording."""
        return sum(len(block) for key, block in self._blocks.items() if key[0].recording_id == recording_id)

    def forget(self, recording_id: str) -> None:
        """Drop all blocks of a recording."""
        for key in [key for key in self._blocks if key[0].recording_id == recording_id]:
            del self._blocks[key]
            self._passed.pop(key, None)

    def room(self, length: int) -> Block:
        """Return an empty block of up to `arena.BLOCK` bytes, in place of another where need be.

        Args:
            length: bytes.
        """
        for _ in range(TRIES):
            thrifty = bool(self._passed) and self._arena.touched * WARM >= self._arena.slots
            block = self._arena.take(length, fresh=not thrifty)
            if block is not None:
                return block
            with self._lock:
                # Its slot is free as soon as nobody reads from it any more, which may be later.
                if self._passed:
                    self._blocks.pop(self._passed.popitem(last=False)[0], None)
                elif self._blocks and not thrifty:
                    self._blocks.popitem()
        return Block(memoryview(bytearray(length)))
