"""Shows the service manager that we serve, as long as we do, and how it goes.

Used by `mount.py`, where there is a service manager.

Threading: one thread, which does nothing else: while it is held up, by an interpreter that does not get on or
by a part whose lock is never let go, nobody says that we are alive, and that is the point.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kallglotfs.notify import Notifier

log = logging.getLogger(__name__)

#: Looks in the time the manager waits for a sign, and the part of that time the mount has to answer.
LOOKS, ANSWER = 6, 3
#: Seconds between two lines of status where no sign of life is asked for.
STATUS = 30.0


class Watchdog:
    """Looks again and again whether we serve, and says so.

    Args:
        notifier: tells the manager.
        trouble: looks; takes the seconds the mount may take to answer, returns what is wrong.
        state: returns the state of all parts: takes every lock there is and asks the catalog.
        where: the mount point.
    """

    def __init__(
        self,
        notifier: Notifier,
        trouble: Callable[[float], str],
        state: Callable[[], Mapping[str, Any]],
        where: str,
    ) -> None:
        self._notifier = notifier
        self._trouble = trouble
        self._state = state
        self._where = where
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin, where there is somebody to tell."""
        if not self._notifier.listening:
            return
        if self._notifier.watchdog is not None:
            # The manager ends who is stuck with SIGABRT: then we say where. Names of functions, no values.
            with contextlib.suppress(OSError, ValueError, RuntimeError):
                faulthandler.enable(sys.stderr, all_threads=True)
        self._thread.start()

    def stop(self) -> None:
        """End, without waiting for a look that is under way."""
        self._ended.set()

    def _run(self) -> None:
        period = self._notifier.watchdog
        pause = STATUS if period is None else period / LOOKS
        while True:
            text = self._line()
            if period is not None:
                wrong = self._trouble(period / ANSWER)
                if self._ended.is_set():
                    return
                if wrong:
                    log.error("self-check failed, the watchdog gets no sign of life: %s", wrong)
                    text = f"NOT SERVING: {wrong}"
                else:
                    self._notifier.alive()
            self._notifier.status(text)
            if self._ended.wait(pause):
                return

    def _line(self) -> str:
        """Return the state in one line. Numbers alone: nothing here names a recording."""
        try:
            state = self._state()
        except Exception:  # noqa: BLE001 - a catalog that answers with an error has answered
            return f"mounted on {self._where}"
        return status_line(self._where, state)


def status_line(where: str, state: Mapping[str, Any]) -> str:
    """Return the state of a mount in one line, for `systemctl status`.

    Args:
        where: the mount point.
        state: as `Status.status` returns it.
    """
    budget = state.get("budget", {})
    left, limit = budget.get("remaining"), budget.get("limit")
    shown = "unknown" if left is None else f"{left:.0f}" + (f" of {limit:.0f}" if limit else "")
    files, waiting = state.get("open_files", {}).get("count", 0), budget.get("waiting")
    queue = f", {waiting} waiting" if waiting else ""
    return f"mounted on {where}; files open: {files}; API requests left: {shown}{queue}"
