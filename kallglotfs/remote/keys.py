"""The API key in use, and what becomes of it when the service refuses it.

Threading: any thread may ask; reading the key's source happens outside the lock.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from kallglotfs.errors import KeyRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from kallglotfs.clock import Clock
    from kallglotfs.model import Secret

log = logging.getLogger(__name__)

#: Seconds a refused key is not offered again: one request a half minute, until it changes.
REFUSED_FOR = 30.0


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
        self._key = read()
        self._refused_until = 0.0

    def current(self) -> Secret:
        """Return the key to send.

        Raises:
            KeyRefused: this key was refused a moment ago and has not changed since; no request is spent.
        """
        with self._lock:
            key = self._key
            blocked = self._clock.now() < self._refused_until
        return self._changed(key) if blocked else key

    def refused(self, key: Secret) -> Secret:
        """Note that the service said 401 to `key` and return the one to try instead.

        Raises:
            KeyRefused: the source still holds the same key.
        """
        with self._lock:
            if key == self._key:
                self._refused_until = self._clock.now() + REFUSED_FOR
        return self._changed(key)

    def _changed(self, old: Secret) -> Secret:
        fresh = self._read()
        if fresh == old:
            raise KeyRefused("the API key is refused (401)")
        with self._lock:
            if fresh != self._key:
                self._key = fresh
                self._refused_until = 0.0
                log.info("the API key has changed, the new one is in use")
        return fresh
