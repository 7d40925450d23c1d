"""`/by-date/YYYY/MM/DD/`: links to recordings by the time they were made (UTC), from what is known already.

A link is called `<HHMMSS>Z_<channel>_<duration>s_<id>.<format>`; what the service did not tell is left out.
Telephone numbers are personal and stand in no name: there is no directory by number.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NoReturn, Protocol

from kallglotfs.errors import NotADirectory, NotFound
from kallglotfs.model import Attrs, Entry, Kind
from kallglotfs.vfs.branch import no_directory, no_text
from kallglotfs.vfs.naming import channel_prefix, format_name, link_to, parse_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kallglotfs.model import Recording, Rendition
    from kallglotfs.patience import Patience
    from kallglotfs.vfs.renditions import Renditions

BY_DATE = "by-date"
#: Parts of the path of a day.
YEAR, MONTH, DAY = 1, 2, 3
#: Seconds that no recording lasts: a number that was not meant stands in no name.
TOO_LONG = 1e7
#: The first second of the year 10000, which is none (epoch seconds).
END_OF_TIME = 253_402_300_800.0
_FORMS = (re.compile(r"[0-9]{4}"), re.compile(r"[0-9]{2}"), re.compile(r"[0-9]{2}"))
#: The end of a link's name that says which recording it leads to.
_TAIL = re.compile(r"(?:.*_)?(rec_[^_]+)")


class Known(Protocol):
    """What is asked of the catalog."""

    def known(self, recording_id: str) -> Recording | None:
        """Return what is known without asking."""

    def made(self, since: float, until: float) -> Iterator[Recording]:
        """Stream the listed recordings made from `since` to before `until`, by time."""

    def next_made(self, since: float) -> float | None:
        """Return the time of the first listed recording made at `since` or later."""

    def is_listed(self, recording: Recording) -> bool:
        """Tell whether a listing shows it."""


class ByDate:
    """The branch of days.

    Args:
        known: the catalog.
        renditions: which formats a directory shows.
        mounted: the directories' time, epoch seconds.
    """

    def __init__(self, known: Known, renditions: Renditions, mounted: float) -> None:
        self._known = known
        self._renditions = renditions
        self._mounted = mounted

    def attributes(self, parts: tuple[str, ...], _patience: Patience) -> Attrs:
        """Return what `stat` shows; raises as `Branch.attributes`."""
        if len(parts) <= DAY:
            since, until = _span(parts)
            if parts and self._next(since, until) is None:
                raise NotFound("nothing known was recorded then")
            return Attrs(self._mounted)
        day, name = parts[:DAY], parts[DAY]
        match = _TAIL.fullmatch(name)
        rendition = parse_name(match[1]) if match else None
        recording = self._known.known(rendition.recording_id) if rendition else None
        if rendition is None or recording is None or recording.created_at is None:
            raise NotFound("no such name")
        if (
            not self._known.is_listed(recording)
            or _day_of(recording.created_at) != day
            or _name(recording, rendition) != name
            or rendition not in self._renditions.shown(recording)
        ):
            raise NotFound("no such name")
        if len(parts) > DAY + 1:
            raise NotADirectory("not a directory")
        target = link_to(rendition, depth=DAY + 1)
        return Attrs(recording.created_at.timestamp(), len(target), target=target)

    def entries(self, parts: tuple[str, ...], patience: Patience) -> Iterator[Entry]:
        """Return the names in a directory; raises as `Branch.entries`."""
        if len(parts) > DAY:
            raise no_directory(self, parts, patience)
        self.attributes(parts, patience)
        return self._links(parts) if len(parts) == DAY else self._spans(parts)

    def text(self, _parts: tuple[str, ...], _patience: Patience) -> NoReturn:
        """Refuse: nothing here is made."""
        raise no_text()

    def _links(self, day: tuple[str, ...]) -> Iterator[Entry]:
        for recording in self._known.made(*_span(day)):
            for rendition in self._renditions.shown(recording):
                yield Entry(_name(recording, rendition), Kind.LINK)

    def _spans(self, parts: tuple[str, ...]) -> Iterator[Entry]:
        """Yield the years, months or days in which something was recorded: one indexed query for each."""
        since, until = _span(parts)
        while (moment := self._next(since, until)) is not None:
            found = _day_of(datetime.fromtimestamp(moment, UTC))[: len(parts) + 1]
            yield Entry(found[-1], Kind.DIRECTORY)
            since = _span(found)[1]

    def _next(self, since: float, until: float) -> float | None:
        moment = self._known.next_made(since)
        return moment if moment is not None and moment < until else None


def _span(parts: tuple[str, ...]) -> tuple[float, float]:
    """Return the first second of a year, month or day, and the first behind it; all time for the top.

    Raises:
        NotFound: there is no such day.
    """
    if any(form.fullmatch(part) is None for form, part in zip(_FORMS, parts, strict=False)):
        raise NotFound("no such name")
    numbers = [int(part) for part in parts]
    try:
        match numbers:
            case []:
                return -float("inf"), END_OF_TIME
            case [year]:
                first, last = datetime(year, 1, 1, tzinfo=UTC), datetime(year, 12, 31, tzinfo=UTC)
            case [year, month]:
                first = datetime(year, month, 1, tzinfo=UTC)
                last = first.replace(day=monthrange(year, month)[1])
            case [year, month, day]:
                first = last = datetime(year, month, day, tzinfo=UTC)
            case _:
                raise NotFound("no such name")
        return first.timestamp(), last.timestamp() + 86400
    except (ValueError, OverflowError):
        raise NotFound("no such day") from None


def _day_of(moment: datetime) -> tuple[str, str, str]:
    moment = moment.astimezone(UTC)
    return f"{moment.year:04}", f"{moment.month:02}", f"{moment.day:02}"


def _name(recording: Recording, rendition: Rendition) -> str:
    assert recording.created_at is not None
    told = recording.duration is not None and 0 <= recording.duration < TOO_LONG
    duration = f"{recording.duration:.0f}s_" if told else ""
    clock = recording.created_at.astimezone(UTC).strftime("%H%M%S")
    return f"{clock}Z_{channel_prefix(recording)}{duration}{format_name(rendition)}"
