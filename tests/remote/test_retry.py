"""Retry-After and Date."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from kallglotfs.remote.retry import parse_retry_after


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3", 3), ("2.5", 2.5), (None, None), ("", None), ("-1", None), ("inf", None), ("soon", None)],
)
def test_retry_after_in_seconds(text: str | None, seconds: float | None) -> None:
    """Or not at all."""
    assert parse_retry_after(text, 0) == seconds


def test_retry_after_as_a_date() -> None:
    """By the sender's clock; a past one means now."""
    assert parse_retry_after(formatdate(1000, usegmt=True), 990) == 10
    assert parse_retry_after(formatdate(1000, usegmt=True), 2000) == 0
