"""The self-check that feeds the watchdog: what it must catch, and what it must wait for."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from conftest import wait_until
from kallglotfs.calls import Calls
from kallglotfs.notify import Notifier
from kallglotfs.self_check import GRACE, Begun, Question, SelfCheck
from kallglotfs.watchdog import Watchdog, status_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import MountedFolder

BOUND = 110.0


class Time:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def check(answer: int | None, calls: Calls, overdue: float = 0.0, threads: int = 2) -> str:
    """Return what a check says when the mount answers so."""
    return SelfCheck(lambda _: answer, calls, threads, lambda: BOUND, lambda: overdue).trouble(1.0)


def test_a_mount_that_answers_serves() -> None:
    """Also with an error: somebody has answered."""
    assert check(0, Calls()) == ""
    assert check(errno.EACCES, Calls()) == ""


def test_a_dead_mount_does_not_serve() -> None:
    """Its daemon is there, but the kernel has given the connection up."""
    assert "dead" in check(errno.ENOTCONN, Calls())


def test_no_answer_is_trouble_unless_every_thread_waits_within_its_time() -> None:
    """Readers who wait for a network are no reason to end the daemon; a call that never ends is."""
    moment = Time()
    calls = Calls(moment)
    assert "not answered" in check(None, calls)
    inside, leave = threading.Barrier(3), threading.Event()

    def call() -> None:
        with calls.under_way():
            inside.wait(10)
            leave.wait(10)

    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    inside.wait(10)
    assert calls.count() == 2
    assert check(None, calls) == ""
    assert "not answered" in check(None, calls, threads=3)
    moment.now += BOUND + GRACE
    assert check(None, calls) == ""
    moment.now += 1
    assert "none may take longer" in check(0, calls)
    leave.set()
    for thread in threads:
        thread.join()
    assert (calls.count(), calls.oldest()) == (0, 0.0)


def test_a_bound_that_is_lowered_is_not_held_against_calls_under_way() -> None:
    """A reload may shorten `timeout`; what is under way goes on as it began."""
    moment, bound = Time(), [BOUND]
    calls = Calls(moment)
    checked = SelfCheck(lambda _: 0, calls, 2, lambda: bound[0], lambda: 0.0)
    with calls.under_way():
        assert checked.trouble(1.0) == ""
        bound[0] = 1.0
        moment.now += 100.0
        assert checked.trouble(1.0) == ""


def test_threads_that_fetch_are_stuck_when_nothing_begins_and_nothing_comes() -> None:
    """A slow download is progress; the work that does nothing is run as soon as there is a thread."""
    received, release = [0], threading.Event()
    with ThreadPoolExecutor(1) as executor:
        executor.submit(release.wait)
        begun = Begun(executor, lambda: received[0])
        begun.overdue()
        time.sleep(0.05)
        assert begun.overdue() >= 0.05
        received[0] += 1
        assert begun.overdue() < 0.05
        release.set()
        assert wait_until(lambda: begun.overdue() < 0.01)
    # Shut down: we are ending, which is no trouble.
    assert begun.overdue() < 1.0
    assert "not got on" in check(0, Calls(), overdue=BOUND + GRACE + 1)


def test_a_real_mount_answers_unless_its_daemon_is_stopped(mount: Callable[..., MountedFolder]) -> None:
    """Asked again and again, it stays without an answer until the daemon goes on."""
    folder = mount()
    question = Question(str(folder.path))
    assert question.answer(20.0) == 0
    os.kill(folder.process.pid, signal.SIGSTOP)
    try:
        assert question.answer(1.0) is None
        assert question.answer(1.0) is None
    finally:
        os.kill(folder.process.pid, signal.SIGCONT)
    assert wait_until(lambda: question.answer(5.0) == 0, 20)


class Heard(Notifier):
    """A notifier that remembers."""

    def __init__(self) -> None:
        super().__init__("/nowhere", 0.06)
        self.said: list[str] = []

    def _send(self, *lines: str) -> None:
        self.said += lines


def test_only_who_serves_is_fed() -> None:
    """While something is wrong nothing but the status is told, and that says what; then it goes on."""
    heard, wrong = Heard(), ["the mount is dead"]
    watchdog = Watchdog(heard, lambda _: wrong[0], dict, "/mnt")
    watchdog.start()
    try:
        assert wait_until(lambda: "STATUS=NOT SERVING: the mount is dead" in heard.said)
        assert "WATCHDOG=1" not in heard.said
        wrong[0] = ""
        assert wait_until(lambda: heard.said.count("WATCHDOG=1") > 2)
    finally:
        watchdog.stop()


def test_a_part_that_hangs_starves_the_watchdog() -> None:
    """The state of the parts takes every lock there is: one that is never let go is noticed so."""
    heard, release = Heard(), threading.Event()

    def state() -> dict[str, Any]:
        release.wait(10)
        return {}

    watchdog = Watchdog(heard, lambda _: "", state, "/mnt")
    watchdog.start()
    try:
        time.sleep(0.2)
        assert heard.said == []
    finally:
        watchdog.stop()
        release.set()


def test_nobody_is_asked_where_nobody_listens() -> None:
    """Without a service manager there is no thread."""
    watchdog = Watchdog(Notifier(), lambda _: pytest.fail("asked"), dict, "/mnt")
    watchdog.start()
    assert not watchdog._thread.is_alive()


@pytest.mark.parametrize(
    ("budget", "shown"),
    [
        ({"limit": None, "remaining": None, "waiting": 0}, "API requests left: unknown"),
        ({"limit": 60, "remaining": 12, "waiting": 3}, "API requests left: 12 of 60, 3 waiting"),
    ],
)
def test_the_status_says_what_is_useful(budget: dict[str, Any], shown: str) -> None:
    """Where, how many files are open, and what is left of the budget."""
    line = status_line("/mnt/calls", {"budget": budget, "open_files": {"count": 4}})
    assert line == f"mounted on /mnt/calls; files open: 4; {shown}"
