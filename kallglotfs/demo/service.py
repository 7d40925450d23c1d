"""What the API, the storage and the control routes share: the state of the demo service.

Threading: the parts say for themselves what they stand; conversions run in this object's own threads.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import formatdate
from typing import TYPE_CHECKING

from kallglotfs.demo.library import DemoRecording, Library
from kallglotfs.demo.ratelimit import RateLimit
from kallglotfs.demo.renditions import GENERATION_2_FORMAT, GENERATION_2_RATE, Renditions, Version
from kallglotfs.demo.requestlog import RequestLog
from kallglotfs.demo.signing import Signer
from kallglotfs.demo.sources import Noise
from kallglotfs.model import Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kallglotfs.demo.knobs import Knobs

_CONVERTERS = 2
_CREDITS = 100_000


class Service:
    """The state behind both servers.

    Args:
        knobs: how it behaves.
        api_key: the key it accepts.
        storage_url: origin of the storage as signed URLs name it, without a final slash.
    """

    def __init__(self, knobs: Knobs, api_key: str, storage_url: str) -> None:
        self.knobs = knobs
        self.storage_url = storage_url
        self.library = Library()
        self.renditions = Renditions()
        self.signer = Signer()
        self.log = RequestLog()
        self.rate_limit = RateLimit()
        self.credits_used = 0
        self.credits_total = _CREDITS
        self._api_key = api_key
        self._revoked: set[str] = set()
        self._converters = ThreadPoolExecutor(_CONVERTERS, thread_name_prefix="kallglot-demo-convert")
        self._converted: set[str] = set()
        self._issued: dict[str, str] = {}

    @property
    def api_key(self) -> str:
        """The key that is accepted now."""
        return self._api_key

    def set_api_key(self, new: str) -> None:
        """Accept `new` from now on; the old one is refused as revoked."""
        self._revoked.add(self._api_key)
        self._revoked.discard(new)
        self._api_key = new

    def refuses_key(self, key: str | None) -> str | None:
        """Return the error code for a key, or None when it is the right one."""
        if key is not None and secrets.compare_digest(key.encode(), self._api_key.encode()):
            return None
        return "revoked_api_key" if key in self._revoked else "invalid_api_key"

    def now(self) -> float:
        """Return the Unix time, as the service believes."""
        return time.time() + self.knobs.clock_skew

    def date(self) -> str:
        """Return the service's time for a Date header."""
        return formatdate(self.now(), usegmt=True)

    def alive(self, recording_id: str) -> DemoRecording | None:
        """Return a recording whose retention has not ended, or None."""
        row = self.library.find(recording_id)
        if row is None or row.expires_at is None:
            return row
        return row if datetime.fromtimestamp(self.now(), UTC) < row.expires_at else None

    def add_noise(
        self,
        recording_id: str,
        size: int,
        *,
        format: str = "mp3",  # noqa: A002 - the API's own word
        sizes: Mapping[str, int] | None = None,
        session_id: str | None = None,
        status: str = "ready",
        channel: str = "mixed",
        duration: float = 60.0,
        created_at: datetime | None = None,
        expires_at: datetime | None = None,
    ) -> DemoRecording:
        """Add a recording of random but reproducible bytes, for tests and benchmarks.

        Args:
            recording_id: its id; one that is there is replaced.
            size: bytes of every format that `sizes` does not name.
            format: the native format.
            sizes: format to bytes.
            session_id: None for a session of its own.
            status: processing, ready or failed.
            channel: agent, customer or mixed.
            duration: seconds.
            created_at: aware time; None for 1 March 2026.
            expires_at: end of retention, aware; None for never.
        """
        moment = created_at or datetime(2026, 3, 1, tzinfo=UTC)
        row = DemoRecording(
            id=recording_id,
            session_id=session_id or recording_id.replace("rec_", "sess_"),
            source=Noise(recording_id, size, sizes or {}),
            channel=channel,
            status=Status(status),
            format=format,
            duration=duration,
            created_at=moment,
            modified=moment,
            expires_at=expires_at,
        )
        self.library.add(row)
        return row

    def version(self, row: DemoRecording, audio_format: str | None = None, rate: int = 0) -> Version:
        """Return what stands for a recording in this generation.

        Args:
            row: the recording.
            audio_format: None for the native one.
            rate: Hz; 0 for the original.
        """
        if self.knobs.generation == 1:
            return Version(row, audio_format or row.format, rate or row.sample_rate)
        return Version(row, GENERATION_2_FORMAT, GENERATION_2_RATE, mono=True)

    async def content(self, version: Version) -> bytes:
        """Return a rendition's bytes, made in a thread where they are not ready."""
        if not version.native and self.knobs.generation == 1 and version.tag not in self._converted:
            await asyncio.sleep(self.knobs.conversion_delay)
            self._converted.add(version.tag)
        content = self.renditions.kept(version)
        if content is None:
            loop = asyncio.get_running_loop()
            content = await loop.run_in_executor(self._converters, self.renditions.make, version)
        return content

    def issue_url(self, version: Version, *, same: bool = False) -> str:
        """Return a signed URL.

        Args:
            version: what it opens.
            same: hand out the last one once more, whatever became of it.
        """
        path = f"/recordings/{version.name}"
        if same and path in self._issued:
            return self._issued[path]
        signed = self.signer.sign(
            path,
            self.knobs.url_lifetime,
            shown_skew=self.knobs.clock_skew,
            show_expires=self.knobs.send_expires,
        )
        self._issued[path] = self.storage_url + signed
        return self._issued[path]

    def close(self) -> None:
        """Start no more conversions; one in progress ends by itself."""
        self._converters.shutdown(wait=False, cancel_futures=True)
