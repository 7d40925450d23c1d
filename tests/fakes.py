"""Stand-ins for the world outside: time and the storage's bytes. Nothing of ours is replaced."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kallglotfs.clock import Clock
from kallglotfs.errors import ContentChanged, KallglotError, ServiceFault
from kallglotfs.model import Validator

if TYPE_CHECKING:
    import threading

    from kallglotfs.clock import Deadline
    from kallglotfs.model import Rendition


class FakeClock(Clock):
    """A clock that moves only when something sleeps or a test says so."""

    def __init__(self) -> None:
        self.time = 1_000_000.0
        self.epoch = 1_700_000_000.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.epoch + self.time - 1_000_000.0

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        self.sleep(seconds)

    def jitter(self) -> float:
        return 1.0


class NoSleep(Clock):
    """The real clock, whose pauses take no time but count."""

    def __init__(self) -> None:
        self.skipped = 0.0

    def now(self) -> float:
        return super().now() + self.skipped

    def sleep(self, seconds: float) -> None:
        self.skipped += seconds

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        if not condition.wait(min(seconds, 0.02)):
            self.skipped += seconds


@dataclass
class FakeBody:
    """What an opened range yields."""

    content: bytes
    start: int
    stop: int
    validator: Validator
    ranged: bool = True
    metered: bool = False
    modified: float | None = 1000.0
    break_after: int | None = None
    gate: threading.Event | None = None
    closed: bool = False
    sent: int = 0

    def fill(self, target: memoryview, deadline: Deadline) -> int:
        if self.gate is not None:
            self.gate.wait(10)
        room = self.stop - self.start - self.sent
        if self.break_after is not None:
            room = min(room, self.break_after - self.sent)
        if room <= 0:
            raise ServiceFault("the connection broke")
        # Odd lengths, so that pieces and blocks never agree.
        length = min(len(target), room, 99_991)
        at = self.start + self.sent
        target[:length] = self.content[at : at + length]
        self.sent += length
        return length

    def close(self) -> None:
        self.closed = True


@dataclass
class FakeStorage:
    """Bytes behind a network that can break, stall, change its mind or know no ranges."""

    content: bytes
    etag: str | None = '"v1"'
    ranged: bool = True
    metered: bool = False
    breaks: list[int] = field(default_factory=list)
    failures: list[KallglotError] = field(default_factory=list)
    gate: threading.Event | None = None
    #: Bytes an answer has at most, however much is asked for.
    at_most: int = 1 << 40
    opened: list[tuple[int, int]] = field(default_factory=list)

    def open(
        self, rendition: Rendition, start: int, stop: int, expected: Validator | None, deadline: Deadline
    ) -> FakeBody:
        self.opened.append((start, stop))
        if self.failures:
            raise self.failures.pop(0)
        found = Validator(len(self.content), self.etag)
        if expected is not None and not expected.accepts(found):
            raise ContentChanged("another version")
        return FakeBody(
            self.content,
            start if self.ranged else 0,
            len(self.content)
            if self.metered or not self.ranged
            else min(stop, len(self.content), start + self.at_most),
            expected or found,
            ranged=self.ranged,
            metered=self.metered,
            break_after=self.breaks.pop(0) if self.breaks else None,
            gate=self.gate,
        )

    def is_metered(self, rendition: Rendition) -> bool:
        return self.metered
