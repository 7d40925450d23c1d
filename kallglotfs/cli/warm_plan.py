"""What `kallglotfs warm` has before it: files, sessions, bytes, requests, and whether they fit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kallglotfs.cli import figures
from kallglotfs.config.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kallglotfs.cli.warm_line import Line

#: Items asked about at once: their answers are looked up block by block.
BATCH = 200
#: API requests a minute, as the service documents them; where it has not told its limit yet.
USUAL = 60
#: Bytes per second for a first idea of the time.
LINE, LINE_NAME = 12_500_000, "100 Mbit/s"


@dataclass(slots=True)
class File:
    """One file to have on the disk.

    Attributes:
        size: bytes, None where nobody knows yet.
        have: bytes of it that are on the disk.
        room: bytes that it takes there.
        requests: API requests it takes.
        state: "ready", "processing", "gone" or "unknown".
    """

    name: str
    size: int | None
    have: int
    room: int
    requests: int
    state: str

    @property
    def done(self) -> bool:
        """Whether all of it is on the disk."""
        return self.state == "ready" and self.size == self.have


@dataclass(slots=True)
class Plan:
    """What is to be had.

    Attributes:
        files: by name.
        sessions: requests by session id, for what is to be asked of it.
        unknown: ids of recordings that nobody knows yet.
    """

    files: dict[str, File] = field(default_factory=dict)
    sessions: dict[str, int] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)

    @property
    def wanted(self) -> list[File]:
        """The files that can be had."""
        return [each for each in self.files.values() if each.state in ("ready", "unknown")]

    @property
    def left(self) -> list[File]:
        """Those of them that are not all on the disk."""
        return [each for each in self.wanted if not each.done]

    @property
    def size(self) -> int:
        """Bytes of all files, as far as they are known."""
        return sum(each.size or 0 for each in self.wanted)

    @property
    def have(self) -> int:
        """Bytes of them that are on the disk."""
        return sum(each.have for each in self.wanted)

    @property
    def room(self) -> int:
        """Bytes that all files take on the disk, as far as they are known."""
        return sum(each.room for each in self.wanted)

    @property
    def requests(self) -> int:
        """API requests that it takes at least."""
        return sum(each.requests for each in self.left) + sum(self.sessions.values())

    def add(self, answer: Mapping[str, Any]) -> list[str]:
        """Take over an answer to `warm.plan`; return the names of files that are new."""
        new = []
        for each in answer["files"]:
            item = each.pop("item")
            if each["state"] == "unknown":
                if "." not in item:
                    self.unknown.add(item)
            else:
                self.unknown.discard(item)
            file = File(**each)
            if file.name not in self.files:
                new.append(file.name)
            self.files[file.name] = file
        for each in answer["sessions"]:
            self.sessions[each["id"]] = each["requests"]
        return new

    def ask(
        self, line: Line, items: Iterable[str], audio_format: str | None, *, use: bool = True
    ) -> list[str]:
        """Ask the mount what it takes to have items; return the names of files that are new.

        Args:
            line: to the mount.
            items: recording ids, names of files, session ids.
            audio_format: a format to have of recordings, None for what directories show.
            use: whether what is on the disk counts as used.

        Raises:
            ControlError: the mount cannot be asked.
        """
        new = []
        known: list[str] = []
        for batch in _batches(items):
            answer = line.ask("warm.plan", {"items": batch, "format": audio_format, "use": use})
            new += self.add(answer)
            known += [each for session in answer["sessions"] for each in session["known"]]
        if known:
            new += self.ask(line, known, audio_format, use=use)
        return new

    def unfit(self, room: Mapping[str, Any]) -> str | None:
        """Return why the files cannot all be on the disk together, None where they can."""
        capacity, free = room["capacity"], room["free"]
        if self.room > capacity:
            return (
                f"{figures.size(self.room)} are wanted on the disk, and disk_cache allows "
                f"{format_size(capacity)}; mount with more, or ask for less"
            )
        missing = sum(each.room for each in self.left)
        # What is evicted makes room for what comes.
        grows = min(missing, max(0, capacity - room["used"]))
        if free is not None and grows > max(0, free):
            return (
                f"{figures.size(grows)} more are wanted on the disk, and its filesystem has "
                f"{figures.size(max(0, free))} to spare; make room there, or ask for less"
            )
        return None

    def lines(self, room: Mapping[str, Any]) -> Iterator[str]:
        """Yield what to tell before anything is asked for."""
        count, done = len(self.wanted), len(self.wanted) - len(self.left)
        at_hand = (
            f"{done} on disk already ({figures.size(sum(each.have for each in self.wanted if each.done))})"
        )
        yield f"{figures.count(count, 'file')}: {at_hand}, {count - done} to fetch"
        for state, words in (("processing", "still being processed"), ("gone", "not there any more")):
            number = sum(each.state == state for each in self.files.values())
            if number:
                yield f"passed over: {number} {words}"
        asked = sum(requests > 0 for requests in self.sessions.values())
        if asked:
            yield f"sessions that have to be listed, or their documents fetched: {asked}"
        if self.left or self.requests:
            unsized = sum(each.size is None for each in self.left)
            at_least = "at least " if unsized or asked else ""
            yield f"costs {at_least}{figures.count(self.requests, 'API request')} ({self._wait(room)})"
            rest = self.size - self.have
            known = (
                f"{at_least}{figures.size(rest)} to fetch ({figures.duration(rest / LINE)} at {LINE_NAME})"
            )
            parts = [known] if rest else []
            parts += [f"{figures.count(unsized, 'file')} whose size is not known yet"] if unsized else []
            yield " and ".join(parts or ["no bytes of recordings"])
        yield f"disk cache: {figures.size(room['used'])} of {format_size(room['capacity'])} in use"

    def _wait(self, room: Mapping[str, Any]) -> str:
        if not self.requests:
            return "no waiting"
        if room["seconds"] is None:
            seconds = self.requests / USUAL * 60
            return f"{figures.duration(seconds)} at {USUAL} a minute; the service has not told its limit yet"
        left = f"{room['remaining']} of {room['limit']} left"
        return (
            f"{figures.duration(room['seconds'])} at the budget, {left}"
            if room["seconds"]
            else f"now, {left}"
        )


def _batches(items: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    for item in items:
        batch.append(item)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
