"""What must be true in every run, whatever the times are."""

from __future__ import annotations


class CheckFailed(Exception):
    """A byte or a count is not what it must be."""


def check(holds: bool, message: str) -> None:  # noqa: FBT001 - reads like assert
    """Raise `CheckFailed` unless something holds."""
    if not holds:
        raise CheckFailed(message)
