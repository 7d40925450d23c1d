"""Failures that repeat: told once, then counted.

A key without permission fails for each of ten thousand files, and a program that retries fails for ever. One
line says all there is to say; a minute later another one says how often. Failures that differ only in the
recording or the request they are about are of one kind. With `log_level=debug` each of them is told as well.

Threading: the handler's lock guards everything. The thread that tells the counts is started by the first
repeat and sleeps without a time limit while there is nothing to tell.
"""

from __future__ import annotations

import contextlib
import logging
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kallglotfs.logs.fields import fields_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

#: Seconds for which a failure has been told.
QUIET = 60.0
#: Different failures remembered, and characters of what makes them different.
MOST, LONGEST = 1000, 500

#: The logger of what somebody has asked for: told each time, whatever `log_level` says.
ASKED_FOR = "kallglotfs.asked_for"
#: What differs in the messages of one and the same failure: the recording and the service's request.
_PARTICULARS = re.compile(r"(?:rec|sess)_[A-Za-z0-9]+|\(request [^)]*\)")


@dataclass(slots=True)
class _Told:
    """A failure that was told.

    Attributes:
        moment: when.
        count: how often it has happened since.
        last: the last time it has.
    """

    moment: float
    count: int = 0
    last: logging.LogRecord | None = None


class Repeats(logging.Handler):
    """Passes records on, but counts those that repeat.

    Counted are warnings and errors, and what its caller gives a `kind` in `extra`.

    Args:
        target: where records go.
        now: tells the time, in seconds.
    """

    def __init__(self, target: logging.Handler, now: Callable[[], float]) -> None:
        super().__init__()
        self._target = target
        self._now = now
        self._told: OrderedDict[Hashable, _Told] = OrderedDict()
        self._woken = threading.Event()
        self._thread: threading.Thread | None = None
        self._closed = False

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on, or count it."""
        try:
            kind = _kind(record)
        except Exception:  # noqa: BLE001 - a log call that is wrong must not fail its caller
            self.handleError(record)
            return
        if kind is None or not self._is_repeat(kind, record):
            self._target.handle(record)
        elif logging.getLogger(record.name).isEnabledFor(logging.DEBUG):
            self._target.handle(_lowered(record))

    def redirect(self, target: logging.Handler) -> None:
        """Send what comes from now on to another place; the old one is closed."""
        self.acquire()
        try:
            before, self._target = self._target, target
        finally:
            self.release()
        before.close()

    def tell(self, *, all_of_them: bool = False) -> float | None:
        """Tell the counts that are due.

        Args:
            all_of_them: tell every count, as at the end.

        Returns:
            Seconds until the next is due, None for none.
        """
        self.acquire()
        try:
            now, left = self._now(), []
            for told in list(self._told.values()):
                if told.count and (all_of_them or now - told.moment >= QUIET):
                    self._tell(told)
                elif told.count:
                    left.append(told.moment + QUIET - now)
            return min(left, default=None)
        finally:
            self.release()

    def close(self) -> None:
        """Tell what is still to be told, and close the target."""
        self.acquire()
        try:
            if not self._closed:
                self._closed = True
                self._woken.set()
                self.tell(all_of_them=True)
                self._target.close()
        finally:
            self.release()
        super().close()

    def _is_repeat(self, kind: Hashable, record: logging.LogRecord) -> bool:
        now, told = self._now(), self._told.get(kind)
        if told is None or (now - told.moment >= QUIET and not told.count):
            self._told[kind] = _Told(now)
            self._told.move_to_end(kind)
            if len(self._told) > MOST:
                self._tell(self._told.popitem(last=False)[1])
            return False
        told.count += 1
        told.last = _stripped(record)
        self._told.move_to_end(kind)
        if told.count == 1:
            self._wake()
        elif now - told.moment >= QUIET:
            self._tell(told)
        return True

    def _tell(self, told: _Told) -> None:
        """Tell how often a failure has happened since it was told; from now on it counts anew."""
        if not told.count or told.last is None:
            return
        now = self._now()
        seconds = max(1, round(now - told.moment))
        last, count = told.last, told.count
        told.moment, told.count, told.last = now, 0, None
        times = "once" if count == 1 else f"{count} times"
        message = f"{last.msg} ({times} more in the last {seconds} s)"
        # A record of its own: it is told now, whenever the last of them was.
        record = logging.LogRecord(last.name, last.levelno, last.pathname, last.lineno, message, None, None)
        record.__dict__.update(fields_of(last), repeated=count, seconds=seconds)
        self._target.handle(record)

    def _wake(self) -> None:
        if self._thread is None and not self._closed:
            self._thread = threading.Thread(target=self._run, name="repeats", daemon=True)
            # A machine that is out of threads still counts; the next repeat or the end tells.
            with contextlib.suppress(RuntimeError):
                self._thread.start()
        self._woken.set()

    def _run(self) -> None:
        while not self._closed:
            self._woken.clear()
            self._woken.wait(self.tell())


def _kind(record: logging.LogRecord) -> Hashable | None:
    """Return what makes two records the same failure; None for one that is always told."""
    if record.name == ASKED_FOR:
        return None
    given = record.__dict__.get("kind")
    if given is None:
        if record.levelno < logging.WARNING:
            return None
        given = _PARTICULARS.sub("", record.getMessage())
    text = str(given)[:LONGEST]
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return record.name, record.levelno, text
    # Of an unexpected one, what it is and where it was raised.
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = ("", 0) if place is None else (place.tb_frame.f_code.co_filename, place.tb_lineno)
    return record.name, record.levelno, text, type(error), *where


def _stripped(record: logging.LogRecord) -> logging.LogRecord:
    """Return what a count needs of a record: neither arguments nor a traceback's frames."""
    kept = logging.LogRecord(
        record.name, record.levelno, record.pathname, record.lineno, record.getMessage(), None, None
    )
    kept.__dict__.update(fields_of(record))
    return kept


def _lowered(record: logging.LogRecord) -> logging.LogRecord:
    again = logging.makeLogRecord(record.__dict__)
    again.levelno, again.levelname = logging.DEBUG, logging.getLevelName(logging.DEBUG)
    return again
