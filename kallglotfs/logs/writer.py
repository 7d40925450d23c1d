"""Writes the log on a thread of its own, so that nobody waits for a destination that takes no more.

A FIFO whose reader has stopped, a stalled pipe, a full syslog socket or a file server that hangs would
otherwise hold up every thread that logs: then reads are never answered, and nothing ends us but SIGKILL.
Lines wait in a queue; what finds it full is counted, and the count is told where the lines would be.

Threading: records are formatted on the thread that logs, under the handler's lock, which is never held
while something is written. Only the writer's thread touches the destination; it sleeps while it has nothing
to do.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import logging.handlers
import queue
import threading
from typing import Any

#: Lines that wait for the destination; of what is usual a few megabytes.
MOST = 10_000
#: Seconds that the destination gets at the end for what is left.
PATIENCE = 0.8


class Writer(logging.handlers.QueueHandler):
    """Queues formatted lines for a handler, which writes them on this one's thread.

    Args:
        target: writes; its formatter is taken over. It is closed with this one.
        most: lines that wait.
    """

    def __init__(self, target: logging.Handler, most: int = MOST) -> None:
        self._lines: queue.Queue[tuple[int, str] | None] = queue.Queue(most)
        super().__init__(self._lines)
        self.setFormatter(target.formatter)
        target.setFormatter(None)
        self._target = target
        self._most = most
        self._dropped = 0
        self._closing = False
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)

    def start(self) -> None:
        """Have a thread, which waits for `begin`. Not before a fork, which no thread survives.

        Raises:
            OSError: the machine is out of threads; then this one and its target are closed.
        """
        try:
            self._thread.start()
        except RuntimeError:
            self._target.close()
            self.close()
            raise OSError(errno.EAGAIN, "no thread to write it") from None

    def begin(self) -> None:
        """Begin to write what was queued."""
        self._begun.set()

    def prepare(self, record: logging.LogRecord) -> Any:
        """Return what is queued of a record: its level and its text, without secrets."""
        return record.levelno, self.format(record)

    def enqueue(self, record: Any) -> None:
        """Queue a line, or count it: from a full queue on until half of it is written, so in one piece."""
        if self._dropped and not self._tell_dropped():
            self._dropped += 1
            return
        try:
            self._lines.put_nowait(record)
        except queue.Full:
            self._dropped += 1

    def close(self) -> None:
        """Have the rest written, and return when it is, or after `PATIENCE`."""
        self._closing = True
        self._begun.set()
        # A full queue wakes the thread by itself.
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(None)
        if self._thread.is_alive():
            self._thread.join(PATIENCE)
            if self._thread.is_alive():
                self._give_up()
        super().close()

    def _give_up(self) -> None:
        """Let go of what the destination has not taken; should it ever get on, it gets the count."""
        self.acquire()
        try:
            with contextlib.suppress(queue.Empty):
                while True:
                    self._dropped += self._lines.get_nowait() is not None
            self._lines.put_nowait(None)
        finally:
            self.release()

    def _tell_dropped(self) -> bool:
        """Queue the count of lines dropped once there is room; tell whether none is left to tell."""
        self.acquire()
        try:
            if self._dropped and self._lines.qsize() <= self._most // 2:
                message = "the log took no more: lines dropped here: %d"
                arguments = (self._dropped,)
                record = logging.LogRecord(
                    __name__, logging.WARNING, __file__, 0, message, arguments, exc_info=None
                )
                self._lines.put_nowait(self.prepare(record))
                self._dropped = 0
            return not self._dropped
        finally:
            self.release()

    def _run(self) -> None:
        self._begun.wait()
        while True:
            line = self._lines.get()
            if line is not None:
                level, text = line
                # Handlers catch what fails; for them the text is a message without arguments.
                self._target.handle(logging.LogRecord("", level, "", 0, text, None, None))
            if self._dropped:
                self._tell_dropped()
            if self._closing and self._lines.empty():
                break
        self._target.close()
