"""The block cache and its extents: exact bytes, one fetch per block, whatever the network does."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from conftest import wait_until
from fakes import FakeStorage, NoSleep
from kallglotfs.clock import Clock
from kallglotfs.content.arena import BLOCK
from kallglotfs.content.cache import BlockCache
from kallglotfs.content.reader import ECHO, Content, Reader
from kallglotfs.errors import BadResponse, ContentChanged, NotPermitted, ServiceFault, TimedOut
from kallglotfs.model import Rendition, Validator
from kallglotfs.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RENDITION = Rendition("rec_1", "mp3")
MEBIBYTE = 1024 * 1024


class Rig:
    """A cache and a reader on a fake storage."""

    def __init__(self, storage: FakeStorage, capacity: int, timeout: float) -> None:
        self.storage = storage
        self.clock = NoSleep()
        self.timeout = timeout
        self.demand = ThreadPoolExecutor(32)
        self.ahead = ThreadPoolExecutor(4)
        self.cache = BlockCache(capacity, storage, self.demand, self.ahead, self.clock, timeout)
        self.reader = Reader(self.cache, self.clock, 4, capacity // 2)

    def patience(self) -> Patience:
        return Patience(Clock(), self.timeout, lambda: False)

    def open(self) -> Content:
        return Content(RENDITION, self.cache.contact(RENDITION, self.patience()).validator)

    def read(self, content: Content, offset: int, length: int) -> bytes:
        return b"".join(piece.view for piece in self.reader.read(content, offset, length, self.patience()))

    def fetched(self) -> int:
        """Return the bytes asked of the storage."""
        size = len(self.storage.content)
        return sum(min(stop, size) - start for start, stop in self.storage.opened)


@pytest.fixture
def rig() -> Iterator[Callable[..., Rig]]:
    """Make rigs, and end their threads."""
    made: list[Rig] = []

    def make(storage: FakeStorage, capacity: int = 64 * MEBIBYTE, timeout: float = 5) -> Rig:
        made.append(Rig(storage, capacity, timeout))
        return made[-1]

    yield make
    for each in made:
        if each.storage.gate is not None:
            each.storage.gate.set()
        each.demand.shutdown()
        each.ahead.shutdown()


def content_of(size: int) -> bytes:
    """Return bytes that differ at every offset."""
    return random.Random(size).randbytes(size)


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * MEBIBYTE + 17])
def test_front_to_back_is_exact_and_no_byte_is_fetched_twice(rig: Callable[..., Rig], size: int) -> None:
    """At the edges of blocks as in the middle."""
    made = rig(FakeStorage(content_of(size)))
    content = made.open()
    found = b"".join(made.read(content, at, 131_072) for at in range(0, size + 1, 131_072))
    assert found == made.storage.content
    assert made.fetched() == size


def test_random_reads_are_exact(rig: Callable[..., Rig]) -> None:
    """At any offset and length, past the end included."""
    made = rig(FakeStorage(content_of(5_000_000)))
    content = made.open()
    dice = random.Random(1)
    for _ in range(200):
        offset, length = dice.randrange(5_100_000), dice.randrange(1, 1_500_000)
        assert made.read(content, offset, length) == made.storage.content[offset : offset + length]


def test_sixteen_readers_at_once_fetch_each_byte_once(rig: Callable[..., Rig]) -> None:
    """Single flight per block."""
    made = rig(FakeStorage(content_of(4_000_000)))
    content = made.open()

    def whole(_: int) -> bytes:
        return b"".join(made.read(content, at, 131_072) for at in range(0, 4_000_000, 131_072))

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(whole, range(16))) == {made.storage.content}
    assert made.fetched() == 4_000_000


@pytest.mark.parametrize("after", [0, 1, 100_001, BLOCK, 1_048_575])
def test_a_broken_connection_is_resumed_where_it_broke(rig: Callable[..., Rig], after: int) -> None:
    """The missing rest is fetched, the bytes are exact."""
    made = rig(FakeStorage(content_of(1_048_576), breaks=[after, 0, 7]))
    content = made.open()
    assert made.read(content, 0, 1_048_576) == made.storage.content
    assert [start for start, _ in made.storage.opened][:2] == [0, after]
    assert made.storage.breaks == []


def test_a_sender_without_ranges_is_read_once_for_all(rig: Callable[..., Rig]) -> None:
    """Generation 2: one front-to-back stream, shared; a read of the tail waits for it."""
    made = rig(FakeStorage(content_of(6_000_000), ranged=False, metered=True))
    content = made.open()
    with ThreadPoolExecutor(8) as pool:
        parts = list(
            pool.map(lambda at: made.read(content, at, 750_000), reversed(range(0, 6_000_000, 750_000)))
        )
    assert b"".join(reversed(parts)) == made.storage.content
    assert len(made.storage.opened) == 1


def test_a_metered_sender_with_ranges_is_asked_again_only_for_a_far_seek(rig: Callable[..., Rig]) -> None:
    """A request is dearer than bytes, but not than a hundred megabytes of them."""
    gate = threading.Event()
    made = rig(FakeStorage(content_of(20_000_000), metered=True, gate=gate))
    with ThreadPoolExecutor(1) as pool:
        opening = pool.submit(made.open)
        content = opening.result(5)
        answer = pool.submit(made.read, content, 19_000_000, 1000)
        while len(made.storage.opened) < 2 and not answer.done():
            time.sleep(0.01)
        gate.set()
        assert answer.result(5) == made.storage.content[19_000_000:19_001_000]
    assert [start for start, _ in made.storage.opened] == [0, 19_000_000 // BLOCK * BLOCK]


def test_a_stream_waits_for_its_readers_and_memory_stays_bounded(rig: Callable[..., Rig]) -> None:
    """A file larger than the cache, from a sender without ranges, still costs one request."""
    made = rig(FakeStorage(content_of(12 * MEBIBYTE), ranged=False, metered=True), capacity=4 * MEBIBYTE)
    content = made.open()
    found = b"".join(made.read(content, at, 131_072) for at in range(0, 12 * MEBIBYTE, 131_072))
    assert found == made.storage.content
    assert len(made.storage.opened) == 1
    assert len(made.cache._blocks) * BLOCK <= 4 * MEBIBYTE


def test_another_version_is_never_mixed_in(rig: Callable[..., Rig]) -> None:
    """The pinned version's missing blocks are an error; kept ones stay good; a new open reads the new."""
    made = rig(FakeStorage(content_of(8_000_000)))
    old = made.storage.content
    content = made.open()
    assert made.read(content, 0, 1000) == old[:1000]
    made.storage.content, made.storage.etag = content_of(8_000_001), '"v2"'
    with pytest.raises(ContentChanged):
        made.read(content, 6_000_000, 1000)
    assert made.read(content, 0, 1000) == old[:1000]
    fresh = made.open()
    assert fresh.validator == Validator(8_000_001, '"v2"')
    assert made.read(fresh, 6_000_000, 1000) == made.storage.content[6_000_000:6_001_000]


def test_an_error_reaches_every_waiter_and_is_soon_forgotten(rig: Callable[..., Rig]) -> None:
    """The kernel's second look gets the same answer at no cost; a read after that tries again."""
    made = rig(FakeStorage(content_of(3_000_000)))
    content = made.open()
    made.read(content, 0, 10)
    made.storage.failures = [NotPermitted("no")]
    with pytest.raises(NotPermitted):
        made.read(content, 2_000_000, 10)
    tries = len(made.storage.opened)
    with pytest.raises(NotPermitted):
        made.read(content, 2_000_005, 10)
    assert len(made.storage.opened) == tries
    assert made.read(content, 0, 10) == made.storage.content[:10]
    made.clock.sleep(ECHO)
    assert made.read(content, 2_000_000, 10) == made.storage.content[2_000_000:2_000_010]


def test_a_fetch_that_is_stuck_times_out_and_does_not_block_later_readers(rig: Callable[..., Rig]) -> None:
    """Recovery needs no remount."""
    gate = threading.Event()
    made = rig(FakeStorage(content_of(1000), gate=gate), timeout=0.3)
    content = made.open()
    with pytest.raises(TimedOut):
        made.read(content, 0, 10)
    made.storage.gate = None
    made.clock.sleep(ECHO)
    assert made.read(content, 0, 10) == made.storage.content[:10]
    gate.set()


@pytest.mark.parametrize("metered", [False, True])
def test_a_request_that_has_died_unnoticed_is_replaced(
    metered: bool,  # noqa: FBT001
    rig: Callable[..., Rig],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its readers get their bytes from another one; where that would cost budget they wait for the first."""
    monkeypatch.setattr("kallglotfs.content.extent.SILENT", 0.3)
    gate = threading.Event()
    made = rig(FakeStorage(content_of(4_000_000)))
    content = made.open()
    assert made.read(content, 0, 10) == made.storage.content[:10]
    opened = len(made.storage.opened)
    made.storage.gate, made.storage.metered = gate, metered
    with ThreadPoolExecutor(8) as pool:
        offsets = [2_000_000 + 1000 * index for index in range(8)]
        first = pool.submit(made.read, content, offsets[0], 1000)
        assert wait_until(lambda: len(made.storage.opened) == opened + 1)
        made.storage.gate = None
        others = [pool.submit(made.read, content, at, 1000) for at in offsets[1:]]
        if metered:
            assert not wait_until(first.done, 0.8)
            gate.set()
        for at, future in zip(offsets, [first, *others], strict=True):
            assert future.result(3) == made.storage.content[at : at + 1000]
        assert len(made.storage.opened) == opened + (1 if metered else 2)
        gate.set()


def test_a_sender_that_is_slow_to_begin_is_asked_ever_more_rarely(
    rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It converts first, say: in twenty times the limit four requests, not twenty."""
    monkeypatch.setattr("kallglotfs.content.extent.SILENT", 0.1)
    gate = threading.Event()
    made = rig(FakeStorage(content_of(4_000_000)))
    content = made.open()
    made.storage.gate = gate
    opened = len(made.storage.opened)
    threading.Timer(2.0, gate.set).start()
    assert made.read(content, 2_000_000, 1000) == made.storage.content[2_000_000:2_001_000]
    assert 2 <= len(made.storage.opened) - opened <= 5


def test_who_joins_a_fetch_late_does_not_fail_with_it(rig: Callable[..., Rig]) -> None:
    """The fetch had less time left than the reader: another one is started, once."""
    gate = threading.Event()
    made = rig(FakeStorage(content_of(4_000_000)), timeout=1.5)
    content, late = made.open(), made.open()
    made.storage.gate = gate
    opened = len(made.storage.opened)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(made.read, content, 2_000_000, 10)
        assert wait_until(lambda: len(made.storage.opened) == opened + 1)
        time.sleep(0.3)  # of the first reader's time
        made.storage.gate = None
        second = pool.submit(made.read, late, 2_000_000, 10)
        with pytest.raises(TimedOut):
            first.result(5)
        assert second.result(5) == made.storage.content[2_000_000:2_000_010]
    assert len(made.storage.opened) == opened + 2
    gate.set()


def test_an_answer_of_no_use_is_asked_for_once_more(rig: Callable[..., Rig]) -> None:
    """A second one of that kind is the error."""
    made = rig(FakeStorage(content_of(3_000_000)))
    made.storage.failures = [BadResponse("no")]
    content = made.open()
    assert made.read(content, 0, 10) == made.storage.content[:10]
    opened = len(made.storage.opened)
    made.storage.failures = [BadResponse("no") for _ in range(9)]
    with pytest.raises(BadResponse):
        made.read(content, 2_000_000, 10)
    assert len(made.storage.opened) == opened + 2


def test_answers_that_are_shorter_than_asked_are_put_together_at_once(rig: Callable[..., Rig]) -> None:
    """A sender may bound its ranges; that is no fault to pause for."""
    made = rig(FakeStorage(content_of(1_500_000), at_most=100_000))
    content = made.open()
    assert made.read(content, 0, 1_500_000) == made.storage.content
    assert made.clock.skipped == 0


def test_what_failed_on_the_way_is_told_where_the_time_is_over(rig: Callable[..., Rig]) -> None:
    """A service that fails for ever is EIO, not ETIMEDOUT, also for who had less time than the fetch."""
    made = rig(FakeStorage(content_of(1000)), timeout=60)
    made.cache._clock = made.clock = Clock()  # type: ignore[assignment]
    made.storage.failures = [ServiceFault("503") for _ in range(99)]
    with pytest.raises(ServiceFault):
        made.cache.contact(RENDITION, Patience(Clock(), 0.5, lambda: False))


def test_an_unexpected_exception_is_told_as_a_bad_response(
    rig: Callable[..., Rig], caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody waits for ever, and the log has the traceback."""
    made = rig(FakeStorage(b"x"))
    made.storage.failures = [ZeroDivisionError("bug")]  # type: ignore[list-item]
    with pytest.raises(BadResponse):
        made.open()
    assert "ZeroDivisionError" in caplog.text


def test_memory_is_bounded_by_the_least_recently_used(rig: Callable[..., Rig]) -> None:
    """Reading more than fits lets the oldest go, and reads it again exactly."""
    made = rig(FakeStorage(content_of(6 * MEBIBYTE)), capacity=MEBIBYTE)
    content = made.open()
    for _ in range(2):
        for at in range(0, 6 * MEBIBYTE, 200_000):
            assert made.read(content, at, 200_000) == made.storage.content[at : at + 200_000]
    assert len(made.cache._blocks) * BLOCK <= MEBIBYTE
