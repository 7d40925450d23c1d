"""The API key in use, and what becomes of it when the service refuses it.

A refused key is offered once in half a minute, by one thread for all, in case the service changes its mind;
meanwhile its source is read again, at most once a second, so that a new key works at once. A source that
cannot be read for a moment, as while a key is being replaced, changes nothing: the next look finds it.

Threading: any thread may ask; reading the key's source happens outside the lock.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from kallglotfs.errors import CredentialError, KeyRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from kallglotfs.clock import Clock
    from kallglotfs.model import Secret

log = logging.getLogger(__name__)

#: Seconds a refused key is not offered again: one request a half minute, until it changes.
REFUSED_FOR = 30.0
#: Seconds between two looks at the source of a refused key: a keyring is asked over D-Bus.
LOOK = 1.0


class ApiKey:
    """Holds the key and reads it again when it was refused, so that rotation needs no remount.

    Args:
        read: reads the key from where it is kept; raises `CredentialError`.
        clock: what tells the time.
    """

    def __init__(self, read: Callable[[], Secret], clock: Clock) -> None:
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._looked = threading.Condition(self._lock)
        #: Threads that read the source now because they were refused.
        self._looking = 0
        self._key = read()
        #: While the key is refused: when it may be offered again, and when its source is next looked at.
        self._offered_again: float | None = None
        self._next_look = 0.0
        self._offering = False
        self._refused: Secret | None = None

    def check(self) -> None:
        """Make sure that there is a key which may be sent now.

        Raises:
            KeyRefused: the key was refused a moment ago and has not changed since; no request is spent.
        """
        self._usable(offer=False)

    def current(self) -> Secret:
        """Return the key to send now.

        Raises:
            KeyRefused: as `check`.
        """
        return self._usable(offer=True)

    def _usable(self, *, offer: bool) -> Secret:
        with self._lock:
            if self._offered_again is None:
                return self._key
            # The key may have been rotated: whoever was refused first is finding that out.
            self._looked.wait_for(lambda: not self._looking, LOOK)
            if self._offered_again is None:
                return self._key
            now = self._clock.now()
            look = now >= self._next_look
            if look:
                self._next_look = now + LOOK
        if look:
            self._look()
        with self._lock:
            if self._offered_again is None:
                return self._key
            if now < self._offered_again:
                raise KeyRefused("the API key is refused (401)")
            if offer:
                # One for all: who comes while this one is on its way is told that the key is refused.
                self._offered_again = now + REFUSED_FOR
                self._offering = True
            return self._key

    def renew(self) -> None:
        """Read the key's source now: somebody says that it has changed."""
        self._look()

    def accepted(self, key: Secret) -> None:
        """Note that the service took `key`; one that was on its way when it was refused proves nothing."""
        with self._lock:
            if not self._offering or key != self._key:
                return
            self._offering = False
            self._offered_again = None
        log.info("the API key is accepted again")

    def refused(self, key: Secret) -> None:
        """Note that the service said 401 to `key`, and look for another one.

        Raises:
            KeyRefused: the source still holds the same key, or none.
        """
        with self._lock:
            if key == self._key:
                if self._offered_again is None:
                    log.warning("the API key is refused (401); looking for another one at every request")
                self._offered_again = self._clock.now() + REFUSED_FOR
                self._next_look = self._clock.now() + LOOK
                self._offering = False
                self._refused = key
            # Else somebody was refused before us and has found another one.
            blocked = self._offered_again is not None
            self._looking += blocked
        if not blocked:
            return
        try:
            found = self._look()
        finally:
            with self._lock:
                self._looking -= 1
                self._looked.notify_all()
        if not found:
            raise KeyRefused("the API key is refused (401)")

    def _look(self) -> bool:
        """Read the key's source; tell whether it holds another key now."""
        try:
            fresh = self._read()
        except CredentialError as error:
            log.debug("no other API key yet: %s", error)
            return False
        with self._lock:
            if fresh in (self._key, self._refused):
                # Another thread may have found a new one while we were reading the old one.
                return self._offered_again is None
            self._key = fresh
            self._offered_again = None
        log.info("the API key has changed, the new one is in use")
        return True
