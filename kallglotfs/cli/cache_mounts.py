"""The running mounts that keep blocks in one directory: what is removed there, they are told of."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from kallglotfs.control import client
from kallglotfs.errors import KallglotError

if TYPE_CHECKING:
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
        for start in range(0, len(folders), BATCH):
            names = [each.hex() for each in folders[start : start + BATCH]]
            answers = self._ask("cache.destroy", {"folders": names})
            left += sum(int(answer["left"]) for answer in answers)
        return left

    def recount(self) -> None:
        """Have the directory counted anew."""
        self._ask("cache.recount", {})

    def _ask(self, name: str, arguments: dict[str, Any]) -> list[dict[str, Any]]:
        """Ask all mounts on the directory, and return the answers of those that answer.

        Our own alone: only its owner uses a cache directory, and strangers may say anything, or nothing.
        """
        answers = []
        ours = os.geteuid()
        for running in client.running():
            if running.uid != ours:
                continue
            with contextlib.suppress(KallglotError), client.Conversation(running, PATIENCE) as conversation:
                told = conversation.ask("cache.where")["cache_dir"]
                if told is not None and self._is(told):
                    answers.append(conversation.ask(name, arguments))
        return answers

    def _is(self, told: str) -> bool:
        try:
            return self._cache_dir.samefile(told)
        except OSError:
            return False
