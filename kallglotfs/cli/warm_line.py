"""A line to a mount that is taken up again when it breaks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self

from kallglotfs.control.client import Conversation
from kallglotfs.errors import DaemonGone

if TYPE_CHECKING:
    from kallglotfs.control.client import Running

#: Seconds for which a line that broke is tried again, and seconds between two tries. A mount talks with few
#: clients at a time and hangs up on the others; one that was killed is talked with until its answer is there.
TRIED, PAUSE = 5.0, 0.3


class Line:
    """Asks a mount what may be asked twice.

    Args:
        running: the mount.
        timeout: seconds an answer may take.
    """

    def __init__(self, running: Running, timeout: float) -> None:
        self._running = running
        self._timeout = timeout
        self._conversation: Conversation | None = None

    def ask(self, name: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask a question and return the answer.

        Raises:
            ControlError: as `Conversation.ask`.
        """
        ends = time.monotonic() + TRIED
        while True:
            try:
                if self._conversation is None:
                    self._conversation = Conversation(self._running, self._timeout)
                return self._conversation.ask(name, arguments)
            except DaemonGone:
                self.close()
                if time.monotonic() >= ends:
                    raise
                time.sleep(PAUSE)

    def close(self) -> None:
        """Hang up."""
        if self._conversation is not None:
            self._conversation.close()
            self._conversation = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
