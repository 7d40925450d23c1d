"""A wrong byte does not get past the comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.checks import CheckFailed
from bench.corpus import MIB, Item
from bench.reading import verify

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("size", [0, 1, MIB, MIB + 5])
def test_the_same_bytes_pass(tmp_path: Path, size: int) -> None:
    """Whatever the length."""
    for name in ("source", "copy"):
        (tmp_path / name).write_bytes(b"x" * size)
    verify(tmp_path / "copy", Item("rec_A", "g", size, tmp_path / "source"))


@pytest.mark.parametrize(
    "content",
    [b"x" * MIB + b"y", b"x" * MIB, b"x" * (MIB + 2), b"y" + b"x" * MIB],
    ids=["last byte wrong", "too short", "too long", "first byte wrong"],
)
def test_other_bytes_do_not(tmp_path: Path, content: bytes) -> None:
    """A differing byte at either end, and a length that is off by one."""
    (tmp_path / "source").write_bytes(b"x" * (MIB + 1))
    (tmp_path / "copy").write_bytes(content)
    with pytest.raises(CheckFailed):
        verify(tmp_path / "copy", Item("rec_A", "g", MIB + 1, tmp_path / "source"))
