"""The kernel's limit on requests, from a sysctl directory of our own."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from kallglotfs.request_limit import fitted, kernel_limit

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("default", "most", "limit"),
    [("0", "0", None), ("30", "0", 30), ("0", "60", 60), ("90", "60", 60), ("30", "60", 30), ("x", "60", 60)],
)
def test_the_limit_is_the_default_cut_to_the_maximum(
    default: str, most: str, limit: float | None, tmp_path: Path
) -> None:
    """Zero is none."""
    (tmp_path / "default_request_timeout").write_text(f"{default}\n")
    (tmp_path / "max_request_timeout").write_text(f"{most}\n")
    assert kernel_limit(tmp_path) == limit


def test_a_kernel_that_knows_no_limit_has_none(tmp_path: Path) -> None:
    """Before Linux 6.14."""
    assert kernel_limit(tmp_path) is None


@pytest.mark.parametrize(
    ("limit", "fits"),
    [(None, (20, 90)), (200, (20, 90)), (60, (20, 38)), (22, (20, 0)), (12, (10, 0)), (2, (0.5, 0))],
)
def test_both_waits_together_stay_below_it(
    limit: float | None, fits: tuple[float, float], caplog: pytest.LogCaptureFixture
) -> None:
    """With one warning where something had to give way."""
    with caplog.at_level(logging.WARNING):
        assert fitted(20, 90, limit) == fits
    assert limit is None or sum(fits) < limit
    assert len(caplog.records) == (0 if fits == (20, 90) else 1)
