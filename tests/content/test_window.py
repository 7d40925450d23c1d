"""The window policy: sequential widens, a seek closes, disorder and probes do neither."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kallglotfs.content.window import DISORDER, LARGE_RUN, Window

MOST = 64


def walk(reads: list[range], last: int = 1000, most: int = MOST) -> tuple[Window, list[int]]:
    """Return the window after some reads, and the blocks fetched ahead."""
    window, fetched = Window(), []
    for blocks in reads:
        window, ahead = window.read(blocks, most).ahead(last)
        fetched += ahead
    return window, fetched


def test_sequential_reading_fetches_every_block_ahead_once() -> None:
    """No gap and no block twice."""
    window, fetched = walk([range(index, index + 1) for index in range(200)], last=200)
    assert len(fetched) == len(set(fetched))
    assert set(fetched) >= set(range(10, 200))
    assert window.length == MOST


def test_the_window_never_exceeds_its_bound() -> None:
    """Bounded memory."""
    for count in (1, 10, 100):
        window, fetched = walk([range(index, index + 4) for index in range(0, 4 * count, 4)], last=10**6)
        assert max(fetched, default=0) <= window.frontier + MOST
        assert window.run <= LARGE_RUN


def test_a_probe_of_head_and_tail_fetches_nothing_ahead() -> None:
    """A player looks at both before it plays."""
    _, fetched = walk([range(1), range(999, 1000), range(1)])
    assert fetched == []


def test_a_seek_closes_the_window() -> None:
    """Where reading goes on is not yet known."""
    window, _ = walk([range(index, index + 1) for index in range(50)])
    assert window.read(range(500, 501), MOST).length == 0


@given(st.permutations(range(DISORDER)))
def test_small_disorder_is_still_sequential(order: list[int]) -> None:
    """The kernel's read-ahead arrives out of order."""
    window, _ = walk([range(index, index + 1) for index in range(40)])
    for index in order:
        window = window.read(range(40 + index, 41 + index), MOST)
    assert window.length == MOST
    assert window.frontier == 40 + DISORDER


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 8)), max_size=60), st.integers(1, 400))
def test_no_reading_fetches_outside_the_file_or_beyond_the_bound(
    reads: list[tuple[int, int]], last: int
) -> None:
    """Whatever the order of reads."""
    window = Window()
    for start, length in reads:
        window, ahead = window.read(range(start, start + length), MOST).ahead(last)
        assert all(block < last for block in ahead)
        assert len(ahead) <= MOST
        assert window.length <= MOST
