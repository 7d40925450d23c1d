"""What is told of mounts that do not answer, or answer nonsense."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

import pytest

from kallglotfs.control import client, places, survey
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
