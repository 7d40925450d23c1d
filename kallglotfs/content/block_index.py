"""Which blocks the disk tier has, which was used least recently, and the room they take. No files here.

User: `disk.py`. At start the index is empty and not complete: blocks get in as they are written and hit, and
in the end a scan of the directory brings the rest. The order of what the scan brings is that of the files'
times, and everything that was used since counts as used later.

Not `cachetools`: it evicts by itself, while here the file has to go, and it keeps a second table for sizes.
One entry takes 0.2 KiB, which is 8 MiB for a `disk_cache` of 10 GiB.

Threading: one lock, a leaf, held for steps in memory only.

Invariants:
1. A block is taken out of the index before its file is removed, and put in after its file is there. So what
   goes wrong in between leaves an entry without a file, which the next look at the file mends, and never a
   file that nobody counts.
2. What is counted and what is reserved stay within the capacity together, once the scan is done.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class BlockIndex:
    """Counts blocks and chooses which to evict.

    Args:
        capacity: bytes on the disk.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._lock = threading.Lock()
        self._sizes: OrderedDict[bytes, int] = OrderedDict()
        self._used = 0
        self._reserved = 0
        self._removals = 0
        #: What was taken out while the scan was looking; None once it has ended.
        self._gone: set[bytes] | None = set()

    @property
    def complete(self) -> bool:
        """Tell whether everything in the directory is in the index."""
        return self._gone is None

    @property
    def used(self) -> int:
        """The bytes that the counted blocks take on the disk."""
        return self._used

    @property
    def removals(self) -> int:
        """How often something was taken out; see `touch`."""
        return self._removals

    def __contains__(self, name: bytes) -> bool:
        with self._lock:
            return name in self._sizes

    def __len__(self) -> int:
        return len(self._sizes)

    def add(self, name: bytes, size: int) -> list[bytes]:
        """Count a block that was written, as the one used last.

        Returns:
            The blocks taken out because it takes more than was reserved, or others were written meanwhile;
            their files are to be removed.
        """
        with self._lock:
            self._insert(name, size)
            return self._evict()

    def touch(self, name: bytes, size: int, removals: int) -> None:
        """Note the use of a block whose file was found.

        Args:
            name: the block.
            size: bytes that its file takes.
            removals: their number before the file was looked for. A block that is not counted is counted only
                when nothing was removed since: it may be this one.
        """
        with self._lock:
            if name in self._sizes:
                self._sizes.move_to_end(name)
            elif removals == self._removals:
                self._insert(name, size)

    def resize(self, capacity: int) -> list[bytes]:
        """Change how many bytes there may be.

        Returns:
            The blocks taken out because they are too many, whose files are to be removed.
        """
        with self._lock:
            self.capacity = capacity
            return self._evict()

    def forget(self, name: bytes) -> None:
        """Take a block out, counted or not, before its file is removed."""
        with self._lock:
            self._removals += 1
            self._used -= self._sizes.pop(name, 0)
            if self._gone is not None:
                self._gone.add(name)

    def clear(self) -> None:
        """Take everything out: the files are gone."""
        with self._lock:
            self._removals += 1
            if self._gone is not None:
                self._gone.update(self._sizes)
            self._sizes.clear()
            self._used = 0

    def restart(self) -> None:
        """Know nothing, until a new scan brings what is there."""
        with self._lock:
            self._removals += 1
            self._gone = set()
            self._sizes.clear()
            self._used = 0

    def reserve(self, size: int) -> list[bytes]:
        """Set room aside for a block that is going to be written.

        Returns:
            The blocks taken out for it, whose files are to be removed.
        """
        with self._lock:
            self._reserved += size
            return self._evict()

    def release(self, size: int) -> None:
        """Give back what `reserve` set aside."""
        with self._lock:
            self._reserved -= size

    def complete_with(self, found: Iterable[tuple[int, bytes, int]]) -> list[bytes]:
        """Take over what a scan found.

        Args:
            found: times of last use, names, and sizes, in any order.

        Returns:
            The blocks taken out because they are too many, whose files are to be removed.
        """
        # Outside the lock, since it may be a million: only what changed meanwhile is left to do inside.
        sizes = OrderedDict((name, size) for _, name, size in sorted(found))
        used = sum(sizes.values())
        with self._lock:
            for name in self._gone or ():
                used -= sizes.pop(name, 0)
            for name, size in self._sizes.items():
                used += size - sizes.pop(name, 0)
                sizes[name] = size
            self._sizes, self._used, self._gone = sizes, used, None
            return self._evict()

    def _insert(self, name: bytes, size: int) -> None:
        self._used += size - self._sizes.pop(name, 0)
        self._sizes[name] = size

    def _evict(self) -> list[bytes]:
        victims = []
        while self._sizes and self._used + self._reserved > self.capacity:
            name, size = self._sizes.popitem(last=False)
            self._used -= size
            self._removals += 1
            if self._gone is not None:
                self._gone.add(name)
            victims.append(name)
        return victims
