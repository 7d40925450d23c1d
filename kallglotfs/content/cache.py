"""The block cache: one place to get a block from, whoever has it or is fetching it.

Blocks are keyed on rendition, validator and index, never on a URL: a renewed lease changes nothing, another
version shares nothing.

Threading: one condition guards the table of blocks (reading an LRU changes it) and the table of extents
under way. It is never held across I/O, and but for the lease table's no other lock is taken while it is held.

Invariant: at any moment a block is kept, covered by an extent, or neither; `keep` and the extent's step
to the next block happen under one hold, so nobody can see a block in flight twice.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cachetools import TTLCache

from kallglotfs.content.arena import BLOCK, Block
from kallglotfs.content.attempts import Attempts
from kallglotfs.content.extent import Extent
from kallglotfs.content.memory import MemoryTier
from kallglotfs.content.sources import Shelf
from kallglotfs.content.under_way import UnderWay
from kallglotfs.errors import Interrupted
from kallglotfs.model import RenditionFacts
from kallglotfs.tally import Tally
from kallglotfs.urgency import Urgency

if TYPE_CHECKING:
    from concurrent.futures import Future

    from kallglotfs.clock import Clock
    from kallglotfs.content.sources import Source
    from kallglotfs.model import Rendition, Validator
    from kallglotfs.patience import Executor, Patience
    from kallglotfs.urgency import Caller

#: Blocks of the first contact with a file: 1 MiB, handed over block by block.
FIRST_RUN = 4
#: Blocks of a file that nobody has opened yet, fetched along with a walk: files up to 4 MiB come whole.
SMALL_FILE = 16
#: Seconds a version that was found is the answer to who asks again, and how many are remembered. Without it,
#: who comes between the end of a short fetch and the moment its result is written down fetches again.
FRESH, RECENT = 1.0, 1000


class Disk(Shelf, Protocol):
    """The tier that outlives the mount."""

    def destroy(self, recording_id: str) -> bool:
        """Remove all blocks of a recording; tell whether all are gone."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A block on its way."""

    future: Future[Block]
    extent: Extent
    index: int
    #: Whether the extent was under way already.
    joined: bool


class BlockCache:
    """Keeps blocks in memory and starts extents for those it has not got.

    Args:
        capacity: bytes of memory for blocks, those on their way included.
        source: where blocks come from.
        demand: runs extents somebody waits for.
        ahead: runs extents nobody waits for yet.
        clock: what tells the time.
        timeout: seconds a fetch may go without finishing a block.
        disk: the tier that outlives the mount, None for none.
        tally: counts blocks that were at hand, and those that were not.
    """

    def __init__(
        self,
        capacity: int,
        source: Source,
        demand: Executor,
        ahead: Executor,
        clock: Clock,
        timeout: float,
        disk: Disk | None = None,
        tally: Tally | None = None,
    ) -> None:
        self.condition = threading.Condition()
        self._blocks = MemoryTier(capacity, self.condition)
        self._found: TTLCache[Rendition, RenditionFacts] = TTLCache(RECENT, FRESH, timer=clock.now)
        self._extents = UnderWay()
        self._source = source
        self._disk = disk
        self._tally = tally or Tally()
        self._demand = demand
        self._ahead = ahead
        self._clock = clock
        self._timeout = timeout
        self._stream_ahead = max(1, capacity // BLOCK // 2)

    def set_timeout(self, seconds: float) -> None:
        """Change what a fetch that begins from now on may take."""
        self._timeout = seconds

    def contact(self, rendition: Rendition, patience: Patience) -> RenditionFacts:
        """Find out what version the storage has, and bring its first blocks along.

        Whoever asks while an answer is under way, or moments after it, shares it.

        Raises:
            KallglotError: as the source says.
        """
        caller = patience.caller()
        attempts = self._attempts(patience)
        while True:
            found = self._visit(rendition, caller)
            if isinstance(found, RenditionFacts):
                return found
            extent, joined = found
            gone = False
            try:
                facts = attempts.wait(extent, extent.contact, joined=joined)
            except Interrupted:
                gone = not extent.contact.done()
                raise
            finally:
                with self.condition:
                    extent.let_go(gone=gone)
            if facts is not None:
                return facts

    def _visit(self, rendition: Rendition, caller: Caller | None) -> RenditionFacts | tuple[Extent, bool]:
        """Return the version if it is known, else the extent that tells it, claimed, and if it was there."""
        with self.condition:
            facts = self._known(rendition)
            if facts is not None:
                return facts
            extent = self._extents.finding(rendition)
            joined = extent is not None
            if extent is None:
                extent = self._start(rendition, None, range(FIRST_RUN), self._demand, caller=caller)
            elif extent.queued:
                self._demand.submit(extent.run)
            extent.claims += 1
        if joined or caller is None:
            extent.deadline.join(caller)
        return extent, joined

    def bring(self, rendition: Rendition) -> Future[RenditionFacts] | None:
        """Start finding out what version the storage has, and fetch its beginning; does not wait.

        Returns:
            The version to come, None when that is under way already.
        """
        with self.condition:
            if self._extents.finding(rendition) is not None or rendition in self._found:
                return None
            return self._start(rendition, None, range(SMALL_FILE), self._ahead).contact

    def holds(self, rendition: Rendition, validator: Validator, index: int) -> bool:
        """Tell whether a block is kept or on its way, without asking for it."""
        with self.condition:
            if (rendition, validator, index) in self._blocks:
                return True
            if self._extents.covering(rendition, validator, index) is not None:
                return True
        return self._disk is not None and self._disk.holds(rendition, validator, index)

    def ask(
        self, rendition: Rendition, validator: Validator, blocks: range, run: int
    ) -> list[Block | Ticket]:
        """Return blocks, or tickets for those that have to be waited for.

        Args:
            rendition: whose blocks.
            validator: of which version.
            blocks: their indices.
            run: blocks to fetch in one request from a missing one on, if that is more.
        """
        with self.condition:
            return [self._ask(rendition, validator, index, max(run, blocks.stop - index)) for index in blocks]

    def _ask(self, rendition: Rendition, validator: Validator, index: int, run: int) -> Block | Ticket:
        block = self._blocks.get((rendition, validator, index))
        self._tally.add("memory_misses" if block is None else "memory_hits")
        if block is not None:
            return block
        extent = self._extents.covering(rendition, validator, index)
        joined = extent is not None
        if extent is None:
            gap = self._gap(rendition, validator, range(index, index + run))
            # What has stalled a moment ago may have come to life since, and is in the way no less.
            blocks = range(index, max(index + 1, gap.stop))
            extent = self._start(rendition, validator, blocks, self._demand)
        elif extent.queued:
            # It waits behind other read-ahead; whoever comes first runs it.
            self._demand.submit(extent.run)
        return Ticket(extent.subscribe(index), extent, index, joined)

    def collect(self, ticket: Ticket, patience: Patience) -> Block:
        """Wait for the block of a ticket.

        Raises:
            KallglotError: as the source says; TimedOut, Interrupted as `patience` says.
        """
        given, attempts = ticket, self._attempts(patience)
        while True:
            extent, gone = ticket.extent, False
            if not ticket.future.done():
                extent.deadline.join(patience.caller())
            try:
                block = attempts.wait(extent, ticket.future, joined=ticket.joined)
            except Interrupted:
                gone = True
                raise
            finally:
                if ticket is not given:
                    # The one that was given is given back by its holder.
                    self.let_go([ticket], gone=gone)
            if block is not None:
                return block
            assert extent.validator is not None
            with self.condition:
                answer = self._ask(extent.rendition, extent.validator, ticket.index, FIRST_RUN)
            if isinstance(answer, Block):
                return answer
            ticket = answer

    def let_go(self, tickets: list[Ticket], *, gone: bool) -> None:
        """Give tickets back, collected or not.

        Args:
            tickets: from `ask`.
            gone: whether their holder wants nothing any more; what nobody else waits for is called off.
        """
        with self.condition:
            for ticket in tickets:
                ticket.extent.let_go(gone=gone and not ticket.future.done())

    def fetch_ahead(
        self, rendition: Rendition, validator: Validator, blocks: range, run: int, owner: object
    ) -> None:
        """Start fetching those of `blocks` that are neither kept nor under way; does not wait.

        Args:
            rendition: whose blocks.
            validator: of which version.
            blocks: indices wanted soon.
            run: blocks per request.
            owner: who wants them, for `drop_ahead`.
        """
        with self.condition:
            index = blocks.start
            while index < blocks.stop:
                gap = self._gap(rendition, validator, range(index, min(index + run, blocks.stop)))
                if gap:
                    self._start(rendition, validator, gap, self._ahead, owner)
                index = max(gap.stop, index + 1)

    def passed(self, rendition: Rendition, validator: Validator, blocks: range) -> None:
        """Take note that a copy has read blocks and gone on: they may go before others do."""
        with self.condition:
            for index in blocks:
                self._blocks.passed((rendition, validator, index))

    def drop_ahead(self, rendition: Rendition, owner: object, wanted: range) -> None:
        """Cancel what one reader had fetched ahead and nobody waits for: it went elsewhere.

        Args:
            rendition: of which.
            owner: the reader.
            wanted: blocks around where it is now.
        """
        with self.condition:
            self._extents.drop_ahead(rendition, owner, wanted)

    def doubt(self, rendition: Rendition) -> None:
        """Ask anew at the next contact: the storage has another version."""
        with self.condition:
            self._found.pop(rendition, None)

    def cached(self, recording_id: str) -> int:
        """Return the bytes of a recording that are in memory."""
        with self.condition:
            return self._blocks.bytes_of(recording_id)

    def state(self) -> dict[str, int]:
        """Return how many blocks are kept, in how many bytes of which capacity, and extents under way."""
        with self.condition:
            return {
                "blocks": len(self._blocks),
                "extents": len(self._extents),
                "used": self._blocks.used,
                "capacity": self._blocks.capacity,
            }

    def forget(self, recording_id: str) -> bool:
        """Destroy every block of a recording, in memory and on disk: it is no more.

        Returns:
            False where some could not be removed; then ask again later.
        """
        with self.condition:
            self._blocks.forget(recording_id)
            for rendition in [each for each in self._found if each.recording_id == recording_id]:
                del self._found[rendition]
            self._extents.forget(recording_id)
        return self._disk is None or self._disk.destroy(recording_id)

    def release(self, rendition: Rendition) -> None:
        """Cancel what was fetched ahead and nobody waits for: the last reader has closed the file."""
        with self.condition:
            self._extents.release(rendition)

    # Called by extents.

    def room(self, length: int) -> Block:
        """Return an empty block; called without the condition."""
        return self._blocks.room(length)

    # Called by extents, with the condition held.

    def found(self, rendition: Rendition, facts: RenditionFacts) -> None:
        """Remember for a moment what version the storage has."""
        self._found[rendition] = facts

    def keep(self, rendition: Rendition, validator: Validator, index: int, block: Block) -> None:
        """Keep a block."""
        self._blocks.keep((rendition, validator, index), block)
        self._extents.fulfil(rendition, validator, index, block)

    def retire(self, extent: Extent) -> None:
        """Forget an extent that is done."""
        self._extents.retire(extent)

    def _start(
        self,
        rendition: Rendition,
        validator: Validator | None,
        blocks: range,
        executor: Executor,
        owner: object = None,
        caller: Caller | None = None,
    ) -> Extent:
        extent = Extent(
            rendition,
            validator,
            blocks,
            source=self._source,
            keeper=self,
            shelf=self._disk,
            owner=owner,
            clock=self._clock,
            timeout=self._timeout,
            ahead=self._stream_ahead,
            # A reader who waits joins it, and is a person if they say so.
            urgency=Urgency.PREFETCH if executor is self._ahead else Urgency.BULK,
            caller=caller,
        )
        self._extents.add(extent)
        executor.submit(extent.run)
        return extent

    def _known(self, rendition: Rendition) -> RenditionFacts | None:
        """Return what version was found a moment ago, if its beginning has come."""
        facts = self._found.get(rendition)
        return facts if facts is not None and self._has_start(rendition, facts.validator) else None

    def _attempts(self, patience: Patience) -> Attempts:
        return Attempts(
            patience, self._source, self.condition, lambda rendition: self._known(rendition) is not None
        )

    def _has_start(self, rendition: Rendition, validator: Validator) -> bool:
        return not validator.size or (rendition, validator, 0) in self._blocks

    def _gap(self, rendition: Rendition, validator: Validator, blocks: range) -> range:
        """Return the leading run of `blocks` that nobody has or fetches, within the file."""
        gap = self._extents.gap(rendition, validator, blocks)
        for index in gap:
            if (rendition, validator, index) in self._blocks:
                return range(gap.start, index)
        return gap
