"""The memory of the block cache: one piece of it, cut into slots that are used again and again.

Used by `cache.py`. Fresh memory for each block would cost more than receiving the bytes: the first touch of
its pages took 0.6 to 0.7 s per GB on the machine this was measured on, receiving takes 0.2.

A `Block` owns its slot for as long as anybody refers to it. Only then the slot is used again, so that whoever
reads from a block reads what was put in, evicted or not. This relies on CPython's counting of references.

Threading: the list of free slots is a deque, whose ends are safe to use from any thread.
"""

from __future__ import annotations

import contextlib
import mmap
from collections import deque

#: Bytes of a block. 256 KiB: a player's first read waits for no more, and 13 kB/s still meets `timeout`.
BLOCK = 256 * 1024


class Block:
    """The bytes of one block, in a slot of an arena or on their own.

    Args:
        view: the bytes.
        slot: which slot they are in; None for none.
        free: where the slot goes back to.
    """

    __slots__ = ("_free", "_slot", "view")

    def __init__(self, view: memoryview, slot: int | None = None, free: deque[int] | None = None) -> None:
        self.view = view
        self._slot = slot
        self._free = free

    def __len__(self) -> int:
        return len(self.view)

    def __del__(self) -> None:
        if self._free is not None and self._slot is not None:
            self._free.append(self._slot)


class Arena:
    """Hands out memory for blocks.

    Args:
        capacity: bytes; they are taken from the system as they are used for the first time.
    """

    def __init__(self, capacity: int) -> None:
        self.slots = max(1, capacity // BLOCK)
        memory = mmap.mmap(-1, self.slots * BLOCK, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        with contextlib.suppress(OSError, AttributeError):
            # Pages of 2 MiB: fewer first touches. Not every kernel has them.
            memory.madvise(mmap.MADV_HUGEPAGE)
        with contextlib.suppress(OSError, AttributeError):
            # Call audio does not belong into a core dump.
            memory.madvise(mmap.MADV_DONTDUMP)
        self._memory = memoryview(memory)
        self._free: deque[int] = deque()
        self._fresh = deque(range(self.slots))

    @property
    def touched(self) -> int:
        """The number of slots that have been used."""
        return self.slots - len(self._fresh)

    def take(self, length: int, *, fresh: bool = True) -> Block | None:
        """Return an empty block of up to `BLOCK` bytes, None when there is no slot for it.

        Args:
            length: bytes.
            fresh: whether a slot that was never used may be touched.
        """
        try:
            # The one that was used last: it is in the processor's cache still.
            slot = self._free.pop()
        except IndexError:
            if not fresh:
                return None
            try:
                slot = self._fresh.popleft()
            except IndexError:
                return None
        start = slot * BLOCK
        return Block(self._memory[start : start + length], slot, self._free)
