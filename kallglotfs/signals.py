"""Signals that ask for work: taken by a handler that does nothing, worked on by a thread of its own.

A handler runs in the middle of whatever the main thread is doing, and may wait for a lock which that holds.
So it only writes the signal's number into a pipe. Many signals of a kind that arrive at once are one.

Threading: `take` is called on the main thread; actions run on the thread, one after the other.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)

#: Bytes of the pipe that are read at once: signals that count as one.
TOGETHER = 4096


class Signals:
    """Runs an action for each signal.

    Args:
        actions: what to do, by the signal's number.
    """

    def __init__(self, actions: Mapping[int, Callable[[], None]]) -> None:
        self._actions = dict(actions)
        self._reading, self._writing = os.pipe2(os.O_CLOEXEC)
        # A pipe that is full holds enough of them.
        os.set_blocking(self._writing, False)

    def take(self) -> None:
        """Take the signals from now on; they wait for `start`."""
        for number in self._actions:
            signal.signal(number, self._note)

    def start(self) -> None:
        """Begin to work on them."""
        threading.Thread(target=self._run, name="signals", daemon=True).start()

    def _note(self, number: int, _frame: object) -> None:
        with contextlib.suppress(OSError):
            os.write(self._writing, bytes([number]))

    def _run(self) -> None:
        while True:
            for number in sorted(set(os.read(self._reading, TOGETHER))):
                try:
                    self._actions[number]()
                except Exception:  # the next signal is another matter
                    log.exception("unexpected failure after %s", signal.Signals(number).name)


def has_terminal() -> bool:
    """Tell whether the process has a controlling terminal, whose end a SIGHUP then means."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
