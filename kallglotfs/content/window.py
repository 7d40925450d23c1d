"""How far ahead of a reader to fetch. Pure: a window goes in, a window comes out.

Sequential reading widens the window, a seek closes it. The kernel's read-ahead arrives slightly out of
order, and a player probes the head and the tail of a file before it plays: neither counts as a change of
mind, and a probe alone fetches nothing ahead.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

#: Blocks by which reads may be out of order and still be sequential: 2 MiB.
DISORDER = 8
#: Blocks read in order before anything is fetched ahead: 768 KiB, more than a player's probe.
PROOF = 3
#: Blocks asked for where nothing says yet that reading goes on.
PROBE_RUN = 2
#: Blocks of the smallest and of the largest request: at 50 MB/s per connection and 30 ms to the first byte,
#: 8 MiB spend 84 % of the time transferring, 1 MiB 40 %.
SMALL_RUN, LARGE_RUN = 4, 32


@dataclass(frozen=True, slots=True)
class Window:
    """Where a reader is and what has been fetched ahead of it; all in blocks.

    Attributes:
        frontier: the block after the furthest one read in order.
        streak: blocks read in order since the last seek.
        length: blocks wanted ahead of the frontier.
        fetched: the block up to which fetching ahead has been started.
    """

    frontier: int = 0
    streak: int = 0
    length: int = 0
    fetched: int = 0

    @property
    def run(self) -> int:
        """Blocks to ask for in one request: an eighth of the window."""
        if not self.length:
            return PROBE_RUN
        return max(SMALL_RUN, min(LARGE_RUN, self.length // 8))

    def read(self, blocks: range, most: int) -> Window:
        """Return the window after a read of `blocks`.

        Args:
            blocks: the blocks the read touches.
            most: blocks the window may span at the most.
        """
        # A short streak proves little, so little disorder is forgiven.
        slack = min(DISORDER, self.streak + 1)
        if blocks.start > self.frontier + slack or blocks.stop < self.frontier - slack:
            return Window(frontier=blocks.stop, streak=len(blocks), fetched=blocks.stop)
        advance = max(0, blocks.stop - self.frontier)
        streak = self.streak + min(advance, len(blocks))
        length = self.length
        if advance and streak >= PROOF:
            length = min(most, max(SMALL_RUN, 2 * length))
        frontier = self.frontier + advance
        return Window(frontier, streak, length, max(self.fetched, frontier))

    def ahead(self, last: int) -> tuple[Window, range]:
        """Return the window after fetching ahead, and the blocks to fetch.

        Nothing is fetched until a whole request's worth is wanted, so that requests stay large.

        Args:
            last: number of blocks in the file.
        """
        stop = min(self.frontier + self.length, last)
        if stop - self.fetched < self.run and stop < last:
            return self, range(0)
        return replace(self, fetched=max(self.fetched, stop)), range(self.fetched, stop)
