"""Sizes and times as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kallglotfs.config.units import (
    GIB,
    KIB,
    MAX_SIZE,
    MIB,
    TIB,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1048576", MIB),
        ("64M", 64 * MIB),
        ("64m", 64 * MIB),
        ("64Mi", 64 * MIB),
        ("64MiB", 64 * MIB),
        ("64MB", 64 * MIB),
        ("512B", 512),
        ("10G", 10 * GIB),
        ("1.5G", 3 * GIB // 2),
        ("0.5k", KIB // 2),
        ("2 T", 2 * TIB),
        (" 7K ", 7 * KIB),
        (str(MAX_SIZE), MAX_SIZE),
    ],
)
def test_a_size_reads(text: str, size: int) -> None:
    """A size reads with binary units in any case, with or without i and B."""
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "M", "12Q", "-1", "+1", "1e6", "1_000", ".5M", "5.M", "1iB", "1,5G", "64MM", "8E", "1\u212a", "٣"],
)
def test_what_is_no_size_is_refused(text: str) -> None:
    """A text that is no size is refused."""
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)


def test_a_size_beyond_any_offset_is_refused() -> None:
    """A size that no file offset can reach is refused."""
    with pytest.raises(ValueError, match="out of range"):
        parse_size("8388608T")


@given(st.integers(0, MAX_SIZE))
def test_a_formatted_size_reads_back(size: int) -> None:
    """Formatting a size loses nothing."""
    assert parse_size(format_size(size)) == size


@given(st.integers(1, 1023), st.sampled_from("KMGT"), st.sampled_from(["", "i", "iB", "B"]))
def test_a_unit_is_kept_by_formatting(number: int, unit: str, suffix: str) -> None:
    """A size below the next unit is shown the way it was written."""
    assert format_size(parse_size(f"{number}{unit}{suffix}")) == f"{number}{unit}"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("20s", 20.0),
        ("5m", 300.0),
        ("1h", 3600.0),
        ("500ms", 0.5),
        ("2.5", 2.5),
        ("90", 90.0),
        ("1 H", 3600.0),
    ],
)
def test_a_time_reads(text: str, seconds: float) -> None:
    """A time reads with its unit, and a bare number counts seconds."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "1d", "1h30m", "nan", "inf", "1e3", "5\u017f"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """A text that is no time is refused."""
    with pytest.raises(ValueError, match="not a time"):
        parse_duration(text)


@given(st.integers(0, 10**10))
def test_a_formatted_time_reads_back(milliseconds: int) -> None:
    """Formatting whole milliseconds loses nothing."""
    assert parse_duration(format_duration(milliseconds / 1000)) == milliseconds / 1000
