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
from kallglotfs.content.extent import Extent
from kallglotfs.content.memory import MemoryTier
from kallglotfs.content.ranges import block_count
from kallglotfs.content.sources import Shelf
from kallglotfs.errors import (
    Interrupted,
    KallglotError,
    RateLimited,
    ServiceFault,
    TimedOut,
    Unreachable,
)
from kallglotfs.model import RenditionFacts
from kallglotfs.patience import Stalled
from kallglotfs.tally import Tally
from kallglotfs.urgency import Urgency

if TYPE_CHECKING:
    from collections.abc import Callable
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
#: Seconds without a byte after which a block is asked for by another request: a connection that died
#: unnoticed, as they do behind a NAT or while the machine sleeps, costs its reader so much and no error. Who
#: has waited so long waits twice as long before the next: a sender that converts first is not asked every two
#: seconds.
SILENT = 2.0


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
        self._extents: dict[Rendition, list[Extent]] = {}
        self._source = source
        self._disk = disk
        self._tally = tally or Tally()
        self._demand = demand
        self._ahead = ahead
        self._clock = clock
        self._timeout = timeout
        self._stream_ahead = max(1, capacity // BLOCK // 2)

    def contact(self, rendition: Rendition, patience: Patience) -> RenditionFacts:
        """Find out what version the storage has, and bring its first blocks along.

        Whoever asks while an answer is under way, or moments after it, shares it.

        Raises:
            KallglotError: as the source says.
        """
        caller = patience.caller()
        limit, first = SILENT, None
        while True:
            found = self._visit(rendition, caller)
            if isinstance(found, RenditionFacts):
                return found
            extent, joined = found
            gone = False
            try:
                return patience.wait(extent.contact, extent.deadline, self._passed_over(extent, limit))
            except Stalled:
                limit *= 2
            except Interrupted:
                gone = not extent.contact.done()
                raise
            except (TimedOut, ServiceFault, Unreachable) as error:
                self._abandon(extent, extent.contact)
                if first is not None:
                    raise first from None
                if not (joined and self._is_anothers(error, extent, extent.contact)):
                    raise
                first = error.with_traceback(None)
            finally:
                with self.condition:
                    extent.let_go(gone=gone)

    def _visit(self, rendition: Rendition, caller: Caller | None) -> RenditionFacts | tuple[Extent, bool]:
        """Return the version if it is known, else the extent that tells it, claimed, and if it was there."""
        with self.condition:
            facts = self._known(rendition)
            if facts is not None:
                return facts
            extent = self._finding(rendition)
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
            if self._finding(rendition) is not None or rendition in self._found:
                return None
            return self._start(rendition, None, range(SMALL_FILE), self._ahead).contact

    def holds(self, rendition: Rendition, validator: Validator, index: int) -> bool:
        """Tell whether a block is kept or on its way, without asking for it."""
        with self.condition:
            if (rendition, validator, index) in self._blocks:
                return True
            if self._covering(rendition, validator, index) is not None:
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
        extent = self._covering(rendition, validator, index)
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
        given = ticket
        limit, first = SILENT, None
        while True:
            extent, gone = ticket.extent, False
            if not ticket.future.done():
                extent.deadline.join(patience.caller())
            try:
                return patience.wait(ticket.future, extent.deadline, self._passed_over(extent, limit))
            except Stalled:
                limit *= 2
            except Interrupted:
                gone = True
                raise
            except (TimedOut, ServiceFault, Unreachable) as error:
                self._abandon(extent, ticket.future)
                if first is not None:
                    raise first from None
                if not (ticket.joined and self._is_anothers(error, extent, ticket.future)):
                    raise
                first = error.with_traceback(None)
            finally:
                if ticket is not given:
                    # The one that was given is given back by its holder.
                    self.let_go([ticket], gone=gone)
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
            for extent in list(self._extents.get(rendition, ())):
                coming = extent.coming
                elsewhere = coming.stop <= wanted.start or wanted.stop <= coming.start
                # A short one is on the wire already, and may be wanted again.
                saves = extent.queued or len(coming) > FIRST_RUN
                if extent.owner is owner and extent.unwanted and elsewhere and saves:
                    extent.cancel()

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
                "extents": sum(map(len, self._extents.values())),
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
            for rendition in [each for each in self._extents if each.recording_id == recording_id]:
                for extent in list(self._extents[rendition]):
                    extent.cancel()
        return self._disk is None or self._disk.destroy(recording_id)

    def release(self, rendition: Rendition) -> None:
        """Cancel what was fetched ahead and nobody waits for: the last reader has closed the file."""
        with self.condition:
            for extent in list(self._extents.get(rendition, ())):
                if extent.unwanted:
                    extent.cancel()

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
        for extent in self._extents.get(rendition, ()):
            if extent.validator == validator:
                extent.fulfil(index, block)

    def retire(self, extent: Extent) -> None:
        """Forget an extent that is done."""
        extents = self._extents.get(extent.rendition, [])
        if extent in extents:
            extents.remove(extent)
        if not extents:
            self._extents.pop(extent.rendition, None)

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
        self._extents.setdefault(rendition, []).append(extent)
        executor.submit(extent.run)
        return extent

    def _known(self, rendition: Rendition) -> RenditionFacts | None:
        """Return what version was found a moment ago, if its beginning has come."""
        facts = self._found.get(rendition)
        return facts if facts is not None and self._has_start(rendition, facts.validator) else None

    def _passed_over(self, extent: Extent, limit: float) -> Callable[[], bool]:
        """Return what tells whether to stop waiting for an extent: it is silent, or another was faster."""

        def tell() -> bool:
            if extent.contact.done():
                return extent.stalled(limit)
            with self.condition:
                return extent.stalled(limit) or (extent.finding and self._known(extent.rendition) is not None)

        return tell

    def _is_anothers(
        self, error: KallglotError, extent: Extent, future: Future[Block] | Future[RenditionFacts]
    ) -> bool:
        """Tell whether it is the fetch that failed, not our patience, and another one costs no budget."""
        spent = isinstance(error, RateLimited) or self._source.is_metered(extent.rendition)
        return future.done() and not spent

    def _has_start(self, rendition: Rendition, validator: Validator) -> bool:
        return not validator.size or (rendition, validator, 0) in self._blocks

    def _finding(self, rendition: Rendition) -> Extent | None:
        """Return an extent that tells the version; one that is being received is as good as one to come."""
        extents = self._extents.get(rendition, ())
        fit = (each for each in extents if each.contact.done() or (each.finding and not each.stalled(SILENT)))
        return next(fit, None)

    def _covering(self, rendition: Rendition, validator: Validator, index: int) -> Extent | None:
        for extent in self._extents.get(rendition, ()):
            if index in extent.coming and extent.validator == validator and not extent.stalled(SILENT):
                return extent
        return None

    def _gap(self, rendition: Rendition, validator: Validator, blocks: range) -> range:
        """Return the leading run of `blocks` that nobody has or fetches, within the file."""
        start, stop = blocks.start, min(blocks.stop, block_count(validator.size, BLOCK))
        for extent in self._extents.get(rendition, ()):
            coming = extent.coming
            if (
                start < coming.stop
                and coming.start < stop
                and extent.validator == validator
                and not extent.stalled(SILENT)
            ):
                stop = max(start, coming.start)
        for index in range(start, stop):
            if (rendition, validator, index) in self._blocks:
                return range(start, index)
        return range(start, stop)

    def _abandon(self, extent: Extent, future: Future[Block] | Future[RenditionFacts]) -> None:
        """Let later readers start afresh instead of joining a fetch that is stuck."""
        with self.condition:
            if not future.done():
                extent.cancel()
