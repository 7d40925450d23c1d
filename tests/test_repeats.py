"""Failures that repeat: told once, then counted, and the counts told."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

import pytest

from conftest import wait_until
from kallglotfs.logs import repeats
from kallglotfs.logs.repeats import MOST, QUIET, Repeats

if TYPE_CHECKING:
    from collections.abc import Iterator


class Told(logging.Handler):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def lines(self) -> list[str]:
        """The messages."""
        return [record.getMessage() for record in self.records]


class Log:
    """A logger whose repeats are counted, by a clock that a test moves."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.told = Told()
        self.repeats = Repeats(self.told, lambda: self.time)
        self.logger = logging.getLogger("kallglotfs.repeating")
        self.logger.setLevel(logging.INFO)
        self.logger.addHandler(self.repeats)

    def fail(self, index: int, why: str = "broken", times: int = 1) -> None:
        """Log one failure of a recording some times."""
        for _ in range(times):
            self.logger.warning("open 'rec_%d.mp3': %s (request 'r%d')", index, why, index)


@pytest.fixture
def log() -> Iterator[Log]:
    """Make a log."""
    made = Log()
    yield made
    made.logger.removeHandler(made.repeats)
    made.repeats.close()
    made.logger.setLevel(logging.NOTSET)


def test_the_first_is_told_and_the_others_are_counted(log: Log) -> None:
    """Of whichever recording; the count of a minute is told once, and then none more."""
    log.fail(0)
    for index in range(1, 500):
        log.fail(index)
    log.fail(3, "gone")
    assert log.told.lines == [
        "open 'rec_0.mp3': broken (request 'r0')",
        "open 'rec_3.mp3': gone (request 'r3')",
    ]
    assert log.repeats.tell() == QUIET
    log.time += QUIET
    assert log.repeats.tell() is None
    assert log.told.lines[2:] == [
        "open 'rec_499.mp3': broken (request 'r499') (499 times more in the last 60 s)"
    ]
    summary = log.told.records[2]
    assert (summary.levelname, summary.__dict__["repeated"], summary.__dict__["seconds"]) == (
        "WARNING",
        499,
        60,
    )


def test_a_burst_that_goes_on_is_a_line_a_minute(log: Log) -> None:
    """And its first line again once it has been quiet for a minute."""
    for _ in range(180):
        log.fail(1)
        log.time += 1
        log.repeats.tell()
    counts = [record.__dict__.get("repeated", 0) for record in log.told.records]
    assert counts[0] == 0
    assert len(counts) == 4
    assert sum(counts) == 179
    log.time += QUIET + 1
    log.repeats.tell()
    log.fail(1)
    assert log.told.lines[-1] == log.told.lines[0]


def test_the_end_tells_what_is_left(log: Log) -> None:
    """Once, however often it is closed."""
    log.fail(1, times=2)
    log.repeats.close()
    log.repeats.close()
    assert log.told.lines[1:] == ["open 'rec_1.mp3': broken (request 'r1') (once more in the last 1 s)"]


def test_counts_are_told_by_a_thread_that_sleeps_while_there_are_none(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is started by the first repeat."""

    def threads() -> int:
        return [each.name for each in threading.enumerate()].count("repeats")

    assert wait_until(lambda: not threads())
    monkeypatch.setattr(repeats, "QUIET", 0.3)
    monkeypatch.setattr(log.repeats, "_now", time.monotonic)
    log.fail(1)
    assert threads() == 0
    log.fail(1)
    assert threads() == 1
    assert wait_until(lambda: "once more" in log.told.lines[-1])
    looks: list[None] = []
    tell = log.repeats.tell
    monkeypatch.setattr(log.repeats, "tell", lambda: looks.append(None) or tell())
    assert not wait_until(lambda: len(looks) > 1, 0.5)


def test_events_are_not_counted_unless_they_say_so(log: Log) -> None:
    """What happened ten times is ten lines, but for what its caller calls one kind."""
    for index in range(10):
        log.logger.info("rec_1: destroyed")
        log.logger.info("sess_%d: shown as it was", index, extra={"kind": "stale"})
    assert log.told.lines.count("rec_1: destroyed") == 10
    assert len(log.told.lines) == 11


def test_unexpected_failures_are_one_kind_where_they_come_from_one_place(log: Log) -> None:
    """With the traceback told once."""

    def fail(divisor: int) -> None:
        try:
            _ = 1 / divisor if divisor == 0 else [][divisor]
        except (ZeroDivisionError, IndexError):
            log.logger.exception("unexpected failure")

    for divisor in (0, 0, 1, 1, 1):
        fail(divisor)
    assert [record.exc_info and record.exc_info[0] for record in log.told.records] == [
        ZeroDivisionError,
        IndexError,
    ]
    log.repeats.close()
    assert [record.exc_info for record in log.told.records[2:]] == [None, None]


def test_who_debugs_sees_each_of_them(log: Log) -> None:
    """As what it is for them: not a warning."""
    log.logger.setLevel(logging.DEBUG)
    log.fail(1, times=3)
    assert [record.levelname for record in log.told.records] == ["WARNING", "DEBUG", "DEBUG"]


def test_memory_is_bounded_and_no_count_is_lost(log: Log) -> None:
    """What has not been seen for long makes room, and its count is told then."""
    log.fail(0, "reason 0", times=3)
    for number in range(1, MOST + 1):
        log.fail(0, f"reason {number}")
    assert len(log.told.lines) == MOST + 2
    assert sum("reason 0 " in line and "2 times more" in line for line in log.told.lines) == 1


def test_a_wrong_log_call_is_no_failure_of_its_caller(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is passed over."""
    monkeypatch.setattr(logging, "raiseExceptions", False)
    log.logger.warning("%d", "no number")
    log.fail(1)
    assert len(log.told.lines) == 1
