"""Who has which file open."""

from __future__ import annotations

import os
import subprocess
import threading
from typing import TYPE_CHECKING

from kallglotfs.openers import MOST_FILES, MOST_PROCESSES, Openers

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_is_its_process_s_whichever_thread_opened_it() -> None:
    """Until it is closed."""
    openers = Openers()

    def opened() -> None:
        openers.add(1, threading.get_native_id(), "/recordings/rec_a.mp3")

    thread = threading.Thread(target=opened)
    thread.start()
    thread.join()
    openers.add(2, os.getpid(), "/recordings/rec_b.mp3")
    [process] = openers.by_process()
    assert process["pid"] == os.getpid()
    assert process["program"]
    assert process["files"] == ["/recordings/rec_a.mp3", "/recordings/rec_b.mp3"]
    openers.remove(1)
    openers.remove(1)
    assert openers.by_process()[0]["count"] == 1
    openers.remove(2)
    assert openers.by_process() == []


def test_who_is_gone_keeps_the_name_it_had() -> None:
    """An open file may have been handed on."""
    openers = Openers()
    with subprocess.Popen(["sleep", "60"]) as process:
        openers.add(1, process.pid, "/a")
        process.kill()
    assert openers.by_process()[0]["program"] in ("sleep", "python", "python3")


def test_who_cannot_be_told_is_nobody_we_know(tmp_path: Path) -> None:
    """Of another PID namespace, or gone before we looked."""
    openers = Openers(tmp_path)
    openers.add(1, 0, "/a")
    openers.add(2, 4711, "/b")
    assert {(each["pid"], each["program"]) for each in openers.by_process()} == {(0, ""), (4711, "")}


def test_a_report_has_an_end(tmp_path: Path) -> None:
    """However many files are open; those with most come first."""
    openers = Openers(tmp_path)
    for number in range(MOST_PROCESSES * 3):
        openers.add(number, 1 + number, "/a")
    for number in range(1000, 1100):
        openers.add(number, 9999, f"/{number}")
    found = openers.by_process()
    assert len(found) == MOST_PROCESSES
    assert (found[0]["pid"], found[0]["count"], len(found[0]["files"])) == (9999, 100, MOST_FILES)
