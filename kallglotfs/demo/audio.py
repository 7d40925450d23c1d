"""Sound: decode, resample, encode. The same samples always give the same bytes.

Users: `sources` for what the service serves, `scripts/make-demo-calls` for making the voices.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from typing import TYPE_CHECKING

import lameenc
import numpy as np
import soundfile

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    #: 16-bit samples, one row per frame, one column per channel.
    Samples = NDArray[np.int16]

_SUBTYPES = {"wav": "PCM_16", "ogg": "VORBIS"}
#: Half the length of the resampling filter, in samples of the slower side.
_FILTER_HALF = 16
#: Frames per write: libsndfile's Vorbis encoder puts a whole write on its stack and dies of a long one.
_WRITE = 8192
_FULL_SCALE = 32767
#: Bit rates of MP3 per channel, kbit/s, at telephone rates (Hz, up to) and above.
_SLOW, _SLOW_KBPS, _FAST_KBPS = 24000, 16, 64
#: Flags of an Info tag: the numbers of frames and of bytes follow.
_HAS_FRAMES_AND_BYTES = 3
#: LAME's 0 (best) to 9 (fastest).
_LAME_QUALITY = 5
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
        repeats: how often it is played one after the other. An hour costs no time as WAV or MP3 (whose frames
            are encoded once and repeated) and 6 s as Vorbis.
    """
    if audio_format == "mp3":
        return _encode_mp3(samples, rate, repeats)
    target = io.BytesIO()
    with soundfile.SoundFile(
        target,
        "w",
        samplerate=rate,
        channels=samples.shape[1],
        format=audio_format.upper(),
        subtype=_SUBTYPES[audio_format],
    ) as sound:
        for _ in range(repeats):
            for start in range(0, len(samples), _WRITE):
                sound.write(samples[start : start + _WRITE])
    encoded = target.getvalue()
    return with_fixed_serial(encoded) if audio_format == "ogg" else encoded


def _encode_mp3(samples: Samples, rate: int, repeats: int) -> bytes:
    """Return an MP3 of one bit rate, whose frames may follow each other in any number.

    libsndfile's own MP3 differs from process to process (12 processes, 12 files), LAME's by itself does not.
    """
    channels = samples.shape[1]
    encoder = lameenc.Encoder()
    encoder.silence()
    encoder.set_channels(channels)
    encoder.set_in_sample_rate(rate)
    encoder.set_out_sample_rate(rate)
    kbps = channels * (_SLOW_KBPS if rate <= _SLOW else _FAST_KBPS)
    encoder.set_bit_rate(kbps)
    encoder.set_quality(_LAME_QUALITY)
    frames = bytes(encoder.encode(samples.tobytes()) + encoder.flush()) * repeats
    return _info_frame(frames, channels, kbps, rate) + frames


def _info_frame(frames: bytes, channels: int, kbps: int, rate: int) -> bytes:
    """Return the silent first frame that tells how long the file is, so that players need not read it all.

    The frame is layer III of ISO/IEC 11172-3 and 13818-3; the tag in it is LAME's "Info", which stands where
    Xing's does: behind the side information.
    """
    first_version = rate > _SLOW
    length = (144 if first_version else 72) * kbps * 1000 // rate
    count = at = 0
    while at < len(frames):
        padding = frames[at + 2] >> 1 & 1
        at += length + padding
        count += 1
    side = {(True, 2): 32, (True, 1): 17, (False, 2): 17, (False, 1): 9}[first_version, channels]
    frame = bytearray(length)
    # The same header as the others', without padding.
    frame[:4] = frames[:2] + bytes([frames[2] & 0xFD]) + frames[3:4]
    frame[4 + side : 20 + side] = b"Info" + struct.pack(
        ">III", _HAS_FRAMES_AND_BYTES, count, length + len(frames)
    )
    return bytes(frame)


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
