"""The control socket against clients that err, hang, flood, or have no business there."""

from __future__ import annotations

import json
import logging
import os
import socket
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conftest import wait_until
from kallglotfs.control import places, server
from kallglotfs.control.client import Conversation, Running
from kallglotfs.control.conversation import _connect
from kallglotfs.control.server import CONNECTIONS, LONGEST, ControlServer
from kallglotfs.errors import AskRefused, DaemonGone, DaemonSilent, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator


def echo(asked: dict[str, Any]) -> dict[str, Any]:
    return {"asked": asked}


def missing(_: dict[str, Any]) -> dict[str, Any]:
    raise NotFound("no such\nrecording")


def broken(_: dict[str, Any]) -> dict[str, Any]:
    raise ZeroDivisionError("a secret of ours")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """In a directory whose path no Unix socket could have."""
    return tmp_path / ("d" * 120) / "mount.sock"


@pytest.fixture
def control(path: Path) -> Iterator[ControlServer]:
    """A server that is up."""
    made = ControlServer(path, {"echo": echo, "missing": missing, "broken": broken})
    made.start()
    yield made
    made.stop()


def conversation(path: Path, timeout: float = 5.0) -> Conversation:
    return Conversation(Running("/mnt", "default", 0, 0, path), timeout)


def raw(path: Path) -> socket.socket:
    """Connect without manners."""
    made = socket.socket(socket.AF_UNIX)
    made.settimeout(10.0)
    try:
        with places.opened(path.parent) as folder:
            _connect(made, places.short(folder, path.name), time.monotonic() + 10)
    except OSError:
        made.close()
        raise
    return made


def test_questions_are_answered_one_after_the_other(control: ControlServer, path: Path) -> None:
    """Over one connection, with arguments."""
    with conversation(path) as asked:
        assert [asked.ask("echo", {"n": n}) for n in (1, 2)] == [{"asked": {"n": 1}}, {"asked": {"n": 2}}]
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_what_goes_wrong_is_one_line(control: ControlServer, path: Path, caplog: Any) -> None:
    """A failure of the domain by its message, a fault of ours without it; the connection lives on."""
    with conversation(path) as asked:
        with pytest.raises(AskRefused, match=r"^/mnt: no such recording$"):
            asked.ask("missing")
        with pytest.raises(AskRefused, match="unexpected failure") as fault:
            asked.ask("broken")
        assert "secret" not in str(fault.value)
        with pytest.raises(AskRefused, match="broken, echo, missing"):
            asked.ask("nonsense")
        assert asked.ask("echo")
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    "garbage",
    [b"\n", b"GET / HTTP/1.1\r\n", b"\x00\xff\xfe\n", b"[]\n", b"7\n", b"null\n", b'{"ask": []}\n',
     b'{"ask": {"a": 1}}\n', b"{}\n", b'{"ask": "\\ud800"}\n', b"[" * 100_000 + b"\n"],
)  # fmt: skip
def test_garbage_is_told_so(control: ControlServer, path: Path, garbage: bytes) -> None:
    """And does not end the conversation."""
    with raw(path) as client:
        client.sendall(garbage + b'{"ask": "echo"}\n')
        lines = client.makefile("rb")
        assert "not a question" in json.loads(lines.readline())["error"]
        assert json.loads(lines.readline()) == {"ok": {"asked": {}}}


def test_a_line_without_end_is_cut_off(control: ControlServer, path: Path) -> None:
    """After as much as a question may have."""
    with raw(path) as client:
        answer = b""
        try:
            client.sendall(b"x" * (LONGEST + 500_000))
            answer = client.recv(1000)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert b"too long" in answer or not answer
    with conversation(path) as asked:
        assert asked.ask("echo")


def test_who_holds_all_connections_keeps_nobody_out(control: ControlServer, path: Path) -> None:
    """The longest silent one makes room."""
    idle = [raw(path) for _ in range(CONNECTIONS * 4)]
    try:
        with conversation(path) as asked:
            assert asked.ask("echo")
        assert wait_until(lambda: len(control._open) <= CONNECTIONS)
        assert threads() <= CONNECTIONS + 2
    finally:
        for each in idle:
            each.close()


def threads() -> int:
    return sum(each.name.startswith("control") for each in threading.enumerate())


def test_a_flood_of_connections_leaves_nothing_behind(control: ControlServer, path: Path) -> None:
    """No thread, no connection, no descriptor."""
    with conversation(path) as asked:
        asked.ask("echo")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(300):
        with raw(path) as client:
            client.sendall(b'{"ask": "echo"}\n{"ask"')
    # Some wait in the kernel still, where no thread has them.
    assert wait_until(lambda: threads() == 1 and len(os.listdir("/proc/self/fd")) <= before, 10)
    with conversation(path) as asked:
        assert asked.ask("echo")


def test_who_does_not_finish_a_question_is_hung_up_on(
    control: ControlServer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slowly the bytes come."""
    monkeypatch.setattr(server, "PROMPT", 0.3)
    with raw(path) as client:
        began = time.monotonic()
        with pytest.raises((BrokenPipeError, ConnectionResetError)):  # noqa: PT012 - whichever byte it is
            while time.monotonic() < began + 10:
                client.sendall(b"x")
                time.sleep(0.05)
        assert time.monotonic() - began < 5


def test_who_does_not_take_the_answer_is_hung_up_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large answer to somebody who has gone to sleep."""
    monkeypatch.setattr(server, "PROMPT", 0.3)
    control = ControlServer(path, {"much": lambda _: {"much": "x" * 10_000_000}})
    control.start()
    try:
        with raw(path) as client:
            client.sendall(b'{"ask": "much"}\n')
            assert wait_until(lambda: bool(control._open))
            assert wait_until(lambda: not control._open)
    finally:
        control.stop()


def test_another_user_is_not_answered() -> None:
    """Even where the permissions would let them in."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run" / "mount.sock"
        control = ControlServer(path, {"echo": echo})
        control.start()
        try:
            for each in (path.parent, path.parent.parent):
                each.chmod(0o755)
            path.chmod(0o666)
            assert peer_says(path, 0) == b"o"
            assert peer_says(path, 65534) == b""
        finally:
            control.stop()


def peer_says(path: Path, uid: int) -> bytes:
    """Ask from a process of another user; return the first letter of the kind of answer."""
    with raw(path) if uid == 0 else contextless(path, uid) as client:
        try:
            client.sendall(b'{"ask": "echo"}\n')
            return client.recv(100)[2:3]
        except (BrokenPipeError, ConnectionResetError):
            return b""


def contextless(path: Path, uid: int) -> socket.socket:
    """Connect as another user: the kernel notes who they are at that moment."""
    os.seteuid(uid)
    try:
        return raw(path)
    finally:
        os.seteuid(0)


def test_stop_removes_the_socket_and_ends_every_conversation(path: Path) -> None:
    """And is soon done, whoever is connected."""
    control = ControlServer(path, {"echo": echo})
    control.start()
    asked = conversation(path)
    asked.ask("echo")
    began = time.monotonic()
    control.stop()
    control.stop()
    assert time.monotonic() - began < 2
    assert not path.exists()
    with pytest.raises(DaemonGone):
        asked.ask("echo")
    asked.close()
    with pytest.raises(DaemonGone):
        conversation(path)


def test_the_socket_of_a_newer_mount_is_left_alone(path: Path) -> None:
    """After a lazy unmount the old daemon lives on while a new one takes its place."""
    older, newer = (
        ControlServer(path, {"name": lambda _, name=name: {"is": name}}) for name in ("old", "new")
    )
    older.start()
    newer.start()
    older.stop()
    with conversation(path) as asked:
        assert asked.ask("name") == {"is": "new"}
    newer.stop()
    assert list(path.parent.iterdir()) == []


def test_a_place_that_cannot_be_used_is_a_line_in_the_log(tmp_path: Path, caplog: Any) -> None:
    """The mount goes on without."""
    (tmp_path / "file").write_text("")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    for folder in ("file", "open"):
        control = ControlServer(tmp_path / folder / "mount.sock", {})
        with caplog.at_level(logging.WARNING):
            control.start()
        assert "no control socket" in caplog.text
        caplog.clear()
        control.stop()


def test_a_daemon_that_does_not_answer_is_said_to(path: Path) -> None:
    """Within the time that was given, whether it accepts or not."""
    path.parent.mkdir(mode=0o700)
    folder = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(f"/proc/self/fd/{folder}/{path.name}")
        os.close(folder)
        deaf.listen(0)
        began = time.monotonic()
        with conversation(path, 0.3) as asked, pytest.raises(DaemonSilent, match=r"within 0.3 s"):
            asked.ask("echo")
        waiting = [raw_or_none(path) for _ in range(3)]
        with pytest.raises(DaemonSilent):
            conversation(path, 0.3)
        assert time.monotonic() - began < 5
        for each in waiting:
            if each is not None:
                each.close()


def raw_or_none(path: Path) -> socket.socket | None:
    made = socket.socket(socket.AF_UNIX)
    made.setblocking(False)  # noqa: FBT003 - socket's own
    folder = os.open(path.parent, os.O_RDONLY)
    made.connect_ex(f"/proc/self/fd/{folder}/{path.name}")
    os.close(folder)
    return made
