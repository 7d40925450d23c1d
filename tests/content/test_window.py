"""The window policy: waiting widens, a seek closes, disorder, probes and players do neither."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kallglotfs.content.window import DISORDER, LARGE_RUN, OPENING, SHARES, Window

MOST = 64
STREAMS = 8


def walk(
    reads: list[range],
    last: int = 1000,
    *,
    waited: bool = True,
    window: Window | None = None,
    pace: float = 0.01,
) -> tuple[Window, list[int]]:
    """Return the window after some reads, one every `pace` seconds, and the blocks fetched ahead."""
    window, fetched = window or Window(), []
    now = window.began or 100.0
    for blocks in reads:
        window, ahead = window.read(blocks, now).widen(MOST, now, waited=waited).ahead(last, STREAMS)
        fetched += ahead
        now += pace
    return window, fetched


def test_a_reader_that_waits_soon_has_the_whole_window_fetched_each_block_once() -> None:
    """No gap and no block twice."""
    window, fetched = walk([range(index, index + 1) for index in range(200)], last=200)
    assert len(fetched) == len(set(fetched))
    assert set(fetched) >= set(range(10, 200))
    assert window.length == MOST


def test_a_reader_that_never_waits_keeps_a_small_window() -> None:
    """A player downloads what it plays."""
    window, fetched = walk([range(index, index + 1) for index in range(100)], waited=False)
    assert window.length == OPENING
    assert max(fetched) < 100 + OPENING


def test_a_slow_reader_that_waits_now_and_then_keeps_a_small_window() -> None:
    """A network that hiccups is no reason to download the whole call: one block takes 16 s to play."""
    window, fetched = walk([range(index, index + 1) for index in range(100)], pace=16)
    assert window.length <= 4 * OPENING
    assert max(fetched) < 100 + 4 * OPENING


def test_the_window_never_exceeds_its_bound() -> None:
    """Bounded memory."""
    for count in (1, 10, 100):
        window, fetched = walk([range(index, index + 4) for index in range(0, 4 * count, 4)], last=10**6)
        assert max(fetched, default=0) <= window.frontier + MOST
        assert window.run(STREAMS) <= LARGE_RUN


def test_a_wide_window_is_shared_by_all_streams() -> None:
    """Requests grow with the window, and none of the streams goes without."""
    widest = Window(length=STREAMS * LARGE_RUN, streak=10)
    assert widest.run(STREAMS) == LARGE_RUN
    assert Window(length=LARGE_RUN, streak=10).run(STREAMS) == LARGE_RUN // SHARES
    assert Window(length=LARGE_RUN, streak=10).run(1) == LARGE_RUN


def test_a_probe_of_head_and_tail_fetches_nothing_ahead() -> None:
    """A player looks at both before it plays."""
    window, fetched = walk([range(1), range(999, 1000), range(1)])
    assert fetched == []
    assert window.run(STREAMS) == 1


def test_a_seek_closes_the_window_and_counts() -> None:
    """Where reading goes on is not yet known."""
    window, _ = walk([range(index, index + 1) for index in range(50)])
    after = window.read(range(500, 501), 200.0)
    assert (after.length, after.seeks) == (0, window.seeks + 1)


@given(st.permutations(range(DISORDER)))
def test_small_disorder_is_still_sequential(order: list[int]) -> None:
    """The kernel's read-ahead arrives out of order."""
    window, _ = walk([range(index, index + 1) for index in range(40)])
    seeks = window.seeks
    window, _ = walk([range(40 + index, 41 + index) for index in order], window=window)
    assert window.length == MOST
    assert window.seeks == seeks
    assert window.frontier == 40 + DISORDER


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 8), st.booleans()), max_size=60),
    st.integers(1, 400),
    st.integers(1, 64),
)
def test_no_reading_fetches_outside_the_file_or_beyond_the_bound(
    reads: list[tuple[int, int, bool]], last: int, streams: int
) -> None:
    """Whatever the order of reads, and no block twice without a seek in between."""
    window = Window()
    since_seek: set[int] = set()
    for start, length, waited in reads:
        before = window.seeks
        window = window.read(range(start, start + length), 100.0)
        if window.seeks != before:
            since_seek = set()
        window, ahead = window.widen(MOST, 100.5, waited=waited).ahead(last, streams)
        assert not since_seek & set(ahead)
        since_seek |= set(ahead)
        assert all(block < last for block in ahead)
        assert all(block < window.frontier + window.length for block in ahead)
        assert window.length <= MOST
        assert 1 <= window.run(streams) <= max(LARGE_RUN, 1)
