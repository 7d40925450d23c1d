"""Sound: the same in every process, as long as it should be, at every rate."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from kallglotfs.demo.library import VOICES
from kallglotfs.demo.sources import Voice
from kallglotfs.model import FORMATS, RATES

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import hashlib, sys
from kallglotfs.demo.library import VOICES
from kallglotfs.demo.sources import Voice
content = Voice(VOICES / "clinic.flac", "mixed").render(sys.argv[1], 8000, mono=False)
print(hashlib.sha256(content).hexdigest())
"""


@pytest.mark.parametrize("audio_format", FORMATS)
def test_every_process_makes_the_same_bytes(audio_format: str) -> None:
    """Otherwise a restart would look like a new version of every recording."""
    here = Voice(VOICES / "clinic.flac", "mixed").render(audio_format, 8000, mono=False)
    there = subprocess.run(
        [sys.executable, "-c", PROGRAM, audio_format], check=True, capture_output=True, text=True
    )
    assert there.stdout.strip() == hashlib.sha256(here).hexdigest()


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("audio_format", FORMATS)
@pytest.mark.parametrize("repeats", [1, 3])
def test_a_call_lasts_as_long_in_every_format_at_every_rate(
    audio_format: str, rate: int, repeats: int, tmp_path: Path
) -> None:
    """By ffprobe's word, tiled or not."""
    path = tmp_path / f"call.{audio_format}"
    path.write_bytes(Voice(VOICES / "clinic.flac", "agent", repeats).render(audio_format, rate, mono=False))
    command = ["ffprobe", "-v", "error", "-show_entries", "format=duration:stream=sample_rate"]
    said = subprocess.run([*command, "-of", "csv=p=0", path], check=True, capture_output=True)
    found_rate, duration = said.stdout.decode().split()
    assert int(found_rate) == rate
    # MP3 fills its last frame and says nothing of it.
    assert float(duration) == pytest.approx(19.799 * repeats, abs=0.2 * repeats)
