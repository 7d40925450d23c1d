"""The terminal of a program that draws the whole screen: its keys, its size, and all put back afterwards."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import tty
from typing import TYPE_CHECKING, Any, NoReturn, Self

if TYPE_CHECKING:
    from types import FrameType

#: What `Keys.wait` returns when the terminal has another size, and for Ctrl-Z.
RESIZED, SUSPEND = "resized", "suspend"


class Keys:
    """Single keys from standard input, as long as the block lasts.

    Signals that end the program become `SystemExit`, so that the terminal is put back on the way out.
    """

    def __init__(self) -> None:
        self._file = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
        self._kept: list[Any] | None = None
        self._signals: dict[int, Any] = {}
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGHUP):
            self._signals[number] = signal.signal(number, _leave)
        for number in (signal.SIGWINCH, signal.SIGTSTP):
            self._signals[number] = signal.signal(number, self._tell)
        if self._file is not None:
            # In the background it may not be touched; then there are no keys.
            with contextlib.suppress(termios.error):
                self._kept = termios.tcgetattr(self._file)
                tty.setcbreak(self._file)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None and self._kept is not None:
            # The terminal itself may be gone.
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._file, termios.TCSADRAIN, self._kept)
        for number, handler in self._signals.items():
            signal.signal(number, handler)
        os.close(self._woken)
        os.close(self._wake)

    def wait(self, seconds: float) -> str:
        """Wait for a key, and return it: empty where time is up, else a character, `RESIZED` or `SUSPEND`."""
        watched = [self._woken] if self._file is None else [self._woken, self._file]
        ready, _, _ = select.select(watched, [], [], max(0.0, seconds))
        if self._woken in ready:
            told = os.read(self._woken, 4096)
            return SUSPEND if bytes([signal.SIGTSTP]) in told else RESIZED
        if self._file in ready:
            with contextlib.suppress(OSError):
                pressed = os.read(self._file or 0, 1)
                if pressed:
                    return pressed.decode("latin-1")
            # Nobody is at the terminal any more.
            self._file = None
        return ""

    def _tell(self, number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake, bytes([number]))


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
