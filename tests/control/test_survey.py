"""What is told of mounts that do not answer, or answer nonsense."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import TYPE_CHECKING

import pytest

from kallglotfs.control import client, places, survey
from kallglotfs.control.server import ControlServer
from kallglotfs.control.survey import State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only directory with sockets, and no mount in this namespace."""
    made = tmp_path / "run"
    made.mkdir(mode=0o700)
    monkeypatch.setattr(places, "searched", lambda: [made])
    for each in (client, survey):
        monkeypatch.setattr(each, "mounts_of", lambda _: [])
    return made


@contextlib.contextmanager
def silent(*paths: Path) -> Iterator[None]:
    """Have sockets that take connections and say nothing."""
    with contextlib.ExitStack() as stack:
        for path in paths:
            made = stack.enter_context(socket.socket(socket.AF_UNIX))
            made.bind(str(path))
            made.listen()
        yield


@contextlib.contextmanager
def listening(folder: Path, mount_point: str) -> Iterator[None]:
    """Have a daemon that answers."""
    told = {"mount_point": mount_point, "profile": "default"}
    server = ControlServer(
        folder / places.name_of(mount_point), {"hello": lambda _: told, "status": lambda _: told}
    )
    server.start()
    try:
        yield
    finally:
        server.stop()


def test_nobody_is_told_to_kill_what_is_not_known(folder: Path) -> None:
    """Whose it is, and no more; nor a process that is another user's than the socket."""
    with silent(folder / places.name_of("/srv/a")):
        [found] = survey.survey(timeout=0.2)
    assert (found.state, found.mount_point) == (State.SILENT, "")
    assert f"user {os.geteuid()}" in found.advice
    assert "kill" not in found.advice
    assert "umount" not in found.advice
    assert survey._runs_as(os.getpid(), os.geteuid())
    assert not survey._runs_as(os.getpid(), os.geteuid() + 1)


def test_many_that_say_nothing_cost_the_time_of_one(folder: Path) -> None:
    """And one that is named is asked alone."""
    names = [places.name_of(f"/srv/{number}") for number in range(80)]
    with silent(*(folder / name for name in names)):
        began = time.monotonic()
        found = survey.survey(timeout=1.0)
        assert time.monotonic() - began < client.SEARCH + survey.OVERALL * 1.0 + 2
        assert [each.state for each in found] == [State.SILENT] * len(names)
        began = time.monotonic()
        with listening(folder, "/mnt/calls"):
            [one] = survey.survey(["/mnt/calls"], timeout=1.0)
        assert time.monotonic() - began < 1
        assert one.state == State.OK


def test_of_one_stranger_so_many_are_looked_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those first that the kernel knows as mounts."""
    monkeypatch.setattr(client, "FOREIGN", 2)
    with silent(*(folder / f"{letter}.sock" for letter in "abcd")):
        own = os.geteuid()
        monkeypatch.setattr(client.os, "geteuid", lambda: own + 1)
        assert [each.name for each in client._listening({"d.sock"})] == ["d.sock", "a.sock"]
