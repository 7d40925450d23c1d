"""Whose certificates are believed: one TLS context per pool, made anew when the file behind it changes.

urllib3 on its own reads the bundle for every connection: 28 ms of a core with the 140 certificates of `certifi`.

Threading: `context` may be called from any thread; a context may be used by many connections at a time.
"""

from __future__ import annotations

import logging
import os
import ssl
import threading
from pathlib import Path

from requests.certs import where
from urllib3.util.ssl_ import create_urllib3_context

from kallglotfs.errors import ConfigError

log = logging.getLogger(__name__)

#: Where the certificates of a private authority may be named, the first that is set counts: the two of `requests`,
#: which may also name a directory, then OpenSSL's own.
VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


class Trust:
    """The authorities of one pool.

    Raises:
        ConfigError: the environment names certificates that are not there or are none.
    """

    def __init__(self) -> None:
        self._source, self._path = _configured()
        self._lock = threading.Lock()
        try:
            self._stamp = _stamp(self._path)
            self._context = _load(self._path)
        except OSError as error:
            # An `ssl.SSLError` is one: a file without certificates.
            reason = "holds no certificates" if isinstance(error, ssl.SSLError) else error.strerror
            raise ConfigError(f"{self._source}: {str(self._path)!r}: {reason}") from None

    def context(self) -> ssl.SSLContext:
        """Return the context for a new connection.

        Certificates that have changed since the last one are read again. Where that fails, what was believed
        before stays believed, with a warning: an update in progress must not stop reading.
        """
        try:
            stamp = _stamp(self._path)
            if stamp == self._stamp:
                return self._context
            context = _load(self._path)
        except OSError:
            log.warning("%s can no longer be read; the certificates read before stay in use", self._source)
            return self._context
        with self._lock:
            self._stamp, self._context = stamp, context
        return context


def _configured() -> tuple[str, Path]:
    for name in VARIABLES:
        value = os.environ.get(name)
        if value:
            return name, Path(value).expanduser()
    return "certifi", Path(where())


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
