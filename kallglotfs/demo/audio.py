"""Sound: decode, resample, encode. The same samples always give the same bytes.

Users: `sources` for what the service serves, `scripts/make-demo-calls` for making the voices.
"""

from __future__ import annotations

import io
import math
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    #: 16-bit samples, one row per frame, one column per channel.
    Samples = NDArray[np.int16]

_SUBTYPES = {"mp3": "MPEG_LAYER_III", "wav": "PCM_16", "ogg": "VORBIS"}
#: Half the length of the resampling filter, in samples of the slower side.
_FILTER_HALF = 16
#: Frames per write: libsndfile's Vorbis encoder puts a whole write on its stack and dies of a long one.
_WRITE = 8192
_FULL_SCALE = 32767
_REVERSED = bytes(int(f"{each:08b}"[::-1], 2) for each in range(256))


def decode(path: Path) -> tuple[Samples, int]:
    """Return the samples of a sound file and their rate in Hz."""
    samples, rate = soundfile.read(path, dtype="int16", always_2d=True)
    return samples, rate


def mix(samples: Samples) -> Samples:
    """Return one channel that is the mean of all."""
    mean: Samples = samples.mean(axis=1, keepdims=True).astype(np.int16)
    return mean


def resample(samples: Samples, source: int, target: int) -> Samples:
    """Return `samples` at another rate, through a windowed sinc, phase by phase.

    Args:
        samples: what to convert.
        source: its rate in Hz.
        target: the wanted rate in Hz.
    """
    if source == target:
        return samples
    common = math.gcd(source, target)
    up, down = target // common, source // common
    cutoff = min(1.0, up / down)
    half = math.ceil(_FILTER_HALF / cutoff)
    frames = -(-len(samples) * up // down)
    padded = np.pad(samples.astype(np.float64), ((half, half + down + 1), (0, 0)))
    result = np.zeros((frames, samples.shape[1]))
    taps = np.arange(-half + 1, half + 1)
    for phase in range(up):
        # Output frames phase, phase + up, ... all lie the same fraction behind an input frame.
        count = len(range(phase, frames, up))
        first, fraction = divmod(phase * down, up)
        distance = taps - fraction / up
        window = np.cos(np.pi / 2 * np.clip(distance / half, -1, 1)) ** 2
        weights = np.sinc(distance * cutoff) * window
        weights /= weights.sum()
        for tap, weight in zip(taps, weights, strict=True):
            start = half + first + int(tap)
            result[phase::up] += weight * padded[start : start + count * down : down][:count]
    return np.clip(np.rint(result), -_FULL_SCALE - 1, _FULL_SCALE).astype(np.int16)


def encode(samples: Samples, rate: int, audio_format: str, *, repeats: int = 1) -> bytes:
    """Return a complete file.

    Args:
        samples: the sound.
        rate: its rate in Hz.
        audio_format: `mp3`, `wav` or `ogg`.
        repeats: how often it is played one after the other. An hour costs no time as WAV, 0.3 s as MP3 (whose
            frames are repeated, encoded once: encoding them all took 32 s) and 6 s as Vorbis.
    """
    if audio_format == "mp3" and repeats > 1:
        frames = without_info_frame(
            _encode(samples, rate, "mp3", bitrate_mode="CONSTANT", compression_level=0.5)
        )
        return frames * repeats
    if audio_format == "ogg":
        return with_fixed_serial(_encode(samples, rate, "ogg", repeats))
    return _encode(samples, rate, audio_format, repeats)


def _encode(samples: Samples, rate: int, audio_format: str, repeats: int = 1, **quality: Any) -> bytes:
    target = io.BytesIO()
    with soundfile.SoundFile(
        target,
        "w",
        samplerate=rate,
        channels=samples.shape[1],
        format=audio_format.upper(),
        subtype=_SUBTYPES[audio_format],
        **quality,
    ) as sound:
        for _ in range(repeats):
            for start in range(0, len(samples), _WRITE):
                sound.write(samples[start : start + _WRITE])
    return target.getvalue()


def without_info_frame(mp3: bytes) -> bytes:
    """Return an MP3 without the first frame where that only tells how long the file is.

    Args:
        mp3: whole frames of layer III; their header is described in ISO/IEC 13818-3, 2.4.2.3.

    Raises:
        ValueError: this is not MP3.
    """
    if len(mp3) < 4 or mp3[0] != 0xFF or mp3[1] & 0xE6 != 0xE2:  # noqa: PLR2004 - sync and layer III
        raise ValueError("not an MP3 frame")
    first = mp3.index(b"\xff" + mp3[1:2], 4)
    while mp3[first + 2] & 0x0C != mp3[2] & 0x0C:  # the same bytes within the frame, not a header
        first = mp3.index(b"\xff" + mp3[1:2], first + 1)
    head = mp3[:first]
    return mp3[first:] if b"Xing" in head or b"Info" in head else mp3


def with_fixed_serial(ogg: bytes) -> bytes:
    """Return an Ogg file with the stream's serial number zeroed: libsndfile draws it at random.

    Args:
        ogg: whole pages, as RFC 3533 section 6 describes them.

    Raises:
        ValueError: this is not Ogg.
    """
    pages = bytearray(ogg)
    at = 0
    while at < len(pages):
        if pages[at : at + 4] != b"OggS":
            raise ValueError("not an Ogg page")
        segments = pages[at + 26]
        body = at + 27 + segments
        end = body + sum(pages[at + 27 : body])
        pages[at + 14 : at + 18] = bytes(4)
        pages[at + 22 : at + 26] = bytes(4)
        pages[at + 22 : at + 26] = _ogg_crc(pages[at:end]).to_bytes(4, "little")
        at = end
    return bytes(pages)


def _ogg_crc(page: bytes | bytearray) -> int:
    # Ogg's CRC is zlib's mirrored, without its start and end inversions: 1000 times faster than a loop.
    mirrored = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)
