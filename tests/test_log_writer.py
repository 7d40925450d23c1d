"""The log is written by a thread of its own: nobody waits for it, and what is dropped is counted."""

from __future__ import annotations

import logging
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from conftest import wait_until
from kallglotfs.logs import Log, destination, formats
from kallglotfs.logs import writer as writing
from kallglotfs.logs.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOST = 10


class Destination(logging.Handler):
    """Takes lines while its gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(formats.TextFormatter("%(levelname)s %(message)s"))
        self.gate = threading.Event()
        self.lines: list[str] = []
        self.closed = False

    def emit(self, record: logging.LogRecord) -> None:
        self.gate.wait()
        self.lines.append(self.format(record))

    def close(self) -> None:
        self.closed = True
        super().close()


@pytest.fixture
def taker() -> Iterator[Destination]:
    """Make one that takes nothing yet."""
    made = Destination()
    yield made
    made.gate.set()


@pytest.fixture
def writer(taker: Destination, monkeypatch: pytest.MonkeyPatch) -> Iterator[Writer]:
    """Make the writer for it, with little patience."""
    monkeypatch.setattr(writing, "PATIENCE", 0.2)
    made = Writer(taker, MOST)
    made.start()
    made.begin()
    yield made
    taker.gate.set()
    made.close()


def say(writer: Writer, *numbers: int) -> None:
    """Log numbers."""
    for number in numbers:
        writer.handle(logging.LogRecord("kallglotfs.x", logging.INFO, "", 0, "line %d", (number,), None))


def numbers(taker: Destination) -> list[str]:
    """Return what was written, shortened."""
    return [line.split()[-1] for line in taker.lines]


def test_nobody_waits_and_what_is_dropped_is_counted_in_its_place(writer: Writer, taker: Destination) -> None:
    """One gap, in which its count is, and order is kept; without another line to cause it."""
    say(writer, 0)
    assert wait_until(writer._lines.empty)
    say(writer, *range(1, MOST + 6))
    taker.gate.set()
    assert wait_until(lambda: len(taker.lines) == MOST + 2)
    assert taker.lines[-1] == "WARNING the log took no more: lines dropped here: 5"
    say(writer, 100)
    assert wait_until(lambda: numbers(taker)[-1] == "100")
    assert numbers(taker) == [*map(str, range(MOST + 1)), "5", "100"]


def test_the_end_writes_what_is_left(writer: Writer, taker: Destination) -> None:
    """All of it, and closes the destination."""
    taker.gate.set()
    say(writer, *range(5))
    writer.close()
    assert numbers(taker) == list("01234")
    assert taker.closed
    assert not writer._thread.is_alive()


def test_the_end_does_not_wait_for_what_takes_no_more(writer: Writer, taker: Destination) -> None:
    """Should it get on after all, it gets the line it had, the count of the others, and is closed."""
    say(writer, 0)
    assert wait_until(writer._lines.empty)
    say(writer, *range(1, MOST + 3))
    closing = threading.Thread(target=writer.close)
    closing.start()
    closing.join(5)
    assert not closing.is_alive()
    assert taker.lines == []
    taker.gate.set()
    assert wait_until(lambda: taker.closed)
    assert numbers(taker) == ["0", str(MOST + 2)]


def test_what_is_queued_holds_no_secret_and_no_arguments(writer: Writer, taker: Destination) -> None:
    """It is formatted before: what an argument is later does not matter either."""
    changing = ["sk_live_CANARY"]
    record = logging.LogRecord("kallglotfs.x", logging.INFO, "", 0, "key %s", (changing,), None)
    say(writer, 0)
    assert wait_until(writer._lines.empty)
    writer.handle(record)
    changing[0] = "other"
    assert "CANARY" not in str(writer._lines.queue)
    taker.gate.set()
    assert wait_until(lambda: len(taker.lines) == 2)
    assert taker.lines[1] == "INFO key ['sk_live_****']"


def test_a_full_syslog_socket_holds_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does a log that is opened anew, or its end."""
    monkeypatch.setattr(writing, "PATIENCE", 0.2)
    monkeypatch.setattr(destination, "SYSLOG_SOCKET", tmp_path / "log")
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.raiseExceptions
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.bind(str(tmp_path / "log"))
        log = Log(None, "/mnt/calls", queued=True)

        def work() -> None:
            for _ in range(2):
                log.apply("info", None, "text")
                for number in range(2000):
                    logging.getLogger("kallglotfs.x").info("line %d", number)
            root.handlers[0].close()

        working = threading.Thread(target=work, daemon=True)
        working.start()
        working.join(20)
        held_up = working.is_alive()
        first = syslog.recv(1000)
    # What it has not taken fails now.
    assert wait_until(lambda: "log" not in [each.name for each in threading.enumerate()], 20)
    root.handlers[:], level, logging.raiseExceptions = before
    root.setLevel(level)
    logging.getLogger("kallglotfs").setLevel(logging.NOTSET)
    assert not held_up
    assert first.endswith(b"INFO kallglotfs.x: line 0 mount=/mnt/calls\0")
