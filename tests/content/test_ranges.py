"""Range arithmetic, held against slicing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kallglotfs.content.ranges import (
    block_count,
    block_range,
    blocks_of,
    clamp,
    parse_content_range,
    range_header,
)

SIZES = st.integers(0, 5000)


@given(SIZES, SIZES, SIZES, st.integers(1, 700))
def test_blocks_of_a_part_join_to_the_slice(offset: int, length: int, size: int, block_size: int) -> None:
    """What a read returns is what slicing returns."""
    content = bytes(index % 251 for index in range(size))
    part = clamp(offset, length, size)
    found = b""
    for index in blocks_of(part, block_size):
        whole = block_range(index, block_size, size)
        block = content[whole.start : whole.stop]
        found += block[max(part.start - whole.start, 0) : part.stop - whole.start]
    assert found == content[offset : offset + length]


@given(SIZES, st.integers(1, 700))
def test_blocks_tile_a_file(size: int, block_size: int) -> None:
    """Every byte is in exactly one block."""
    covered = [
        at for index in range(block_count(size, block_size)) for at in block_range(index, block_size, size)
    ]
    assert covered == list(range(size))


@given(st.integers(0, 10**12), st.integers(1, 10**9))
def test_a_header_and_its_content_range_agree(start: int, length: int) -> None:
    """Half-open inside, inclusive in the header."""
    header = range_header(start, start + length)
    first, last = header.removeprefix("bytes=").split("-")
    parsed = parse_content_range(f"bytes {first}-{last}/{start + length}")
    assert parsed is not None
    assert (parsed.start, parsed.stop, parsed.total) == (start, start + length, start + length)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes 5-4/10",
        "bytes 0-10/10",
        "bytes a-b/c",
        "items 0-1/2",
        "bytes 0-1",
        "bytes -1/5",
    ],
)
def test_a_content_range_that_makes_no_sense_is_none(header: str | None) -> None:
    """Nothing is guessed."""
    assert parse_content_range(header) is None


def test_an_unsatisfied_range_tells_the_total() -> None:
    """416 carries `bytes */total`."""
    parsed = parse_content_range("bytes */100")
    assert parsed is not None
    assert (parsed.start, parsed.total) == (None, 100)
