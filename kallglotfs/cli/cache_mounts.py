"""The running mounts that keep blocks in one directory: what is removed there, they are told of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kallglotfs.control import client
from kallglotfs.errors import KallglotError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Seconds a mount gets to answer: removing a large recording's blocks takes a moment.
PATIENCE = 30.0
#: Folders in one question.
BATCH = 500


class Sharing:
    """Speaks to the mounts that share a cache directory.

    One that cannot be asked is passed over: its index is behind the directory, so that it counts what is gone
    until it looks.

    Args:
        cache_dir: the directory.
    """

    def __init__(self, cache_dir: Path) -> None:
        self._cache_dir = cache_dir.resolve()

    def destroy(self, folders: list[bytes]) -> int:
        """Have folders of blocks destroyed, also what is on its way to the disk; return how many were not."""
        left = 0
        for conversation in self._mounts() if folders else ():
            for start in range(0, len(folders), BATCH):
                names = [each.hex() for each in folders[start : start + BATCH]]
                left += int(conversation.ask("cache.destroy", {"folders": names})["left"])
        return left

    def recount(self) -> None:
        """Have the directory counted anew."""
        for conversation in self._mounts():
            conversation.ask("cache.recount")

    def _mounts(self) -> Iterator[client.Conversation]:
        for running in client.running():
            try:
                with client.Conversation(running, PATIENCE) as conversation:
                    told = conversation.ask("cache.where")["cache_dir"]
                    if told is not None and self._is(told):
                        yield conversation
            except KallglotError:
                continue

    def _is(self, told: str) -> bool:
        try:
            return self._cache_dir.samefile(told)
        except OSError:
            return False
