"""Finished files: each rendition is made once and then served from memory.

Threading: any thread may ask; the same rendition is made by one of them while the others wait.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kallglotfs.demo.library import DemoRecording

#: Bytes kept; beyond it the longest unused go, and are made again when asked for. An hour as 48 kHz stereo
#: WAV is 0.7 GB.
_KEPT = 1 << 30
GENERATION_2_FORMAT = "mp3"
GENERATION_2_RATE = 8000


@dataclass(frozen=True, slots=True)
class Version:
    """One version of one rendition.

    Attributes:
        recording: as it was when this was asked for.
        format: `mp3`, `wav` or `ogg`.
        rate: Hz; always a real one.
        mono: both sides on one channel, as generation 2 streams.
    """

    recording: DemoRecording
    format: str
    rate: int
    mono: bool = False

    @property
    def native(self) -> bool:
        """Tell whether nothing needs converting."""
        return (self.format, self.rate) == (self.recording.format, self.recording.sample_rate)

    @property
    def name(self) -> str:
        """The file's name on the storage."""
        rate = "" if self.rate == self.recording.sample_rate else f"-{self.rate}"
        return f"{self.recording.id}{rate}.{self.format}"

    @property
    def tag(self) -> str:
        """What the ETag holds: another for other bytes, the same in every process."""
        row = self.recording
        text = f"{row.id}/{row.source.version}/{row.version}/{self.format}/{self.rate}/{self.mono}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]


class Renditions:
    """Makes files and keeps them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: OrderedDict[str, bytes] = OrderedDict()
        self._making: dict[str, threading.Lock] = {}

    def kept(self, version: Version) -> bytes | None:
        """Return the file if it is ready."""
        with self._lock:
            content = self._files.get(version.tag)
            if content is not None:
                self._files.move_to_end(version.tag)
            return content

    def make(self, version: Version) -> bytes:
        """Return the file; takes as long as it takes (see `audio.encode`)."""
        with self._lock:
            turn = self._making.setdefault(version.tag, threading.Lock())
        with turn:
            content = self.kept(version)
            if content is None:
                content = version.recording.source.render(version.format, version.rate, mono=version.mono)
                self._keep(version.tag, content)
        return content

    def _keep(self, tag: str, content: bytes) -> None:
        with self._lock:
            self._files[tag] = content
            self._making.pop(tag, None)
            total = sum(map(len, self._files.values()))
            while total > _KEPT and len(self._files) > 1:
                _, dropped = self._files.popitem(last=False)
                total -= len(dropped)
