"""A transcript as text to read, and as subtitles. Pure.

Subtitles are WebVTT (W3C, "WebVTT: The Web Video Text Tracks Format"): one cue per turn, the speaker as a
voice span. Where turns carry times of day, the beginning of the recording is taken from what is known of it.
"""

from __future__ import annotations

import textwrap
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kallglotfs.model import Transcript, Turn

#: Columns of the text.
WIDTH = 100
#: Seconds from which a time cannot be one from the beginning of a call: it is a time of day (September 2001).
TIME_OF_DAY = 1e9
#: Seconds a clock may be off when a turn seems to come before the recording.
TOLERANCE = 2.0
#: Seconds a cue is shown at least and at most, and characters that are read in one second.
SHORTEST, LONGEST, PACE = 1.0, 12.0, 15.0


def begin_of(transcript: Transcript, candidates: tuple[float | None, ...]) -> float:
    """Return when a recording began, on the clock of the turns.

    Args:
        transcript: what was said.
        candidates: moments that may be it (epoch seconds), the best first. A service may give the time at
            which a recording was finished for the time at which it was made.

    Returns:
        0 where the turns count from the beginning themselves; the first candidate that comes before the first
        turn and is not so far off that the call would have been over; else the first turn.
    """
    moments = [turn.moment for turn in transcript.turns if turn.moment is not None]
    first = min(moments, default=0.0)
    if first < TIME_OF_DAY:
        return 0.0
    span = max(moments) - first
    room = max(transcript.duration or 0.0, span) - span + TOLERANCE if transcript.duration else float("inf")
    for candidate in candidates:
        if candidate is not None and -TOLERANCE <= first - candidate <= room:
            return min(candidate, first)
    return first


def dialogue(transcript: Transcript, begin: float) -> bytes:
    """Return the transcript as a text to read: time, speaker, words, translations.

    Args:
        transcript: what was said.
        begin: from `begin_of`.
    """
    lines = []
    for turn, start in zip(transcript.turns, _starts(transcript, begin), strict=True):
        lines += _wrapped(f"[{_clock(start)}] {_name(turn)}: ", turn.text)
        for language, text in turn.translations:
            lines += _wrapped(f"           ({language}) ", text)
        lines.append("")
    if not transcript.complete:
        lines.append("(The transcript is not complete yet.)")
    return "\n".join(lines).encode()


def subtitles(transcript: Transcript, begin: float, language: str = "") -> bytes:
    """Return the transcript as WebVTT.

    Args:
        transcript: what was said.
        begin: from `begin_of`.
        language: of a translation; what has none is shown as it was said. "" for the words themselves.
    """
    cues = ["WEBVTT", ""]
    starts = _starts(transcript, begin)
    for number, (turn, start, stop) in enumerate(
        zip(transcript.turns, starts, _stops(transcript, starts), strict=True)
    ):
        words = _one_line(dict(turn.translations).get(language, turn.text))
        if not words:
            continue
        cues += [
            str(number + 1),
            f"{_stamp(start)} --> {_stamp(stop)}",
            f"<v {_escaped(_name(turn))}>{_escaped(words)}",
            "",
        ]
    return "\n".join(cues).encode()


def _starts(transcript: Transcript, begin: float) -> list[float]:
    """Return when each turn begins, seconds from `begin`; what is not told lies evenly between what is."""
    known: list[float | None] = [
        None if turn.moment is None else max(0.0, turn.moment - begin) for turn in transcript.turns
    ]
    anchors = [(-1, 0.0), *((at, value) for at, value in enumerate(known) if value is not None)]
    end = max(transcript.duration or 0.0, anchors[-1][1] + LONGEST)
    anchors.append((len(known), end))
    starts = []
    for (at, value), (after, later) in pairwise(anchors):
        if at >= 0:
            starts.append(value)
        step = max(0.0, later - value) / (after - at)
        starts += [value + step * count for count in range(1, after - at)]
    # A clock that runs back would make cues that players drop.
    for at in range(1, len(starts)):
        starts[at] = max(starts[at], starts[at - 1])
    return starts


def _stops(transcript: Transcript, starts: list[float]) -> list[float]:
    stops = []
    for turn, start, following in zip(transcript.turns, starts, [*starts[1:], float("inf")], strict=True):
        long = min(LONGEST, max(SHORTEST, len(turn.text) / PACE + SHORTEST))
        # Never of no length, even where two begin at once.
        stops.append(max(start + 0.1, min(following, start + long)))
    return stops


def _name(turn: Turn) -> str:
    return _one_line(turn.speaker).capitalize() or "Speaker"


def _wrapped(lead: str, text: str) -> list[str]:
    return textwrap.wrap(
        _one_line(text) or "-", WIDTH, initial_indent=lead, subsequent_indent=" " * len("[00:00:00] ")
    )


def _one_line(text: str) -> str:
    """Return a text without line ends and other control characters: a blank line would end a cue."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest:02}"


def _stamp(seconds: float) -> str:
    thousandths = round(seconds * 1000)
    return f"{_clock(thousandths // 1000)}.{thousandths % 1000:03}"
