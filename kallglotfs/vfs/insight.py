"""`/.kallglotfs/`: what the mount knows of itself. Not listed at the root, but there for who enters it.

    status.json     the state of everything
    metrics         the same numbers, for Prometheus
    known.csv       the known recordings
    why/<id>        what is known of one recording, and what it has cost

As in /proc the files have no size: their content is made when they are opened. Nothing here costs a request,
and nothing here is secret.
"""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any, Protocol

from kallglotfs.errors import NotADirectory, NotFound
from kallglotfs.model import Attrs, Entry, Kind
from kallglotfs.vfs.branch import no_directory, no_text
from kallglotfs.vfs.naming import is_recording_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kallglotfs.model import Recording
    from kallglotfs.patience import Patience
    from kallglotfs.vfs.made import Begin

INSIGHT = ".kallglotfs"
STATUS, METRICS, KNOWN, WHY = "status.json", "metrics", "known.csv", "why"
#: Columns of `known.csv`, as `kallglotfs add` reads them back.
COLUMNS = ("id", "session_id", "channel", "status", "format", "size", "duration", "created_at", "expires_at")
#: Rows of `known.csv` that are written at once.
ROWS = 500


class Report(Protocol):
    """Who knows: `status.Status`."""

    def status(self) -> dict[str, Any]:
        """Return the state of everything."""

    def metrics(self) -> bytes:
        """Return the numbers as Prometheus reads them."""

    def why(self, recording_id: str) -> dict[str, Any]:
        """Return what is known of a recording."""


class Insight:
    """The branch of the mount's own state.

    Args:
        report: who knows.
        everything: streams all known recordings.
        clock: tells the time of the files, epoch seconds.
    """

    def __init__(
        self, report: Report, everything: Callable[[], Iterator[Recording]], clock: Callable[[], float]
    ) -> None:
        self._report = report
        self._everything = everything
        self._clock = clock

    def attributes(self, parts: tuple[str, ...], _patience: Patience) -> Attrs:
        """Return what `stat` shows; raises as `Branch.attributes`."""
        match parts:
            case () | ("why",):
                return Attrs(self._clock())
            case ("status.json" | "metrics" | "known.csv", *below):
                pass
            case ("why", recording_id, *below) if is_recording_id(recording_id):
                pass
            case _:
                raise NotFound("no such name")
        if below:
            raise NotADirectory("not a directory")
        return Attrs(self._clock(), text=True)

    def entries(self, parts: tuple[str, ...], patience: Patience) -> Iterator[Entry]:
        """Return the names in a directory; raises as `Branch.entries`."""
        match parts:
            case ():
                files = (Entry(name, Kind.TEXT) for name in (KNOWN, METRICS, STATUS))
                return iter((*files, Entry(WHY, Kind.DIRECTORY)))
            case ("why",):
                return (Entry(each.id, Kind.TEXT) for each in self._everything() if is_recording_id(each.id))
            case _:
                raise no_directory(self, parts, patience)

    def text(self, parts: tuple[str, ...], _patience: Patience) -> bytes | Begin:
        """Return a file's content; raises as `Branch.text`."""
        match parts:
            case ("status.json",):
                return _json(self._report.status())
            case ("metrics",):
                return self._report.metrics()
            case ("known.csv",):
                return self._known
            case ("why", recording_id):
                return _json(self._report.why(recording_id))
            case _:
                raise no_text()

    def _known(self) -> Iterator[bytes]:
        rows: list[tuple[object, ...]] = [COLUMNS]
        for recording in self._everything():
            rows.append(_row(recording))
            if len(rows) == ROWS:
                yield _csv(rows)
                rows = []
        yield _csv(rows)


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, indent=2, ensure_ascii=True).encode() + b"\n"


def _csv(rows: list[tuple[object, ...]]) -> bytes:
    target = io.StringIO()
    csv.writer(target, lineterminator="\n").writerows(rows)
    return target.getvalue().encode("utf-8", "replace")


def _row(recording: Recording) -> tuple[object, ...]:
    times = (
        None if moment is None else moment.isoformat().replace("+00:00", "Z")
        for moment in (recording.created_at, recording.expires_at)
    )
    return (
        recording.id,
        recording.session_id,
        recording.channel,
        recording.status.value,
        recording.format,
        recording.size,
        recording.duration,
        *times,
    )
