"""The bytes of one answer: a known range of a known version, counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kallglotfs.errors import ServiceFault
from kallglotfs.remote.transport import pieces

if TYPE_CHECKING:
    from collections.abc import Iterator

    import requests

    from kallglotfs.clock import Deadline
    from kallglotfs.model import Validator


@dataclass(frozen=True, slots=True)
class Body:
    """An open answer whose headers have been checked.

    Attributes:
        start: offset of the first byte that comes.
        stop: offset after the last.
        validator: the version the bytes belong to.
        modified: the storage's Last-Modified, epoch seconds, None when not sent.
        ranged: whether the sender honours ranges.
        metered: whether asking again costs an API request.
    """

    response: requests.Response
    start: int
    stop: int
    validator: Validator
    modified: float | None
    ranged: bool
    metered: bool

    def pieces(self, deadline: Deadline) -> Iterator[bytes]:
        """Yield the bytes from `start` to before `stop` as they arrive, never more.

        Raises:
            ServiceFault: the sender stopped early; what came is good.
            TimedOut: stalled.
        """
        left = self.stop - self.start
        for piece in pieces(self.response, left, deadline):
            left -= len(piece)
            yield piece
        if left:
            raise ServiceFault(f"the answer ended {left} bytes early")

    def close(self) -> None:
        """Give the connection back, or drop it when not all was read."""
        self.response.close()
