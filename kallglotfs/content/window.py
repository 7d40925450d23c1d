"""How far ahead of a reader to fetch. Pure: a window goes in, a window comes out.

Sequential reading opens a window, a seek closes it. It widens only when the reader had to wait, so that a
fast copy soon has many requests under way, while a player, which never waits after its start, keeps a small
one and downloads what it plays. The kernel's read-ahead arrives slightly out of order, and a player probes
the head and the tail of a file before it plays: neither counts as a change of mind, and a probe alone fetches
nothing ahead.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

#: Blocks by which reads may be out of order and still be sequential: 2 MiB, two of the kernel's read-aheads.
DISORDER = 8
#: Blocks read in order before anything is fetched ahead: 768 KiB, more than a player's probe.
PROOF = 3
#: Blocks of a window when it opens: 1 MiB, a minute of telephone sound.
OPENING = 4
#: Blocks of the smallest and of the largest request. At 50 MB/s per connection and 30 ms to the first byte,
#: 8 MiB spend 84 % of the time transferring, 1 MiB 40 %.
SMALL_RUN, LARGE_RUN = 4, 32
#: Requests that share a window as long as they can still grow.
SHARES = 4
#: By how much a window grows when its reader waits again: a copy has all streams at work after five waits.
FASTER = 4


@dataclass(frozen=True, slots=True)
class Window:
    """Where a reader is and what has been fetched ahead of it; all in blocks.

    Attributes:
        frontier: the block after the furthest one read in order.
        streak: blocks read in order since the last seek.
        length: blocks wanted ahead of the frontier.
        fetched: the block up to which fetching ahead has been started.
        seeks: how often the reader has changed its mind.
    """

    frontier: int = 0
    streak: int = 0
    length: int = 0
    fetched: int = 0
    seeks: int = 0

    def read(self, blocks: range) -> Window:
        """Return the window after a read of `blocks`."""
        # A short streak proves little, so little disorder is forgiven.
        slack = min(DISORDER, self.streak + 1)
        if blocks.start > self.frontier + slack or blocks.stop < self.frontier - slack:
            return Window(frontier=blocks.stop, streak=len(blocks), fetched=blocks.stop, seeks=self.seeks + 1)
        advance = max(0, blocks.stop - self.frontier)
        frontier = self.frontier + advance
        streak = self.streak + min(advance, len(blocks))
        return replace(self, frontier=frontier, streak=streak, fetched=max(self.fetched, frontier))

    def widen(self, most: int, *, waited: bool) -> Window:
        """Return the window as it should be after a read.

        Args:
            most: blocks it may span at the most.
            waited: whether the reader found blocks that had not arrived yet.
        """
        if self.streak < PROOF:
            return self
        growth = (2 if self.length <= OPENING else FASTER) if waited else 1
        length = self.length * growth
        return replace(self, length=min(most, max(OPENING, length)))

    def run(self, streams: int) -> int:
        """Return the blocks to ask for in one request.

        A small window is shared by few requests, each of which costs about a millisecond of processor time;
        once requests are as large as they get, a wider window means more of them, up to `streams`.
        """
        if not self.length:
            return 1
        return min(self.length, max(SMALL_RUN, min(LARGE_RUN, self.length // min(streams, SHARES))))

    def ahead(self, last: int, streams: int) -> tuple[Window, range]:
        """Return the window after fetching ahead, and the blocks to fetch.

        Nothing is fetched until a whole request's worth is wanted, so that requests stay large.

        Args:
            last: number of blocks in the file.
            streams: requests that may share the window.
        """
        stop = min(self.frontier + self.length, last)
        if stop <= self.fetched or (stop - self.fetched < self.run(streams) and stop < last):
            return self, range(0)
        return replace(self, fetched=stop), range(self.fetched, stop)
