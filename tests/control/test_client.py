"""Finding mounts whose daemons listen: by whom they are vouched for."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from kallglotfs.control import client, places
from kallglotfs.control.server import ControlServer
from kallglotfs.errors import AskRefused, NoSuchMount
from kallglotfs.mountpoint import Mounted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def listening(folder: Path, mount_point: str, told: str) -> Iterator[None]:
    """Have a daemon that says it serves `told` at the socket of `mount_point`."""
    hello: dict[str, Any] = {"mount_point": told, "profile": "other"}
    server = ControlServer(folder / places.name_of(mount_point), {"hello": lambda _: hello})
    server.start()
    try:
        yield
    finally:
        server.stop()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only directory with sockets."""
    made = tmp_path / "run"
    monkeypatch.setattr(places, "searched", lambda: [made])
    return made


def mounts(monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
    """Have the kernel show one mount, made by a user."""
    shown = [Mounted("/mnt/calls", "fuse.kallglotfs", "default", 1, uid=uid, gid=uid)]
    monkeypatch.setattr(client, "mounts_of", lambda _: shown)


def test_a_mount_is_its_maker_s(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found without asking, by what the kernel says of it; another user cannot pass for it."""
    with listening(folder, "/mnt/calls", "/mnt/calls"):
        mounts(monkeypatch, os.geteuid())
        [found] = client.running()
        assert (found.mount_point, found.profile, found.pid) == ("/mnt/calls", "default", os.getpid())
        mounts(monkeypatch, 4711)
        assert client.running() == []
        monkeypatch.setattr(places, "SYSTEM", folder)
        assert len(client.running()) == 1


def test_a_mount_of_another_namespace_tells_its_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that tells another than its socket's is not believed."""
    monkeypatch.setattr(client, "mounts_of", lambda _: [])
    with listening(folder, "/srv/a", "/srv/a"), listening(folder, "/srv/b", "/mnt/calls"):
        assert [(each.mount_point, each.profile) for each in client.running()] == [
            ("", ""),
            ("/srv/a", "other"),
        ]


def test_where_there_is_none_the_others_are_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line, the dead ones too."""
    mounts(monkeypatch, os.geteuid())
    monkeypatch.setattr(client, "dead", lambda: ["/mnt/old one"])
    with listening(folder, "/mnt/calls", "/mnt/calls"), pytest.raises(NoSuchMount) as told:
        client.ask("/mnt/nothing", "status")
    assert "mounted: /mnt/calls; /mnt/old one is dead" in str(told.value)
    assert "kallglotfs umount '/mnt/old one'" in str(told.value)


def test_a_link_leads_to_nobody_s_service(folder: Path, tmp_path: Path) -> None:
    """Nor does a socket that is not the directory's owner's, nor a directory that is a link."""
    elsewhere = tmp_path / "elsewhere"
    with listening(elsewhere, "/srv/a", "/srv/a"):
        name = places.name_of("/srv/a")
        folder.mkdir(mode=0o700)
        (folder / name).symlink_to(elsewhere / name)
        assert places.sockets(folder) == []
        assert client._peer(folder / name) is None
        assert client._peer(elsewhere / name) is not None
        linked = tmp_path / "linked"
        linked.symlink_to(elsewhere)
        assert client._peer(linked / name) is None
        if os.geteuid() == 0:
            os.chown(elsewhere / name, 4711, -1)
            assert client._peer(elsewhere / name) is None
            # Nor one that another user listens at than its file and its directory tell.
            os.chown(elsewhere, 4711, -1)
            assert client._peer(elsewhere / name) is None


def test_by_its_path_a_directory_has_one_owner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Who could replace a directory above it cannot pass off another's."""
    monkeypatch.setattr(places, "USERS", tmp_path)
    assert places.owner_of(tmp_path / "12345" / "kallglotfs", 0) == 12345
    assert places.owner_of(tmp_path / "12345" / "kallglotfs" / "one", 0) == 12345
    assert places.owner_of(tmp_path / "kallglotfs-4711" / "kallglotfs-0", 0) == 4711
    assert places.owner_of(places.SYSTEM, 4711) == 0
    assert places.owner_of(places.SYSTEM / "one", 4711) == 4711
    assert places.owner_of(tmp_path / "session" / "kallglotfs", 4711) == os.geteuid()


@pytest.mark.parametrize(
    "answer",
    [
        b"[" * 200_000,
        b'{"ok": {"uptime": 1e400}}',
        b'{"ok": {"uptime": NaN}}',
        b'{"ok": {"uptime": -Infinity}}',
        b'{"ok": {"uptime": 1' + b"0" * 400 + b"}}",
        b'{"ok": {"uptime": 1' + b"0" * 9000 + b"}}",
        b'"error"',
        b"null",
    ],
)
def test_an_answer_that_means_harm_is_refused(folder: Path, answer: bytes) -> None:
    """In one line, as one of another version is."""
    folder.mkdir(mode=0o700)
    path = folder / places.name_of("/srv/a")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))
        made.listen()

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = made.accept()
                with connection:
                    connection.recv(1000)
                    connection.sendall(answer + b"\n")

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        unknown = client.Running("", "", 0, os.geteuid(), path)
        with client.Conversation(unknown) as asked, pytest.raises(AskRefused, match="cannot be read"):
            asked.ask("status")
        serving.join(5)
