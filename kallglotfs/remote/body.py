"""The bytes of one answer: a known range of a known version, counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kallglotfs.errors import ServiceFault
from kallglotfs.remote.transport import fill, give_back, is_plain, pieces

if TYPE_CHECKING:
    from collections.abc import Iterator

    import requests

    from kallglotfs.clock import Deadline
    from kallglotfs.model import Validator
    from kallglotfs.tally import Tally


class Body:
    """An open answer whose headers have been checked.

    Args:
        response: the answer, its body unread.
        start: offset of the first byte that comes.
        stop: offset after the last.
        validator: the version the bytes belong to.
        modified: the storage's Last-Modified, epoch seconds, None when not sent.
        ranged: whether the sender honours ranges.
        metered: whether asking again costs an API request.
        tally: counts the bytes.
    """

    def __init__(
        self,
        response: requests.Response,
        start: int,
        stop: int,
        validator: Validator,
        modified: float | None,
        *,
        ranged: bool,
        metered: bool,
        tally: Tally,
    ) -> None:
        self.start = start
        self.stop = stop
        self.validator = validator
        self.modified = modified
        self.ranged = ranged
        self.metered = metered
        self._response = response
        self._tally = tally
        self._left = stop - start
        self._plain = is_plain(response)
        self._declared = self._plain and response.headers.get("Content-Length") == str(self._left)
        self._pieces: Iterator[bytes] | None = None
        self._spare = memoryview(b"")

    def fill(self, target: memoryview, deadline: Deadline) -> int:
        """Receive the next bytes of the range.

        Args:
            target: where they go; it is at most as long as what is left of the range.
            deadline: of the work.

        Returns:
            How many came, at least one.

        Raises:
            ServiceFault: the sender stopped early; what came is good.
            TimedOut: stalled.
        """
        target = target[: self._left]
        count = fill(self._response, target, deadline) if self._plain else self._copy(target, deadline)
        if not count:
            raise ServiceFault(f"the answer ended {self._left} bytes early")
        self._left -= count
        self._tally.add("fetched_bytes", count)
        if not self._left and self._declared:
            give_back(self._response)
        return count

    def close(self) -> None:
        """Give the connection back, or drop it when not all was read."""
        self._response.close()

    def _copy(self, target: memoryview, deadline: Deadline) -> int:
        if self._pieces is None:
            self._pieces = pieces(self._response, self._left, deadline)
        if not self._spare:
            self._spare = memoryview(next(self._pieces, b""))
        part, self._spare = self._spare[: len(target)], self._spare[len(target) :]
        target[: len(part)] = part
        return len(part)
