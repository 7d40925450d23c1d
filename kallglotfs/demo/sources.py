"""Where a recording's bytes come from: a voice file, a seed, or bytes a test gave."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from kallglotfs.demo import audio

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Source(Protocol):
    """Makes the bytes of one recording in any format."""

    @property
    def version(self) -> str:
        """What changes when the bytes do."""

    def render(self, audio_format: str, rate: int, *, mono: bool) -> bytes:
        """Return the whole file.

        Args:
            audio_format: `mp3`, `wav` or `ogg`.
            rate: Hz.
            mono: both sides on one channel.
        """


@dataclass(frozen=True)
class Voice:
    """A call that was recorded beforehand.

    Args:
        path: the FLAC file, agent left and customer right.
        channel: `agent`, `customer` or `mixed` (both, stereo).
        repeats: how often it is tiled, for long calls.
    """

    path: Path
    channel: str
    repeats: int = 1

    @property
    def version(self) -> str:
        """The file's name: voices do not change while the service runs."""
        return f"{self.path.name}/{self.channel}/{self.repeats}"

    def render(self, audio_format: str, rate: int, *, mono: bool) -> bytes:
        """Return the call; one tile is converted, whatever the length."""
        samples, native = audio.decode(self.path)
        if self.channel != "mixed":
            samples = samples[:, :1] if self.channel == "agent" else samples[:, 1:]
        elif mono:
            samples = audio.mix(samples)
        return audio.encode(audio.resample(samples, native, rate), rate, audio_format, repeats=self.repeats)


@dataclass(frozen=True)
class Noise:
    """Random but reproducible bytes, for tests and benchmarks: no sound.

    Args:
        seed: the same seed gives the same bytes.
        size: bytes of every format that `sizes` does not name.
        sizes: format to bytes.
    """

    seed: str
    size: int
    sizes: Mapping[str, int] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """The seed and the sizes."""
        return f"{self.seed}/{self.size}/{sorted(self.sizes.items())}"

    def render(self, audio_format: str, rate: int, *, mono: bool) -> bytes:  # noqa: ARG002 - noise is noise
        """Return the bytes of that format and rate."""
        seed = hashlib.sha256(f"{self.seed}.{audio_format}@{rate}".encode()).digest()
        generator = np.random.default_rng(int.from_bytes(seed, "big"))
        return generator.bytes(self.sizes.get(audio_format, self.size))


@dataclass(frozen=True)
class Fixed:
    """Bytes a test gave, for one format; the others are noise of the same length.

    Args:
        content: the bytes.
        audio_format: the format they stand for.
        rate: and its rate, Hz.
    """

    content: bytes
    audio_format: str
    rate: int

    @property
    def version(self) -> str:
        """The content's digest."""
        return hashlib.sha256(self.content).hexdigest()

    def render(self, audio_format: str, rate: int, *, mono: bool) -> bytes:
        """Return the given bytes, or noise."""
        if (audio_format, rate) == (self.audio_format, self.rate):
            return self.content
        return Noise(self.version, len(self.content)).render(audio_format, rate, mono=mono)
