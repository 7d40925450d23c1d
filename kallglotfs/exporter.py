"""Answers Prometheus over HTTP: `/metrics`, and nothing else.

With waitress, as the webhooks: it has limits for slow and many clients. The server that comes with
prometheus_client answers every path and starts a thread for each connection, however many there are.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from kallglotfs.webhooks.listening import Listening
from kallglotfs.webhooks.server import Limits, Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from kallglotfs.config.addresses import Address

log = logging.getLogger(__name__)

#: What who asks may send, and how many may at one time: a question has no body.
LIMITS = Limits(body=1024, connections=16)
PATH = "/metrics"
#: Prometheus's text format; every name here is one that its first version allows.
FORMAT = "text/plain; version=0.0.4; charset=utf-8"


class Exporter:
    """Serves the metrics of one mount. It takes its address when it is made, and answers once started.

    Args:
        address: where to listen.
        metrics: returns the metrics as text.

    Raises:
        MountError: one cannot listen there.
    """

    def __init__(self, address: Address, metrics: Callable[[], bytes]) -> None:
        self._address = address
        self._metrics = metrics
        self._listening = Listening(address, "metrics")
        self._server = Server(self, self._listening, LIMITS, "metrics", threads=1)

    def start(self) -> None:
        """Answer from now on."""
        if not self._listening.is_local:
            log.warning("metrics: %s can be reached from other machines, without TLS", self._address)
        self._server.start()
        log.info("serving metrics on %s", self._address)

    def stop(self) -> None:
        """End all connections and free the address."""
        self._server.stop()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
        """Answer one request (PEP 3333)."""
        body = b""
        kind = "text/plain; charset=utf-8"
        if environ["PATH_INFO"] != PATH:
            status = "404 Not Found"
        elif environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            status = "405 Method Not Allowed"
        else:
            status, body, kind = "200 OK", self._metrics(), FORMAT
        start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    def refused(self, reason: str) -> None:
        """Take note of what was no HTTP; called by the server."""
        log.debug("metrics: a request is refused: %s", reason)
