"""Files of random bytes for the storage to serve, and the ids they go by.

Each group is a directory of its own, so that a peer that lists directories lists only what it is measured on.
"""

from __future__ import annotations

import os
import random
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MB = 1_000_000
MIB = 1 << 20

_PIECE = 8 * MIB
_LETTERS = string.ascii_uppercase + string.digits


@dataclass(frozen=True, slots=True)
class Item:
    """One recording.

    Args:
        id: `rec_…`.
        group: directory at the storage.
        size: bytes.
        source: the file that the storage serves.
    """

    id: str
    group: str
    size: int
    source: Path

    @property
    def name(self) -> str:
        """Return the file's name, at the storage and on every mount."""
        return f"{self.id}.mp3"


class Corpus:
    """Makes recordings in a directory, each group once.

    Args:
        root: where; one directory per group is made below.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._groups: dict[str, list[Item]] = {}
        # The same ids in every run: a report can be compared with the one before.
        self._random = random.Random(3)

    def group(self, name: str, count: int, size: int) -> list[Item]:
        """Return `count` files of `size` random bytes, made when they are asked for first."""
        if name not in self._groups:
            self._groups[name] = [self._make(name, size) for _ in range(count)]
        return self._groups[name]

    def add(self, name: str, content: bytes) -> Item:
        """Add one file with given bytes to a group."""
        item = self._item(name, len(content))
        item.source.write_bytes(content)
        self._groups.setdefault(name, []).append(item)
        return item

    def drop(self, name: str) -> None:
        """Delete a group's files."""
        for item in self._groups.pop(name, []):
            item.source.unlink()

    def _item(self, group: str, size: int) -> Item:
        name = "".join(self._random.choices(_LETTERS, k=16))
        directory = self._root / group
        directory.mkdir(parents=True, exist_ok=True)
        item_id = f"rec_{name}"
        return Item(item_id, group, size, directory / f"{item_id}.mp3")

    def _make(self, group: str, size: int) -> Item:
        item = self._item(group, size)
        with item.source.open("wb") as file:
            for start in range(0, size, _PIECE):
                file.write(os.urandom(min(_PIECE, size - start)))
        return item
