"""One run of blocks on its way from the storage: opened, received, cut, handed over, resumed.

An extent is started for the blocks a read misses or a window wants. Where the sender knows no ranges, or
where every request costs budget (generation 2), the extent grows to the whole rest of the file: its bytes
are taken once, front to back, for all readers.

Threading: `run` has a thread of its own. All shared state (`next`, `end`, `validator`, the waiting
futures) is guarded by the block cache's condition, which is never held across I/O.

Invariants: blocks complete in order; a block is kept before its future is resolved; bytes of one extent
belong to one validator; a deadline counts from the last completed block.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future
from typing import TYPE_CHECKING, Protocol

from kallglotfs.backoff import Backoff
from kallglotfs.clock import Clock, Deadline
from kallglotfs.content.arena import BLOCK, Block
from kallglotfs.content.ranges import block_count, block_range
from kallglotfs.errors import (
    BadResponse,
    ContentChanged,
    KallglotError,
    NothingToSpare,
    RateLimited,
    ServiceFault,
    TimedOut,
)
from kallglotfs.model import Rendition, RenditionFacts, Validator
from kallglotfs.urgency import Urgency

if TYPE_CHECKING:
    import threading

    from kallglotfs.content.sources import Body, Shelf, Source
    from kallglotfs.urgency import Caller

log = logging.getLogger(__name__)

#: Seconds a stream that is far enough ahead waits for a reader before it hangs up.
IDLE = 30.0
#: Seconds without a byte after which a block is asked for by another request: a connection that died
#: unnoticed, as they do behind a NAT or while the machine sleeps, costs its reader so much and no error.
SILENT = 2.0
#: Times an answer that cannot be used is asked for again: it may have come from a broken proxy on the way.
RETRIES = 1
#: Blocks a reader may be ahead of a stream that could also be asked for a range: 8 MiB.
REACH = 32


class Keeper(Protocol):
    """Takes finished blocks and lets extents go: the block cache."""

    condition: threading.Condition

    def room(self, length: int) -> Block:
        """Return an empty block; called without the condition."""

    def keep(self, rendition: Rendition, validator: Validator, index: int, block: Block) -> None:
        """Keep a block; called with the condition held."""

    def found(self, rendition: Rendition, facts: RenditionFacts) -> None:
        """Take note of what the source has; called with the condition held."""

    def doubt(self, rendition: Rendition) -> None:
        """Ask anew what the source has; called without the condition."""

    def retire(self, extent: Extent) -> None:
        """Forget a finished extent; called with the condition held."""


class Extent:
    """A run of blocks under way.

    Args:
        rendition: whose blocks.
        expected: the version, None to find it out.
        blocks: the indices asked for.
        source: where to ask.
        keeper: where finished blocks go.
        shelf: asked before the source, None where there is no disk tier.
        owner: who fetches ahead, None where somebody waits.
        clock: what tells the time.
        timeout: seconds without a finished block after which it fails.
        ahead: blocks a stream may run ahead of its readers.
        urgency: of its API requests, as long as nobody waits.
        caller: who waits from the start, None where nobody does or who it is comes later.
    """

    def __init__(
        self,
        rendition: Rendition,
        expected: Validator | None,
        blocks: range,
        source: Source,
        keeper: Keeper,
        shelf: Shelf | None,
        owner: object,
        clock: Clock,
        timeout: float,
        ahead: int,
        urgency: Urgency,
        caller: Caller | None,
    ) -> None:
        self.rendition = rendition
        self.validator = expected
        self.next = blocks.start
        self.end = blocks.stop
        self.deadline = Deadline(clock, timeout, urgency, caller)
        #: How many wait for something of it; guarded by the condition.
        self.claims = 0
        #: Resolved by the first headers: what version there is.
        self.contact: Future[RenditionFacts] = Future()
        self._source = source
        self._keeper = keeper
        self._shelf = shelf
        self.owner = owner
        #: Whether it is to find out the version.
        self.finding = expected is None
        self._clock = clock
        self._ahead = ahead
        self._waiting: dict[int, Future[Block]] = {}
        self._wanted = blocks.start
        self._started = False
        self._cancelled = False
        self._long = False
        self._ranged = True
        self._block: Block | None = None
        self._filled = 0

    # Called by the block cache with the condition held.

    @property
    def coming(self) -> range:
        """The blocks that will come from here soon enough to wait for them."""
        if self._long and self._ranged:
            return range(self.next, min(self.end, max(self.next + REACH, self._wanted + 1)))
        return range(self.next, self.end)

    def subscribe(self, index: int) -> Future[Block]:
        """Return the future of block `index`, which is coming from here."""
        self._wanted = max(self._wanted, index)
        self.claims += 1
        self._keeper.condition.notify_all()
        return self._waiting.setdefault(index, Future())

    @property
    def unwanted(self) -> bool:
        """Tell whether it can be cancelled: nobody waits, and asking again would cost no budget."""
        return not self._waiting and not self._long and self.validator is not None

    def stalled(self, times: int = 1) -> bool:
        """Tell whether nothing has come for a while and asking elsewhere costs no budget.

        Args:
            times: how often `SILENT` has to have gone by.
        """
        return (
            self._started
            and not self._long
            and self.deadline.silence > times * SILENT
            and not self._source.is_metered(self.rendition)
        )

    def fulfil(self, index: int, block: Block) -> None:
        """Give who waits here a block that came by another way."""
        future = self._waiting.pop(index, None)
        if future is not None:
            future.set_result(block)

    @property
    def queued(self) -> bool:
        """Tell whether no thread has taken it up yet."""
        return not self._started

    def cancel(self) -> None:
        """Stop at the next block and take no more readers."""
        self._cancelled = True
        self._keeper.retire(self)
        self._keeper.condition.notify_all()

    def let_go(self, *, gone: bool) -> None:
        """Give one claim back; when it was the last and its holder is gone, nothing more is asked for.

        A stream that cost budget, once it has begun, is kept: asking again would cost once more.
        """
        self.claims -= 1
        if gone and not self.claims and not self._long:
            self.deadline.call_off()
            self.cancel()

    # Called by the worker.

    def run(self) -> None:
        """Fetch everything; every waiting future is resolved when this returns."""
        with self._keeper.condition:
            if self._started:
                return
            self._started = True
        # Time spent in the queue is the callers' patience, not the storage's fault.
        self.deadline.restart()
        error: BaseException | None = None
        try:
            if not self._cancelled:
                self._fetch()
        except RateLimited as problem:
            error = problem
        except TimedOut as problem:
            error = self.deadline.reason(problem)
        except KallglotError as problem:
            error = problem
        except BaseException as problem:
            log.exception("unexpected failure while fetching %s", self.rendition.recording_id)
            error = BadResponse(f"{self.rendition.recording_id}: unexpected {type(problem).__name__}")
        self._finish(error)

    def _fetch(self) -> None:
        backoff = Backoff(self._clock, self.deadline)
        useless = 0
        while not self._done():
            self._take_from_shelf()
            before = self._position()
            try:
                if not self._done():
                    self._attempt()
                    backoff.reset()
            except NothingToSpare:
                if self._gives_way():
                    raise
            except BadResponse as fault:
                log.debug("%s: %s, at byte %d", self.rendition.recording_id, fault, self._position())
                # Where every request is an API request, a few bytes are no reason to ask again at once.
                if self._position() > before + (BLOCK if self._long else 0):
                    backoff.reset()
                    useless = 0
                if not isinstance(fault, ServiceFault):
                    useless += 1
                    if useless > RETRIES:
                        raise
                backoff.wait(fault)

    def _gives_way(self) -> bool:
        """Give up, unless somebody has come to wait for it meanwhile: the API's budget is for who waits."""
        with self._keeper.condition:
            unwanted = not self.claims
            if unwanted:
                self.cancel()
        if not unwanted:
            # Who waits may not have said yet who they are.
            self.deadline.rise(Urgency.BULK)
        return unwanted

    def _take_from_shelf(self) -> None:
        """Hand over the blocks that the disk tier has."""
        if self._shelf is None or self.validator is None or self._filled:
            return
        while not self._done():
            if not self._shelf.holds(self.rendition, self.validator, self.next):
                return
            block = self._keeper.room(len(block_range(self.next, BLOCK, self.validator.size)))
            if not self._shelf.get(self.rendition, self.validator, self.next, block.view):
                return
            self._hand_over(block)

    def _attempt(self) -> None:
        """Open the rest and receive what comes of it."""
        stop = self._stop()
        body = self._source.open(self.rendition, self._position(), stop, self.validator, self.deadline)
        try:
            self._opened(body)
            # Fewer bytes than asked for are an answer, too: the rest is asked for next.
            self._receive(body, body.stop if self._long else min(stop, body.stop))
        finally:
            body.close()

    def _opened(self, body: Body) -> None:
        modified = self._clock.wall() if body.modified is None else body.modified
        with self._keeper.condition:
            first = not self.contact.done()
            self.validator = body.validator
            last = block_count(body.validator.size, BLOCK)
            self._ranged = body.ranged
            self._long = body.metered or not body.ranged
            self.end = last if self._long else min(self.end, last)
            if first and body.start < self._position():
                # A sender without ranges starts over: what it sends on the way is worth keeping.
                self.next = 0
            for index in [index for index in self._waiting if index >= self.end]:
                self._waiting.pop(index).set_result(Block(memoryview(b"")))
            facts = RenditionFacts(body.validator, modified)
            self._keeper.found(self.rendition, facts)
        if first:
            self.contact.set_result(facts)

    def _receive(self, body: Body, stop: int) -> None:
        assert self.validator is not None
        self._skip(body, self._position() - body.start)
        stop = min(stop, self.validator.size)
        while self._position() < stop and not self._done():
            if self._block is None:
                self._block = self._keeper.room(len(block_range(self.next, BLOCK, self.validator.size)))
            self._filled += body.fill(self._block.view[self._filled :], self.deadline)
            if self._filled == len(self._block):
                index, block = self.next, self._block
                self._block, self._filled = None, 0
                self._hand_over(block)
                if self._shelf is not None:
                    self._shelf.put(self.rendition, self.validator, index, bytes(block.view))

    def _skip(self, body: Body, count: int) -> None:
        """Let go of what a sender without ranges sends again."""
        scrap = memoryview(bytearray(min(count, BLOCK)))
        while count:
            wanted = min(count, BLOCK)
            count -= wanted
            while wanted:
                wanted -= body.fill(scrap[:wanted], self.deadline)
            self.deadline.restart()

    def _hand_over(self, block: Block) -> None:
        assert self.validator is not None
        with self._keeper.condition:
            self._keeper.keep(self.rendition, self.validator, self.next, block)
            self.fulfil(self.next, block)
            self.next += 1
        self._pause_if_ahead()
        self.deadline.restart()

    def _pause_if_ahead(self) -> None:
        """Let readers catch up, so that a stream never fills the cache with what nobody has read yet."""
        with self._keeper.condition:
            while self._long and not self._done() and self.next - self._wanted > self._ahead:
                if not self._keeper.condition.wait_for(
                    lambda: self._cancelled or self.next - self._wanted <= self._ahead, IDLE
                ):
                    self.cancel()

    def _done(self) -> bool:
        return self._cancelled or (self.validator is not None and self.next >= self.end)

    def _position(self) -> int:
        return self.next * BLOCK + self._filled

    def _stop(self) -> int:
        """Return where to stop asking the source: at the end, or at what the disk tier has."""
        if self.validator is None:
            return self.end * BLOCK
        end = self.end
        if self._shelf is not None:
            have = (
                index
                for index in range(self.next + 1, end)
                if self._shelf.holds(self.rendition, self.validator, index)
            )
            end = next(have, end)
        return min(end * BLOCK, self.validator.size)

    def _finish(self, error: BaseException | None) -> None:
        if isinstance(error, ContentChanged):
            self._keeper.doubt(self.rendition)
        with self._keeper.condition:
            self._keeper.retire(self)
            waiting, self._waiting = self._waiting, {}
            self.end = self.next
        failure = error or ServiceFault("the fetch was given up")
        if not self.contact.done():
            self.contact.set_exception(failure)
        for future in waiting.values():
            future.set_exception(failure)
