"""Persons and bulk readers, told apart by what they ask for."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from kallglotfs.caller import Group, group_of
from kallglotfs.callers import FEW, FEW_OF_A_SESSION, MINUTE, Callers
from kallglotfs.urgency import Urgency

if TYPE_CHECKING:
    from pathlib import Path

PERSON, BULK = Urgency.INTERACTIVE, Urgency.BULK


class World:
    """Threads whose process group is their number and whose session is its hundreds."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.callers = Callers(
            lambda: self.time, lambda thread: Group(thread, thread // 100) if thread else None
        )

    def ask(self, thread: int, count: int = 1) -> list[Urgency]:
        return [self.callers.of(thread).claim() for _ in range(count)]


def test_the_first_few_requests_of_a_minute_are_a_persons_and_more_are_bulk() -> None:
    """Until it has been quiet for a minute."""
    world = World()
    assert world.ask(101, FEW + 5) == [PERSON] * FEW + [BULK] * 5
    world.time += MINUTE - 1
    assert world.ask(101) == [BULK]
    world.time += MINUTE + 1
    assert world.ask(101) == [PERSON]


def test_a_player_now_and_then_is_a_persons_for_ever() -> None:
    """Seven a minute."""
    world = World()
    for _ in range(100):
        assert world.ask(101) == [PERSON]
        world.time += MINUTE / 7


def test_a_loop_that_starts_a_program_for_each_file_is_bulk() -> None:
    """A terminal's shell gives each its own process group."""
    world = World()
    asked = [world.ask(thread)[0] for thread in range(100, 140)]
    assert asked == [PERSON] * FEW_OF_A_SESSION + [BULK] * (40 - FEW_OF_A_SESSION)
    assert world.ask(500) == [PERSON]


def test_a_player_beside_an_rsync_in_the_same_terminal_is_a_persons() -> None:
    """What bulk readers ask for counts for their group alone."""
    world = World()
    world.ask(101, 500)
    assert world.ask(102) == [PERSON]


def test_who_cannot_be_told_is_a_person_until_there_are_many() -> None:
    """Another PID namespace: a container's programs all look the same."""
    world = World()
    asked = world.ask(0, 40)
    assert asked == [PERSON] * FEW_OF_A_SESSION + [BULK] * (40 - FEW_OF_A_SESSION)


def test_a_threads_process_group_and_session_are_read_from_proc(tmp_path: Path) -> None:
    """Whatever its program is called."""
    assert group_of(os.getpid()) == Group(os.getpgrp(), os.getsid(0))
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as process:
        assert group_of(process.pid) == Group(process.pid, process.pid)
        process.kill()
    (tmp_path / "77").mkdir()
    (tmp_path / "77" / "stat").write_text("77 (a) R 1 (b) S 5 6 7 8 9 10\n")
    assert group_of(77, tmp_path) == Group(6, 7)


def test_who_is_gone_or_elsewhere_cannot_be_told(tmp_path: Path) -> None:
    """No error."""
    assert group_of(0) is None
    assert group_of(-1) is None
    assert group_of(4_999_999) is None
    (tmp_path / "77").mkdir()
    (tmp_path / "77" / "stat").write_text("nonsense")
    assert group_of(77, tmp_path) is None
