"""What `kallglotfs top` shows: lines that fit a terminal, from the state of a mount and its history. Pure."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.cells import set_cell_size
from rich.text import Text

from kallglotfs.advice import notices
from kallglotfs.cli.figures import BARS, duration, percent, size, sparkline
from kallglotfs.cli.status_text import clean, tier

if TYPE_CHECKING:
    from collections.abc import Callable

    from kallglotfs.cli.trend import Point, Trend

#: Columns of a name, a value and a program.
LABEL, VALUE, PROGRAM = 13, 22, 15
#: Columns below which a sparkline tells nothing.
NARROW = 20
#: Rows of the plain table between two headings.
HEADING_EVERY = 20
_COLUMNS = (9, 12, 12, 7, 9, 11, 8, 6)


def heading() -> str:
    """Return the heading of the plain table."""
    names = ("TIME", "SERVED/s", "FETCHED/s", "HITS", "API/min", "BUDGET", "LEASES", "FILES")
    return "".join(map(str.ljust, names, _COLUMNS)).rstrip()


def row(state: dict[str, Any], point: Point, moment: float) -> str:
    """Return a line of the plain table, for pipes."""
    left, limit = state["budget"]["remaining"], state["budget"]["limit"]
    cells = (
        clock_time(moment),
        _size(point.served),
        _size(point.fetched),
        _share(point.hits),
        "-" if point.requests is None else f"{point.requests:.0f}",
        "-" if limit is None else f"{left} of {limit}",
        str(state["leases"]["valid"]),
        str(state["open_files"]["count"]),
    )
    return "".join(map(str.ljust, cells, _COLUMNS)).rstrip()


def clock_time(moment: float) -> str:
    """Return the local time of day."""
    return time.strftime("%H:%M:%S", time.localtime(moment))


@dataclass(frozen=True, slots=True)
class View:
    """The screen.

    Attributes:
        width: columns.
        height: lines.
        bars: characters for sparklines.
    """

    width: int
    height: int
    bars: str = BARS

    def lines(
        self, mount_point: str, state: dict[str, Any] | None, trend: Trend, trouble: str, moment: float
    ) -> list[Text]:
        """Return the lines of the screen, none wider and no more of them than there is room for.

        Args:
            mount_point: which mount.
            state: its last; None where there never was one.
            trend: its history.
            trouble: why there is no newer state; empty where there is.
            moment: now, epoch seconds.
        """
        lines = [self._title(f"kallglotfs top  {clean(mount_point)}", clock_time(moment))]
        if trouble:
            lines.append(self._cut(f"! {clean(trouble)}", "bold red"))
        if state is None:
            return lines[: self.height]
        up = f"{state['profile']}, up {duration(state['uptime'])}, process {state['pid']}"
        lines += [
            self._cut(clean(f"{up}, version {state['version']}, {state['api']}"), "dim"),
            Text(),
            *self._measures(state, trend),
            self._line("leases", f"{state['leases']['valid']} valid"),
            self._line("memory", tier(state["memory"])),
        ]
        if state["disk"]:
            lines.append(self._line("disk", tier(state["disk"])))
        lines += [self._line("NOTE", notice, style="bold yellow") for notice in notices(state)]
        lines += self._last_error(state, moment)
        lines.append(Text())
        lines += self._processes(state["open_files"], self.height - len(lines))
        return lines[: self.height]

    def _measures(self, state: dict[str, Any], trend: Trend) -> list[Text]:
        point = trend.last
        requests = "-" if point.requests is None else f"{point.requests:.0f} / min"
        measures: list[tuple[str, str, Callable[[Point], float | None], float]] = [
            ("served", f"{_size(point.served)} / s", lambda each: each.served, 0),
            ("fetched", f"{_size(point.fetched)} / s", lambda each: each.fetched, 0),
            ("hit rate", _share(point.hits), lambda each: each.hits, 1),
            ("API requests", requests, lambda each: each.requests, 0),
            ("budget", _budget(state["budget"]), lambda each: each.remaining, state["budget"]["limit"] or 0),
            ("open files", str(state["open_files"]["count"]), lambda each: each.open_files, 0),
        ]
        return [
            self._line(name, value, sparkline(trend.row(of), self._room, top, self.bars))
            for name, value, of, top in measures
        ]

    def _last_error(self, state: dict[str, Any], moment: float) -> list[Text]:
        if not state["errors"]:
            return []
        last = state["errors"][0]
        said = f"{duration(moment - last['moment'])} ago, {last['kind']}: {last['message']}"
        return [
            self._line("last error", said, style="yellow"),
            self._line("", f"-> {last['advice']}", style="yellow"),
        ]

    def _processes(self, state: dict[str, Any], room: int) -> list[Text]:
        lines = [self._cut(f"{'PID':>8} {'PROGRAM':<{PROGRAM}} {'FILES':>6}  FIRST FILE", "bold")]
        for each in state["by_process"]:
            program = set_cell_size(clean(each["program"] or "?"), PROGRAM)
            words = f"{each['pid'] or '-':>8} {program} {each['count']:>6}  {clean(each['files'][0])}"
            lines.append(self._cut(words))
        if not state["by_process"]:
            lines.append(self._cut("         none", "dim"))
        if len(lines) > room > 1:
            hidden = len(lines) - room + 1
            lines[room - 1 :] = [self._cut(f"         and {hidden} more", "dim")]
        return lines

    def _line(self, name: str, value: str, history: str = "", style: str = "") -> Text:
        text = Text(no_wrap=True).append(name.ljust(LABEL), style or "dim")
        shown = clean(value)
        if history.strip():
            text.append(set_cell_size(shown, VALUE), style or "bold")
            text.append(" " + history, "cyan")
        else:
            text.append(shown, style or "bold")
        text.truncate(self.width, overflow="ellipsis")
        return text

    @property
    def _room(self) -> int:
        """Columns for a sparkline; zero where it would be too short."""
        room = self.width - LABEL - VALUE - 1
        return room if room >= NARROW else 0

    def _title(self, left: str, right: str) -> Text:
        gap = max(0, self.width - len(right) - 1)
        text = Text(f"{set_cell_size(left, gap)} {right}", "reverse", no_wrap=True)
        text.truncate(self.width)
        return text

    def _cut(self, words: str, style: str = "") -> Text:
        text = Text(words, style, no_wrap=True)
        text.truncate(self.width, overflow="ellipsis")
        return text


def _budget(state: dict[str, Any]) -> str:
    waiting = f", {state['waiting']} wait" if state["waiting"] else ""
    if state["limit"] is None:
        return f"not known yet{waiting}"
    reset = "" if state["resets_in"] is None else f", {duration(state['resets_in'])}"
    return f"{state['remaining']} of {state['limit']}{reset}{waiting}"


def _size(rate: float | None) -> str:
    return "-" if rate is None else size(rate)


def _share(share: float | None) -> str:
    return "-" if share is None else percent(share, 1)
