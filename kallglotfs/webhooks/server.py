"""The HTTP server around a receiver: waitress, with limits for what anybody may send.

Threading: one thread receives and sends, a few call the receiver; all are started by `start`, after the fork,
and have ended when `stop` returns.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from waitress import create_server, wasyncore
from waitress.channel import HTTPChannel
from waitress.task import ErrorTask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kallglotfs.webhooks.listening import Listening

log = logging.getLogger(__name__)

#: Threads that store events; a commit takes a few milliseconds.
THREADS = 4
#: Seconds that what is being stored may take when the mount ends: longer than the catalog waits for its turn.
PATIENCE = 10


@dataclass(frozen=True, slots=True)
class Limits:
    """What a sender may take.

    Attributes:
        body: bytes of a body.
        headers: bytes of all headers.
        idle: whole seconds a connection may be silent.
        request: seconds a request may take to arrive.
        connections: at one time; each may hold one body.
    """

    body: int = 256 * 1024
    headers: int = 16 * 1024
    idle: int = 10
    request: float = 20.0
    connections: int = 128


class Receiver(Protocol):
    """Who answers: `receiver.Receiver`, `exporter.Exporter`."""

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""

    def refused(self, reason: str) -> None:
        """Take note of what did not get so far."""


class Server:
    """Receives requests.

    Args:
        receiver: answers them.
        listening: where they come in.
        limits: what a sender may take.
        name: of the thread.
        threads: that answer.
    """

    def __init__(
        self,
        receiver: Receiver,
        listening: Listening,
        limits: Limits | None = None,
        name: str = "webhooks",
        threads: int = THREADS,
    ) -> None:
        self._name = name
        self._threads = threads
        self._receiver = receiver
        self._listening = listening
        self._limits = limits or Limits()
        self._server: Any = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Receive from now on."""
        # Its warnings are of what anybody can cause: connections that break, and many at a time.
        logging.getLogger("waitress").setLevel(logging.ERROR)
        limits = self._limits
        self._server = create_server(
            self._receiver,
            sockets=[self._listening.socket],
            threads=self._threads,
            ident=None,
            # It refuses what is as long as its limit.
            max_request_body_size=limits.body + 1,
            # In memory, whatever its length.
            inbuf_overflow=limits.body * 2,
            max_request_header_size=limits.headers,
            channel_timeout=limits.idle,
            cleanup_interval=1,
            # It counts its two own with them.
            connection_limit=limits.connections + 2,
            log_socket_errors=False,
            clear_untrusted_proxy_headers=False,
            # Its select() knows no file descriptor above 1023.
            asyncore_use_poll=True,
        )
        self._server.channel_class = _channel(self._receiver, limits)
        self._thread = threading.Thread(target=self._server.run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish what is being stored, end all connections and threads, and free the address."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._server.trigger.pull_trigger(self._refuse)
            self._server.task_dispatcher.shutdown(timeout=PATIENCE)
            self._server.trigger.pull_trigger(self._end)
            thread.join(PATIENCE)
        self._listening.close()

    def _refuse(self) -> None:
        """Accept no more connections; on the server's own thread."""
        self._server.accepting = False
        wasyncore.dispatcher.close(self._server)

    def _end(self) -> None:
        """Close everything, whereupon its loop ends; on the server's own thread."""
        wasyncore.close_all(self._server._map, ignore_all=True)  # noqa: SLF001 - it has no name for it


def _channel(receiver: Receiver, limits: Limits) -> type[Any]:
    """Return the class of a connection: it closes slow ones, and refuses without a word."""

    class Refusal(ErrorTask):  # type: ignore[misc] # waitress has no types
        def execute(self) -> None:
            error = self.request.error
            receiver.refused(_REASONS.get(error.code, "not HTTP"))
            self.status = f"{error.code} {error.reason}"
            self.set_close_on_finish()
            self.content_length = 0
            self.write(b"")

    class Channel(HTTPChannel):  # type: ignore[misc] # the same
        error_task_class = Refusal
        #: When the request that is arriving began to.
        began = 0.0

        def received(self, data: bytes) -> bool:
            now = time.monotonic()
            before = self.request
            if before is not None and now - self.began > limits.request:
                self.will_close = True
                return False
            taken = bool(super().received(data))
            if self.request is not before:
                self.began = now
            return taken

        def send_continue(self) -> None:
            # A body that is refused is not asked for.
            if self.request.error is None:
                super().send_continue()

    return Channel


_REASONS = {413: "too large", 431: "headers too large"}
