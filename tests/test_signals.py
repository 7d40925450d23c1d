"""Signals, as a process of its own takes them."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import IO, TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Says what comes of each signal, while its main thread sleeps, as do twenty others.
PROGRAM = """
import signal, sys, threading, time
from kallglotfs.signals import Signals
ended = threading.Event()
def say(text):
    print(text, flush=True)
def act():
    say("begin")
    time.sleep(0.5)
    say("done")
def fail():
    say("fail")
    raise ValueError
signals = Signals(
    {signal.SIGUSR1: act, signal.SIGUSR2: fail, signal.SIGHUP: lambda: say("hup")},
    ended.set, (signal.SIGTERM, signal.SIGHUP),
)
for _ in range(20):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
signals.take()
signals.start()
say("ready")
ended.wait(60)
signals.stop()
say("ended")
"""


@pytest.fixture
def process() -> Iterator[subprocess.Popen[str]]:
    """Run the program."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as running:
        assert output(running).readline() == "ready\n"
        yield running
        running.kill()


def output(process: subprocess.Popen[str]) -> IO[str]:
    """Return what a program prints."""
    assert process.stdout is not None
    return process.stdout


def test_many_of_a_kind_are_one_and_none_is_lost(process: subprocess.Popen[str]) -> None:
    """What comes while its action is under way has it run once more; a failure is no end."""
    process.send_signal(signal.SIGUSR1)
    assert output(process).readline() == "begin\n"
    for _ in range(50):
        process.send_signal(signal.SIGUSR1)
        process.send_signal(signal.SIGUSR2)
    said = [output(process).readline().strip() for _ in range(4)]
    assert said == ["done", "begin", "done", "fail"]
    process.send_signal(signal.SIGHUP)
    assert output(process).readline() == "hup\n"
    process.send_signal(signal.SIGTERM)
    assert output(process).readline() == "ended\n"


def test_who_is_told_to_end_does_not_finish_first(process: subprocess.Popen[str]) -> None:
    """An action under way is given a moment, one that waits is not begun."""
    process.send_signal(signal.SIGUSR1)
    assert output(process).readline() == "begin\n"
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGTERM):
        process.send_signal(number)
    assert output(process).read() == "done\nended\n"
