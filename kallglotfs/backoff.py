"""Pauses between tries that grow and differ, until the time is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kallglotfs.errors import KallglotError, ServiceFault

if TYPE_CHECKING:
    from kallglotfs.clock import Clock, Deadline

#: Seconds before the second try; doubled after each.
FIRST_PAUSE = 0.2
#: Seconds a pause grows to: what is mended is noticed within two seconds. An endless 5xx costs about fifteen
#: API requests in 20 s, shared by all who wait for the same.
LONGEST_PAUSE = 2.0


class Backoff:
    """The pauses between the tries of one piece of work.

    Args:
        clock: sleeps and gives the jitter.
        deadline: no pause is begun that would outlast it.
    """

    def __init__(self, clock: Clock, deadline: Deadline) -> None:
        self._clock = clock
        self._deadline = deadline
        self._pause = FIRST_PAUSE

    def wait(self, error: KallglotError) -> None:
        """Pause before the next try, or raise `error` when there is no time for one."""
        asked = error.pause if isinstance(error, ServiceFault) else None
        pause = max(asked or 0.0, self._pause * self._clock.jitter())
        if pause >= self._deadline.remaining():
            raise error
        self._deadline.rest(pause, error)
        self._clock.sleep(pause)
        self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def reset(self) -> None:
        """Start with short pauses again: there was progress."""
        self._pause = FIRST_PAUSE
