"""A transcript as text to read, and as subtitles. Pure.

Subtitles are WebVTT (W3C, "WebVTT: The Web Video Text Tracks Format"): one cue per turn, the speaker as a
voice span. Where turns carry times of day, the beginning of the recording is taken from what is known of it.
"""

from __future__ import annotations

import math
import textwrap
import unicodedata
from itertools import pairwise
from statistics import median_low
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kallglotfs.model import Transcript, Turn

#: Columns of the text.
WIDTH = 100
#: Characters of a speaker's name.
LONGEST_NAME = 40
#: Seconds from which a time cannot be one from the beginning of a call: it is a time of day (September 2001).
TIME_OF_DAY = 1e9
#: Seconds a call may last: a turn further from the others was not said then.
LONGEST_CALL = 86400.0
#: Seconds a clock may be off when a turn seems to come before the recording.
TOLERANCE = 2.0
#: Control characters, lone surrogates (which cannot be written) and the separators of lines and paragraphs.
_BREAKS = frozenset({"Cc", "Cs", "Zl", "Zp"})
#: Seconds from one turn to the next where nothing at all is told.
SPACING = 5.0
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
    moments = [moment for moment in _moments(transcript) if moment is not None]
    first = min(moments, default=0.0)
    if first < TIME_OF_DAY:
        return 0.0
    span = max(moments) - first
    room = max(_duration(transcript) or LONGEST_CALL, span) - span + TOLERANCE
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


def _moments(transcript: Transcript) -> list[float | None]:
    """Return when each turn was said; a time that cannot be of the same call as the others is not told."""
    finite = [
        turn.moment if turn.moment is not None and math.isfinite(turn.moment) else None
        for turn in transcript.turns
    ]
    told = [moment for moment in finite if moment is not None]
    if not told:
        return finite
    middle = median_low(told)
    if middle < TIME_OF_DAY:
        middle = 0.0
    return [None if each is None or abs(each - middle) > LONGEST_CALL else each for each in finite]


def _duration(transcript: Transcript) -> float:
    """Return the seconds of the call, 0 where they are not told or cannot be."""
    duration = transcript.duration
    return duration if duration is not None and 0 < duration <= LONGEST_CALL else 0.0


def _starts(transcript: Transcript, begin: float) -> list[float]:
    """Return when each turn begins, seconds from `begin`; what is not told lies evenly between what is."""
    known = [None if moment is None else max(0.0, moment - begin) for moment in _moments(transcript)]
    anchors = [(-1, 0.0), *((at, value) for at, value in enumerate(known) if value is not None)]
    # Where nothing is told of the end, each turn takes its time.
    at, value = anchors[-1]
    end = max(_duration(transcript), value + LONGEST) if at >= 0 else _duration(transcript)
    anchors.append((len(known), end or value + SPACING * len(known)))
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
    # One more than there are turns where there are none.
    behind = [*starts[1:], float("inf")]
    for turn, start, following in zip(transcript.turns, starts, behind, strict=False):
        long = min(LONGEST, max(SHORTEST, len(turn.text) / PACE + SHORTEST))
        # Never of no length, even where two begin at once.
        stops.append(max(start + 0.1, min(following, start + long)))
    return stops


def _name(turn: Turn) -> str:
    name = _one_line(turn.speaker)[:LONGEST_NAME].rstrip()
    return name[:1].upper() + name[1:] or "Speaker"


def _wrapped(lead: str, text: str) -> list[str]:
    return textwrap.wrap(
        _one_line(text) or "-", WIDTH, initial_indent=lead, subsequent_indent=" " * len("[00:00:00] ")
    )


def _one_line(text: str) -> str:
    """Return a text without line ends and other control characters: a blank line would end a cue.

    Marks of direction and joiners stay: without them Hebrew, Persian and many emoji are other words.
    """
    return " ".join("".join(" " if unicodedata.category(each) in _BREAKS else each for each in text).split())


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest:02}"


def _stamp(seconds: float) -> str:
    thousandths = round(seconds * 1000)
    return f"{_clock(thousandths // 1000)}.{thousandths % 1000:03}"
