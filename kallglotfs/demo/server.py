"""Both servers of the demo service, in threads of this process.

Threading: each server has a thread and an event loop; the methods here may be called from any other.
"""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import uvicorn

from kallglotfs.demo import webhooks
from kallglotfs.demo.api import BASE, ApiApp
from kallglotfs.demo.knobs import Knobs
from kallglotfs.demo.library import Library
from kallglotfs.demo.objects import recording_object
from kallglotfs.demo.service import Service
from kallglotfs.demo.sources import Fixed, Voice
from kallglotfs.demo.storage import StorageApp
from kallglotfs.demo.wire import RawProtocol
from kallglotfs.model import Status

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from kallglotfs.demo.library import DemoRecording
    from kallglotfs.demo.requestlog import RequestLog

API_KEY = "sk_test_demo0123456789"
#: Seconds a server may take to start or to stop.
PATIENCE = 10.0


class DemoServer:
    """A Kallglot on localhost.

    Args:
        knobs: how it behaves; changed at any time.
        api_key: the key it accepts.
        host: address to listen on.
        api_port: 0 for a free one.
        storage_port: 0 for a free one.
    """

    def __init__(
        self,
        knobs: Knobs | None = None,
        *,
        api_key: str = API_KEY,
        host: str = "127.0.0.1",
        api_port: int = 0,
        storage_port: int = 0,
    ) -> None:
        self._original_key = api_key
        self._sockets = [_listening(host, api_port), _listening(host, storage_port)]
        api, storage = (f"http://{host}:{each.getsockname()[1]}" for each in self._sockets)
        self._service = Service(knobs or Knobs(), api_key, storage)
        self.api_url = f"{api}{BASE}"
        self.control_url = f"{api}/_demo"
        self.storage_url = storage
        self._servers: list[tuple[uvicorn.Server, threading.Thread]] = []

    @property
    def api_key(self) -> str:
        """The key that is accepted now."""
        return self._service.api_key

    @property
    def knobs(self) -> Knobs:
        """How it behaves."""
        return self._service.knobs

    @property
    def public_storage_url(self) -> str:
        """The origin that signed URLs name: the storage's own, unless something stands in front of it."""
        return self._service.storage_url

    @public_storage_url.setter
    def public_storage_url(self, url: str) -> None:
        self._service.storage_url = url

    @property
    def requests(self) -> RequestLog:
        """What was asked of it."""
        return self._service.log

    @property
    def calls(self) -> list[DemoRecording]:
        """The shipped recordings, newest first."""
        return [row for row in self._service.library.recordings() if isinstance(row.source, Voice)]

    def start(self) -> None:
        """Start both servers; returns when they answer."""
        apps: list[ASGIApp] = [ApiApp(self._service), StorageApp(self._service)]
        for listening, app in zip(self._sockets, apps, strict=True):
            config = uvicorn.Config(
                app, http=RawProtocol, lifespan="off", log_config=None, access_log=False, date_header=False,
                server_header=False, ws="none", timeout_keep_alive=60, backlog=1024,
            )  # fmt: skip
            server = uvicorn.Server(config)
            thread = threading.Thread(
                target=server.run, args=([listening],), name="kallglot-demo", daemon=True
            )
            thread.start()
            self._servers.append((server, thread))
        ends = time.monotonic() + PATIENCE
        while not all(server.started for server, _ in self._servers):
            if time.monotonic() > ends:
                raise TimeoutError("the demo service did not start")
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop both servers, open connections or not."""
        for server, _ in self._servers:
            server.should_exit = server.force_exit = True
        for _, thread in self._servers:
            thread.join(PATIENCE)
        self._servers.clear()
        for listening in self._sockets:
            listening.close()
        self._service.close()

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        """Stop."""
        self.stop()

    def reset(self) -> None:
        """Put everything back as it was at the start: knobs, key, recordings, budget, log."""
        self.knobs.change(Knobs().as_json())
        self._service.set_api_key(self._original_key)
        self._service.storage_url = self.storage_url
        self._service.library = Library()
        self._service.rate_limit.clear()
        self._service.log.clear()

    def audio(self, recording_id: str, audio_format: str | None = None, rate: int = 0) -> bytes:
        """Return the bytes the service serves.

        Args:
            recording_id: which recording.
            audio_format: None for the native one.
            rate: Hz; 0 for the original.

        Raises:
            KeyError: there is no such recording.
        """
        service = self._service
        return service.renditions.make(service.version(self._row(recording_id), audio_format, rate))

    def revoke_urls(self) -> None:
        """Refuse every URL signed so far."""
        self._service.signer.revoke()

    def set_api_key(self, new: str) -> None:
        """Accept `new` from now on."""
        self._service.set_api_key(new)

    def add_recording(self, recording_id: str, size: int, **facts: Any) -> DemoRecording:
        """Add a recording of random but reproducible bytes; see `Service.add_noise`."""
        return self._service.add_noise(recording_id, size, **facts)

    def remove_recording(self, recording_id: str) -> None:
        """Delete a recording."""
        self._service.library.remove(recording_id)

    def set_status(self, recording_id: str, status: str) -> None:
        """Let a recording become ready, say."""
        self._service.library.change(recording_id, status=Status(status))

    def replace_content(self, recording_id: str, content: bytes) -> None:
        """Give a recording's native format other bytes: another size, ETag and Last-Modified."""
        row = self._row(recording_id)
        self._service.library.change(
            recording_id,
            source=Fixed(content, row.format, row.sample_rate),
            version=row.version + 1,
            modified=datetime.now(UTC).replace(microsecond=0),
        )

    def recording_object(self, recording_id: str) -> dict[str, Any]:
        """Return a recording as the API shows it, for the `data` of a webhook; costs no request.

        Raises:
            KeyError: there is no such recording.
        """
        return asyncio.run(recording_object(self._service, self._row(recording_id), base=BASE))

    def send_webhook(
        self,
        url: str,
        event_type: str,
        subject: dict[str, Any],
        secret: str,
        *,
        timestamp: int | None = None,
        event_id: str | None = None,
    ) -> int:
        """Deliver a signed event; see `webhooks.send`."""
        return webhooks.send(url, event_type, subject, secret, timestamp=timestamp, event_id=event_id)

    def _row(self, recording_id: str) -> DemoRecording:
        row = self._service.library.find(recording_id)
        if row is None:
            raise KeyError(recording_id)
        return dataclasses.replace(row)


def _listening(host: str, port: int) -> socket.socket:
    listening = socket.create_server((host, port), backlog=1024)
    listening.set_inheritable(False)
    # asyncio sets it only on sockets that name their protocol, which `create_server` does not: headers and
    # body then wait for each other's acknowledgement, 40 ms an answer. Accepted sockets inherit it.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
