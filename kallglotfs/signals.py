"""Signals, worked on by threads of our own.

A handler in Python runs on the main thread, in the middle of whatever that is doing, and may wait for a lock
which that holds. And it does not run at all while the main thread sleeps, where the kernel hands the signal
to another thread, as it does when the main thread has one to take already. So nothing is done in handlers:
the interpreter writes each signal's number into a pipe, whichever thread has got it (`signal.set_wakeup_fd`).

Threading: `take` is called on the main thread. Signals that end the mount are acted on at once, by the thread
that reads the pipe; the others by another one, one after the other. Many of a kind at once are one.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

log = logging.getLogger(__name__)

#: Bytes of the pipe that are read at once.
TOGETHER = 4096
#: Seconds that an action under way is given at the end.
PATIENCE = 1.0


class Signals:
    """Runs an action for each signal.

    Args:
        actions: what to do, by the signal's number; may take its time.
        end: ends the process's work; takes no time.
        ending: the signals that do, where they have no action.
    """

    def __init__(
        self, actions: Mapping[int, Callable[[], None]], end: Callable[[], None], ending: Iterable[int]
    ) -> None:
        self._actions = dict(actions)
        self._end = end
        self._ending = frozenset(ending) - self._actions.keys()
        self._wanted: queue.SimpleQueue[frozenset[int]] = queue.SimpleQueue()
        self._stopped = False
        self._worker = threading.Thread(target=self._work, name="signal-work", daemon=True)

    def take(self) -> None:
        """Take the signals from now on: those that end count at once, the others wait for `start`."""
        reading, writing = os.pipe2(os.O_CLOEXEC)
        # A pipe that is full holds enough of them.
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        threading.Thread(target=self._read, args=(reading,), name="signals", daemon=True).start()
        for number in self._actions.keys() | self._ending:
            signal.signal(number, _nothing)

    def start(self) -> None:
        """Begin with actions."""
        self._worker.start()

    def stop(self) -> None:
        """Begin no further action, and wait a moment for one that is under way."""
        self._stopped = True
        self._wanted.put(frozenset())
        if self._worker.is_alive():
            self._worker.join(PATIENCE)

    def _read(self, reading: int) -> None:
        while True:
            numbers = frozenset(os.read(reading, TOGETHER))
            if numbers & self._ending:
                self._end()
            self._wanted.put(numbers & self._actions.keys())

    def _work(self) -> None:
        while not self._stopped:
            numbers = self._wanted.get()
            while not self._wanted.empty():
                numbers |= self._wanted.get()
            for number in sorted(numbers):
                if not self._stopped:
                    self._act(number)

    def _act(self, number: int) -> None:
        try:
            self._actions[number]()
        except Exception:  # the next signal is another matter
            log.exception("unexpected failure after %s", signal.Signals(number).name)


def _nothing(_number: int, _frame: object) -> None:
    """Let the interpreter know that the signal is ours."""


def has_terminal() -> bool:
    """Tell whether the process has a controlling terminal, whose end a SIGHUP then means."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
