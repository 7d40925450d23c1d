"""Has a mount bring files to the disk, several at a time, slice by slice.

Threading: each worker has a thread and a line to the mount of its own. The lock guards the plan and
the queue; it is held for steps in memory only. Nothing waits for the workers when the user stops: what is
under way in the mount ends by itself with its slice.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kallglotfs.cli import warm_targets
from kallglotfs.cli.warm_line import Line
from kallglotfs.errors import KallglotError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kallglotfs.cli.warm_plan import Plan
    from kallglotfs.control.client import Running

#: Files brought at one time at the most; half the streams are left to who plays.
WORKERS = 4
#: Seconds an answer may take beyond `timeout`: what the rate limit and a slow disk add.
BEYOND = 90.0
#: Seconds to wait at the most before the rate limit is tried again.
PAUSE = 5.0
#: Failures of network or service, one after the other, after which nothing more is tried.
ENOUGH = 5
#: Times a file is begun anew: another version appeared, or blocks were not written.
AGAIN = 2


@dataclass(slots=True)
class Outcome:
    """What became of it.

    Attributes:
        failed: names and reasons.
        stopped: why nothing more is tried, None where that is not so.
        documents: of sessions, by what became of each: "kept", "open" (may still change), "none".
        error: that made the mount unreachable.
    """

    failed: dict[str, str] = field(default_factory=dict)
    stopped: str | None = None
    documents: dict[str, dict[str, str]] = field(default_factory=dict)
    error: KallglotError | None = None


class Run:
    """Brings what a plan says.

    Args:
        running: the mount.
        plan: kept up to date as files come in.
        audio_format: what is asked for of recordings that turn up, None for what directories show.
        room: what the mount told of its room.
    """

    def __init__(
        self, running: Running, plan: Plan, audio_format: str | None, room: Mapping[str, Any]
    ) -> None:
        self._running = running
        self._plan = plan
        self._format = audio_format
        self._room = dict(room)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._tasks: deque[tuple[str, str]] = deque()
        self._busy = 0
        self._troubles = 0
        self._threads: list[threading.Thread] = []
        self.outcome = Outcome()
        #: Bytes that were on the disk before.
        self._had = plan.have

    def start(self) -> None:
        """Begin."""
        plan = self._plan
        self._tasks.extend(("session", each) for each in plan.sessions)
        self._tasks.extend(("look", each) for each in sorted(plan.unknown))
        guesses = {each.name for each in plan.files.values() if each.state == "unknown"}
        asked = {name for name in guesses if name.partition(".")[0] in plan.unknown}
        self._tasks.extend(("file", each.name) for each in plan.left if each.name not in asked)
        for name in asked:
            # What such a recording is, and so how its file is called, is told when it was looked up.
            del plan.files[name]
        count = max(1, min(WORKERS, int(self._room["streams"]) // 2, len(self._tasks)))
        for number in range(count):
            thread = threading.Thread(target=self._work, name=f"warm-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait a while for the end; tell whether it has come."""
        ends = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, ends - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        """Begin nothing more."""
        self._stop.set()

    @property
    def brought(self) -> int:
        """Bytes that were not on the disk, and are by now."""
        with self._lock:
            return max(0, self._plan.have - self._had)

    def totals(self) -> tuple[int, int]:
        """Return the bytes that are on the disk, and those that are wanted.

        What is not known yet is taken to be as large as the others are.
        """
        with self._lock:
            sized = [each.size for each in self._plan.wanted if each.size is not None]
            unsized = len(self._plan.wanted) - len(sized) + len(self._plan.unknown)
            average = sum(sized) // len(sized) if sized else 0
            return self._plan.have, sum(sized) + unsized * average

    def remaining(self) -> tuple[int, int]:
        """Return how many files are not all on the disk, and how many are wanted."""
        with self._lock:
            unknown = len(self._plan.unknown)
            return len(self._plan.left) + unknown, len(self._plan.wanted) + unknown

    def _work(self) -> None:
        try:
            with Line(self._running, self._room["timeout"] + BEYOND) as line:
                while (task := self._next()) is not None:
                    try:
                        self._do(line, *task)
                    finally:
                        with self._lock:
                            self._busy -= 1
        except KallglotError as error:
            with self._lock:
                self.outcome.error = self.outcome.error or error
            self._stop.set()

    def _next(self) -> tuple[str, str] | None:
        """Return what to do next; waits while others may still find something."""
        while not self._stop.is_set():
            with self._lock:
                if self._tasks:
                    self._busy += 1
                    return self._tasks.popleft()
                if not self._busy:
                    return None
            self._stop.wait(0.05)
        return None

    def _do(self, line: Line, kind: str, what: str) -> None:
        if kind == "file":
            self._fetch(line, what)
            return
        found = self._asked(line, f"warm.{kind}", {"id": what}, what)
        if found is None:
            return
        if kind == "session":
            with self._lock:
                self.outcome.documents[what] = found["documents"]
                self._plan.sessions[what] = 0
        ids = found["ids"] if kind == "session" else [what]
        self._learn(line, ids)

    def _learn(self, line: Line, ids: list[str]) -> None:
        """Ask about recordings that are known by now, and go on with what is new."""
        if not ids:
            return
        answer = line.ask("warm.plan", {"items": ids, "format": self._format, "use": True})
        with self._lock:
            known = set(self._plan.files)
            answer["files"] = [each for each in answer["files"] if each["name"] not in known]
            # At once: the leases that came along last for an hour, and the list may take longer than that.
            for name in reversed(self._plan.add(answer)):
                file = self._plan.files[name]
                self._had += file.have
                if file.state != "ready":
                    self.outcome.failed[name] = _STATES[file.state]
                elif not file.done:
                    self._tasks.appendleft(("file", name))
            self._check_fit()

    def _fetch(self, line: Line, name: str) -> None:
        offset, again = 0, 0
        while not self._stop.is_set():
            found = self._asked(line, "warm.fetch", {"name": name, "offset": offset}, name)
            if found is None:
                return
            if found.get("failed") == "changed" or found.get("missing"):
                again += 1
                if again > AGAIN:
                    self._fail(name, found.get("reason") or "what was fetched did not stay on the disk")
                    return
                offset = 0
                continue
            if self._took(name, found):
                return
            offset = found["offset"]

    def _took(self, name: str, found: Mapping[str, Any]) -> bool:
        """Take note of a slice; tell whether it was the last."""
        with self._lock:
            self._troubles = 0
            file = self._plan.files[name]
            if file.size != found["size"]:
                file.room += found["size"] - (file.size or 0)
                file.size = found["size"]
            file.state, file.have = "ready", max(file.have, found["offset"])
            trouble = found["trouble"]
            if trouble:
                file.have = found["offset"]
                self.outcome.stopped = f"the cache disk takes nothing more ({trouble})"
                self._stop.set()
                return True
            if found["offset"] >= found["size"]:
                file.requests = 0
                return True
            self._check_fit()
        return False

    def _asked(
        self, line: Line, question: str, arguments: dict[str, Any], name: str
    ) -> dict[str, Any] | None:
        """Return an answer; None where it failed, which has been noted, or the user stops."""
        while not self._stop.is_set():
            found = line.ask(question, arguments)
            kind = found.get("failed")
            if kind == "held":
                self._stop.wait(min(PAUSE, max(0.2, found.get("resets_in") or PAUSE)))
                continue
            if kind is None or kind == "changed":
                return found
            self._fail(name, found["reason"], kind)
            return None
        return None

    def _fail(self, name: str, reason: str, kind: str = "") -> None:
        with self._lock:
            # It is shown behind the name.
            self.outcome.failed[name] = reason.removeprefix(f"{warm_targets.subject(name)}: ")
            self._plan.unknown.discard(name)
            self._troubles = self._troubles + 1 if kind == "trouble" else 0
            if kind == "key":
                self.outcome.stopped = reason
            elif self._troubles >= ENOUGH:
                self.outcome.stopped = f"nothing can be fetched at present ({reason})"
            if self.outcome.stopped:
                self._stop.set()

    def _check_fit(self) -> None:
        """Stop when it turns out, the lock being held, that what is wanted does not fit."""
        if self._plan.room > self._room["capacity"] and not self.outcome.stopped:
            self.outcome.stopped = self._plan.unfit(self._room)
            self._stop.set()


_STATES = {
    "processing": "still being processed",
    "gone": "not there any more",
    "unknown": "not known",
}
