"""Numbers as people read them."""

from __future__ import annotations

import pytest

from kallglotfs.cli.figures import count, duration, percent, size, sparkline


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (100 * 1024**2, "100 MiB"),
     (1023.99 * 1024**2, "1024 MiB"), (5 * 1024**5, "5120 TiB")],
)  # fmt: skip
def test_sizes_have_the_unit_that_reads_best(number: float, text: str) -> None:
    """In powers of 1024, as the settings."""
    assert size(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 s"), (0.4, "0 s"), (59.9, "59 s"), (60, "1 min"), (3600, "1 h 0 min"), (90061, "1 d 1 h")],
)
def test_times_are_as_exact_as_one_cares(seconds: float, text: str) -> None:
    """Two units at most."""
    assert duration(seconds) == text


def test_one_thing_is_not_many() -> None:
    """And one of two kinds is one or the other."""
    assert [count(number, "file") for number in (0, 1, 2)] == ["0 files", "1 file", "2 files"]
    assert count(1, "recording", "session") == "1 recording or session"
    assert count(3, "recording", "session") == "3 recordings and sessions"


def test_a_share_of_nothing_is_none() -> None:
    """Not 0 %, and no division by zero."""
    assert percent(1, 4) == "25 %"
    assert percent(0, 0) == "-"


def test_sparklines_are_as_wide_as_asked_for() -> None:
    """The latest on the right, gaps where nothing is known, flat where all is zero."""
    assert sparkline([0, 5, 10], 5) == "  ▁▅█"
    assert sparkline([None, 10, None], 3) == " █ "
    assert sparkline([0, 0], 2) == "▁▁"
    assert sparkline(range(100), 4, top=50) == "████"
    assert sparkline([30], 1, top=60, bars="01") == "0"
    assert sparkline([1], 0) == sparkline([], 0) == ""
    assert sparkline([], 3) == "   "
