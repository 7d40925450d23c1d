"""Transcripts as text and as WebVTT, whatever a service sends for one."""

from __future__ import annotations

import html
import json
import re
import subprocess
import unicodedata
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kallglotfs.model import Transcript, Turn
from kallglotfs.remote.session_schema import Reading
from kallglotfs.vfs.dialogue import begin_of, dialogue, subtitles

if TYPE_CHECKING:
    from pathlib import Path

STAMP = re.compile(r"(\d{2,}):([0-5]\d):([0-5]\d)\.(\d{3})")
CALL = 1_772_442_886.0


def cues(track: bytes) -> list[tuple[float, float, str, str]]:
    """Parse WebVTT strictly: start, end, voice and text of each cue; anything odd fails."""
    text = track.decode("utf-8")
    assert "\0" not in text
    assert "\r" not in text
    head, *blocks = re.split(r"\n{2,}", text)
    assert head.strip("\n") == "WEBVTT"
    found = []
    for block in blocks:
        if not block.strip("\n"):
            continue
        number, timing, payload = block.strip("\n").split("\n")
        assert "-->" not in number
        start, arrow, end = timing.split(" ")
        assert arrow == "-->"
        times = []
        for stamp in (start, end):
            match = STAMP.fullmatch(stamp)
            assert match, stamp
            hours, minutes, seconds, thousandths = map(int, match.groups())
            times.append(hours * 3600 + minutes * 60 + seconds + thousandths / 1000)
        voice = re.fullmatch(r"<v ([^<>]+)>([^<>]+)", payload)
        assert voice, payload
        assert not re.search(r"&(?!amp;|lt;|gt;)", payload)
        found.append((*times, html.unescape(voice[1]), html.unescape(voice[2])))
    return found


def parsed(turns: list[dict[str, object]], **more: object) -> Transcript:
    """Return what the service's JSON is read as."""
    found = Reading.transcript(json.dumps({"status": "completed", "turns": turns, **more}).encode())
    assert found is not None
    return found


WORDS = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        [
            "", " ", "-->", "00:01.000 --> 00:02.000", "a\n\nb", "\0", "a\0b", "&amp; <b>&",
            "WEBVTT\n\n", "\r\n\r\n",
            "\u202eevil\u202c", "שלום", "\u2028\u2029\x85", "👨‍👩‍👧 🏴󠁧󠁢󠁥󠁮󠁧󠁿", "x" * 10_000,
            "ab " * 3_000, "\ud800", "می‌خواهم",
        ]
    ),
)  # fmt: skip
MOMENTS = st.one_of(
    st.none(),
    st.floats(),
    st.floats(0, 4000),
    st.floats(CALL, CALL + 4000),
    st.integers(-(10**400), 10**400),
    st.sampled_from(
        ["2026-03-02T09:14:46Z", "2026-03-02T11:14:50+02:00",
         "0001-01-01T00:00:00+14:00", "nan", "inf", "12", "", "x"]
    ),
    st.booleans(),
)  # fmt: skip
TURNS = st.lists(
    st.fixed_dictionaries(
        {"text": WORDS, "speaker": WORDS, "timestamp": MOMENTS},
        optional={
            "sequence": st.one_of(st.integers(-5, 5), st.text(max_size=2)),
            "translation": st.fixed_dictionaries({"language": st.sampled_from(["es", "../x", ""]),
            "text": WORDS}),
        },
    ),
    max_size=12,
)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(TURNS, st.one_of(st.none(), st.floats(), st.integers(-5, 5000)))
def test_whatever_was_said_is_a_valid_track(turns: list[dict[str, object]], duration: float | None) -> None:
    """In order, of some length, not before the beginning, within days, in UTF-8."""
    transcript = parsed(turns, metadata={"duration_seconds": duration})
    begin = begin_of(transcript, (CALL, None))
    for language in ("", *transcript.languages()):
        found = cues(subtitles(transcript, begin, language))
        assert [start for start, *_ in found] == sorted(start for start, *_ in found)
        assert all(0 <= start < end < 3 * 86400 for start, end, *_ in found)
        said = [plain(dict(turn.translations).get(language, turn.text)) for turn in transcript.turns]
        assert [text for *_, text in found] == [text for text in said if text]
    dialogue(transcript, begin).decode("utf-8")
    assert transcript.languages() in ((), ("es",))


def plain(text: str) -> str:
    """Return the words on one line, as any reader would take them down."""
    kept = (" " if unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp") else each for each in text)
    return " ".join("".join(kept).split())


@settings(max_examples=40, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=6))
def test_no_word_is_lost_in_the_text(texts: list[str]) -> None:
    """Whatever is not white comes back in its order."""
    transcript = parsed([{"text": text, "speaker": "agent"} for text in texts])
    lines = dialogue(transcript, 0.0).decode().split("\n")
    found = "".join(re.sub(r"^\[[\d:]+\] Agent: ", "", line) for line in lines)
    wanted = "".join(plain(turn.text) or "-" for turn in transcript.turns)
    assert "".join(found.split()) == "".join(wanted.split())


def test_joiners_and_marks_of_direction_are_part_of_words() -> None:
    """A family is one emoji, not three."""
    transcript = Transcript(complete=True, turns=(Turn("agent", "", "👨‍👩‍👧 می‌خواهم \u200fא"),))
    assert cues(subtitles(transcript, 0.0))[0][3] == "👨‍👩‍👧 می‌خواهم \u200fא"


@pytest.mark.parametrize(
    ("moments", "begin", "starts"),
    [
        ([0.5, 4.0, 9.0], 0.0, [0.5, 4.0, 9.0]),
        ([CALL + 2, CALL + 5], CALL, [2.0, 5.0]),
        ([CALL + 5, CALL + 2, CALL + 7], CALL, [5.0, 5.0, 7.0]),
        ([CALL + 2, 0.0, CALL + 6], CALL, [2.0, 4.0, 6.0]),
        ([CALL + 2, CALL * 2, CALL + 6], CALL, [2.0, 4.0, 6.0]),
        ([CALL + 2, float("nan"), CALL + 6], CALL, [2.0, 4.0, 6.0]),
        ([1.0, float("inf"), 3.0], 0.0, [1.0, 2.0, 3.0]),
        ([None, 4.0, None, 8.0], 0.0, [2.0, 4.0, 6.0, 8.0]),
        ([None, None, None], 0.0, [2.5, 5.0, 7.5]),
    ],
)
def test_times_are_counted_from_the_beginning(
    moments: list[float | None], begin: float, starts: list[float]
) -> None:
    """Clocks that run back, stand at nothing or are years off move no other turn."""
    transcript = Transcript(
        complete=True,
        turns=tuple(Turn("agent", "", "word", (), moment) for moment in moments),
        duration=10.0,
    )
    assert begin_of(transcript, (CALL,)) == begin
    assert [start for start, *_ in cues(subtitles(transcript, begin))] == starts


def test_a_transcript_without_turns_is_an_empty_track() -> None:
    """As it is when a call has just begun."""
    transcript = Transcript(complete=False, turns=())
    assert cues(subtitles(transcript, begin_of(transcript, (CALL,)))) == []
    assert b"not complete" in dialogue(transcript, 0.0)


def test_milliseconds_are_told_from_seconds() -> None:
    """Epoch milliseconds are what JavaScript sends."""
    transcript = parsed([{"text": "a", "timestamp": CALL * 1000 + 1500}])
    assert transcript.turns[0].moment == CALL + 1.5


def test_turns_without_any_time_do_not_pile_up() -> None:
    """A thousand turns are no twelve seconds."""
    transcript = Transcript(complete=True, turns=tuple(Turn("a", "", "word") for _ in range(1000)))
    starts = [start for start, *_ in cues(subtitles(transcript, 0.0))]
    assert starts[-1] > 2000


@pytest.mark.parametrize("text", ["plain", "a --> b <i>&amp;", "\u202eש\u202c 👨‍👩‍👧", "x" * 3000])
def test_ffprobe_reads_every_cue(text: str, tmp_path: Path) -> None:
    """A parser that is not ours."""
    transcript = Transcript(
        complete=True, turns=tuple(Turn("agent <&>", "", text, (), float(at)) for at in (1, 1, 4, 80_000))
    )
    track = tmp_path / "track.vtt"
    track.write_bytes(subtitles(transcript, 0.0))
    shown = subprocess.run(
        ["ffprobe", "-v", "error", "-show_entries", "packet=pts_time", "-of", "csv=p=0", track],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert shown.stderr == ""
    assert len(shown.stdout.split()) == 4
