"""Whose certificates are believed: one TLS context per pool, made anew when the file behind it changes.

urllib3 on its own reads the bundle for every connection: 28 ms of a core for that of `certifi`.

Threading: `context` may be called from any thread; its lock is held while a small local file is read, and a
context may be used by many connections at a time.
"""

from __future__ import annotations

import logging
import os
import ssl
import threading
from pathlib import Path

import requests
from urllib3.util.ssl_ import create_urllib3_context

from kallglotfs.errors import ConfigError

log = logging.getLogger(__name__)

#: Where the certificates of a private authority may be named; the first that is set counts. The two that
#: `requests` knows may name a directory as well; then OpenSSL's own.
VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
_BUILT_IN = "certifi"


class Trust:
    """The authorities of one pool.

    Raises:
        ConfigError: the environment names certificates that are not there or are none.
    """

    def __init__(self) -> None:
        self._source, self._path = _configured()
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._context: ssl.SSLContext | None = None
        self._missing = False
        if self._source == _BUILT_IN:
            # Not before it is needed: a service that is asked by plain http never does.
            return
        try:
            self._stamp, self._context = _stamp(self._path), _load(self._path)
        except OSError as error:
            # An `ssl.SSLError` is one: a file without certificates.
            reason = "holds no certificates" if isinstance(error, ssl.SSLError) else error.strerror
            raise ConfigError(f"{self._source}: {str(self._path)!r}: {reason}") from None

    def context(self) -> ssl.SSLContext:
        """Return the context for a new connection.

        Certificates that have changed since the last one are read again. Where that fails, what was believed
        before stays believed, with a warning: an update in progress must not stop reading.

        Raises:
            OSError: the built-in certificates cannot be read.
        """
        with self._lock:
            try:
                stamp = _stamp(self._path)
                if self._context is None or stamp != self._stamp:
                    self._stamp, self._context = stamp, _load(self._path)
                self._missing = False
            except OSError:
                if self._context is None:
                    raise
                if not self._missing:
                    log.warning("%s: can no longer be read; what was read before stays in use", self._source)
                self._missing = True
            return self._context


def _configured() -> tuple[str, Path]:
    for name in VARIABLES:
        value = os.environ.get(name)
        if value:
            return name, Path(value).expanduser()
    return _BUILT_IN, Path(requests.utils.DEFAULT_CA_BUNDLE_PATH)


def _stamp(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino


def _load(path: Path) -> ssl.SSLContext:
    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
    if path.is_dir():
        context.load_verify_locations(capath=str(path))
    else:
        context.load_verify_locations(cafile=str(path))
    return context
