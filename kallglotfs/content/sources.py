"""Where blocks come from, as far as extents need to know: the storage, and the disk tier.

Users: `extent.py` and `cache.py`, which are handed the real ones by `mount.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from kallglotfs.clock import Deadline
    from kallglotfs.model import Rendition, Validator


class Body(Protocol):
    """What the storage gives: see `remote.body.Body`."""

    @property
    def start(self) -> int:
        """Offset of the first byte."""

    @property
    def stop(self) -> int:
        """Offset after the last byte."""

    @property
    def validator(self) -> Validator:
        """The version."""

    @property
    def modified(self) -> float | None:
        """Last-Modified, epoch seconds."""

    @property
    def ranged(self) -> bool:
        """Whether the sender honours ranges."""

    @property
    def metered(self) -> bool:
        """Whether every request is an API request."""

    def fill(self, target: memoryview, deadline: Deadline) -> int:
        """Receive the next bytes, at least one."""

    def close(self) -> None:
        """Drop the connection or give it back."""


class Source(Protocol):
    """Where extents come from: `remote.storage.Storage`."""

    def open(
        self, rendition: Rendition, start: int, stop: int, expected: Validator | None, deadline: Deadline
    ) -> Body:
        """Ask for a range of one version."""

    def is_metered(self, rendition: Rendition) -> bool:
        """Tell whether asking costs an API request, as far as is known; asks nobody."""


class Shelf(Protocol):
    """Where blocks outlive the mount: the disk tier."""

    def holds(self, rendition: Rendition, validator: Validator, index: int) -> bool:
        """Tell whether it has a block."""

    def get(self, rendition: Rendition, validator: Validator, index: int, target: memoryview) -> bool:
        """Read a block; tells whether it has it."""

    def put(self, rendition: Rendition, validator: Validator, index: int, block: bytes) -> None:
        """Take a block."""
