"""How far ahead of a reader to fetch. Pure: a window goes in, a window comes out.

Sequential reading opens a window, a seek closes it. It widens only when the reader had to wait, and then to
what the reader takes in a few seconds at the rate it has shown: a fast copy soon has many requests under
way, while a player keeps a small window and downloads what it plays. The kernel's read-ahead arrives slightly
out of order, and a player probes the head and the tail of a file before it plays: neither counts as a change
of mind, and a probe alone fetches nothing ahead.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

#: Blocks by which reads may be out of order and still be sequential: 4 MiB. Two of the kernel's read-aheads
#: are under way at a time, and the threads that serve them start when the processor lets them.
DISORDER = 16
#: Blocks read in order before anything is fetched ahead: 768 KiB, more than a player's probe.
PROOF = 3
#: Blocks of a window when it opens: 2 MiB, two minutes of telephone sound.
OPENING = 8
#: Blocks read in order before the reader's rate says anything: 3 MiB, more than a player takes at its start.
TRIAL = 12
#: Seconds of reading that a window is to hold. A reader that waits for us is slower than it could be, so this
#: is more than the storage's latency: at the 20 MB/s of the first requests it already means 80 MB.
HORIZON = 4.0
#: Seconds that a streak takes at least, so that no clock is too coarse.
LEAST_TIME = 0.001
#: Blocks of the smallest and of the largest request. At 50 MB/s per connection and 30 ms to the first byte,
#: 8 MiB spend 84 % of the time transferring, 1 MiB 40 %.
SMALL_RUN, LARGE_RUN = 4, 32
#: Requests that share a window as long as they can still grow.
SHARES = 4


@dataclass(frozen=True, slots=True)
class Window:
    """Where a reader is and what has been fetched ahead of it; all in blocks.

    Attributes:
        frontier: the block after the furthest one read in order.
        streak: blocks read in order since the last seek.
        length: blocks wanted ahead of the frontier.
        fetched: the block up to which fetching ahead has been started.
        seeks: how often the reader has changed its mind.
        began: when the streak began, in seconds of any steady clock; None before the first read.
    """

    frontier: int = 0
    streak: int = 0
    length: int = 0
    fetched: int = 0
    seeks: int = 0
    began: float | None = None

    def read(self, blocks: range, now: float) -> Window:
        """Return the window after a read of `blocks` at the time `now`."""
        # A short streak proves little, so little disorder is forgiven.
        slack = min(DISORDER, self.streak + 1)
        if blocks.start > self.frontier + slack or blocks.stop < self.frontier - slack:
            stop = blocks.stop
            return Window(stop, streak=len(blocks), fetched=stop, seeks=self.seeks + 1, began=now)
        advance = max(0, blocks.stop - self.frontier)
        frontier = self.frontier + advance
        return replace(
            self,
            frontier=frontier,
            streak=self.streak + min(advance, len(blocks)),
            fetched=max(self.fetched, frontier),
            began=now if self.began is None else self.began,
        )

    def widen(self, most: int, now: float, *, waited: bool) -> Window:
        """Return the window as it should be after a read.

        Args:
            most: blocks it may span at the most.
            now: the time, on the clock of `read`.
            waited: whether the reader found blocks that had not arrived yet.
        """
        if self.streak < PROOF:
            return self
        length = self.length
        if waited and length and self.streak < TRIAL:
            length = min(2 * length, 2 * OPENING)
        elif waited and length:
            seconds = max(LEAST_TIME, now - (self.began or now))
            length = max(length, int(self.streak / seconds * HORIZON))
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
