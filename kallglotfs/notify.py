"""Telling the service manager how it goes: systemd's notification protocol, sd_notify(3).

A datagram of `NAME=value` lines to the socket that `$NOTIFY_SOCKET` names. Written out here since it is less
than what a library for it would bring along, and since libraries leave the variable to children, who could
then speak for us. Used by `mount.py` and what it starts; without that variable nothing is sent.

Threading: every method may be called on any thread.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import MutableMapping

log = logging.getLogger(__name__)

#: Where to send to, how soon life has to be shown (microseconds), and by which process.
SOCKET, WATCHDOG, WATCHDOG_PID = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"
#: Seconds a message may wait for room in the manager's queue: one that is stuck must not hold us up.
PATIENCE = 5.0
_MICROSECONDS = 1_000_000


class Notifier:
    """Tells the service manager, where there is one.

    Args:
        address: `/path` or `@abstract`; empty for nobody.
        watchdog: seconds within which `alive` must be called again and again; None for never.
    """

    def __init__(self, address: str = "", watchdog: float | None = None) -> None:
        self.watchdog = watchdog
        # An abstract socket's name begins with a zero byte (unix(7)).
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        #: Held while sending: what is true later must not arrive earlier.
        self._sending = threading.Lock()
        self._status = ""
        self._failed = False

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str] = os.environ) -> Notifier:
        """Make one from what the manager has put into the environment, and take it out: not for children.

        Args:
            environ: where the variables are; changed.
        """
        address = environ.pop(SOCKET, "")
        period, process = environ.pop(WATCHDOG, ""), environ.pop(WATCHDOG_PID, "")
        if not address.startswith(("/", "@")):
            return cls()
        asked = period.isdecimal() and int(period) > 0 and process in ("", str(os.getpid()))
        return cls(address, int(period) / _MICROSECONDS if asked else None)

    @property
    def listening(self) -> bool:
        """Whether there is somebody to tell."""
        return bool(self._address)

    def ready(self, status: str = "") -> None:
        """Say that we serve: after the start, and after `reloading`.

        Args:
            status: one line for `systemctl status`; what was said last where empty.
        """
        self._send("READY=1", *self._status_line(status))

    def reloading(self) -> None:
        """Say that the settings are read anew; `ready` says when that is done."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now}")

    def stopping(self) -> None:
        """Say that we are about to end."""
        self._send("STOPPING=1", *self._status_line("stopping"))

    def status(self, text: str) -> None:
        """Say how it goes, for `systemctl status`; nothing is sent when that was said last.

        Args:
            text: one line.
        """
        if text != self._status:
            self._send(*self._status_line(text))

    def alive(self) -> None:
        """Say that a check has just shown that we serve."""
        self._send("WATCHDOG=1")

    def _status_line(self, text: str) -> list[str]:
        self._status = " ".join(text.split()) or self._status
        return [f"STATUS={self._status}"] if self._status else []

    def _send(self, *lines: str) -> None:
        """Send one message; a manager that cannot be told is logged once, and is no failure of ours."""
        if not self._address:
            return
        message = "\n".join(lines).encode(errors="replace")
        try:
            with self._sending, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
                out.settimeout(PATIENCE)
                out.sendto(message, self._address)
        except OSError as error:
            log.log(
                logging.DEBUG if self._failed else logging.WARNING,
                "the service manager cannot be told: %s",
                error.strerror or "it takes no message",
            )
            self._failed = True
