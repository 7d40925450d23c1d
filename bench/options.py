"""What a run was asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

#: Which peers run beside kallglotfs: none, the limit of the link and rclone's best, or all.
PEERS = ("none", "fast", "all")
#: How the storage is reached.
SCHEMES = ("http", "https", "both")


@dataclass(frozen=True, slots=True)
class Options:
    """The command line, checked."""

    quick: bool
    names: tuple[str, ...]
    rounds: int
    peers: str
    schemes: tuple[str, ...]
    huge: bool
    write: bool
    mount_options: tuple[str, ...] = ()

    def size(self, full: T, quick: T) -> T:
        """Return the size of a thing in this kind of run."""
        return quick if self.quick else full
