"""Where control sockets live and which are left over."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from kallglotfs.control import places


def test_root_has_one_place_for_all_and_users_have_their_own(tmp_path: Path) -> None:
    """The login session comes first, the fallback last; the environment of a unit counts where it fits."""
    assert places.home({}, 0) == Path("/run/kallglotfs")
    session = tmp_path / "session"
    session.mkdir()
    assert places.home({"XDG_RUNTIME_DIR": str(session)}, 0) == Path("/run/kallglotfs")
    assert places.home({}, 54321, tmp_path) == tmp_path / "kallglotfs-54321"
    instance = "/run/kallglotfs/mnt-calls"
    assert places.home({"RUNTIME_DIRECTORY": instance}, 0) == Path(instance)
    assert places.home({"RUNTIME_DIRECTORY": instance}, 54321, tmp_path) == Path(instance)
    assert places.home({"RUNTIME_DIRECTORY": "/run/elsewhere"}, 0) == Path("/run/kallglotfs")


def test_a_session_directory_that_others_may_write_to_is_not_used(tmp_path: Path) -> None:
    """Nor one of another user's, nor a relative one."""
    session = tmp_path / "session"
    session.mkdir()
    session.chmod(0o777)
    for given in (str(session), "session", "", "/"):
        assert places.home({"XDG_RUNTIME_DIR": given}, 54321, tmp_path) == tmp_path / "kallglotfs-54321"


def test_root_looks_into_directories_below_its_own_but_not_into_strangers(tmp_path: Path) -> None:
    """In a place where anybody may make directories, one that passes for another user's is left alone."""
    fake = tmp_path / "kallglotfs-54321"
    fake.mkdir()
    assert fake not in places.searched({}, 0, tmp_path)
    own = tmp_path / "kallglotfs-0"
    own.mkdir(mode=0o700)
    assert own in places.searched({}, 0, tmp_path)
    (own / "instance").mkdir()
    assert own / "instance" in places.searched({}, 0, tmp_path)


def test_every_mount_point_has_a_name_of_its_own_that_is_short() -> None:
    """Whatever it is called, however long it is."""
    points = ["/mnt/calls", "/srv/calls", "/mnt/" + "long/" * 500 + "calls", "/mnt/\udcff\n", "/", "/mnt/ c"]
    names = [places.name_of(point) for point in points]
    assert len(set(names)) == len(points)
    assert max(map(len, names)) < 50
    assert all(name.isascii() and name.isprintable() and "/" not in name for name in names)
    assert names[0].startswith("calls-")


def test_a_directory_is_made_private_and_one_that_is_not_is_refused(tmp_path: Path) -> None:
    """0700; a link and a directory open to others are no place for a socket."""
    folder = tmp_path / "session" / "kallglotfs"
    places.prepare(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    places.prepare(folder)
    folder.chmod(0o777)
    with pytest.raises(PermissionError):
        places.prepare(folder)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    with pytest.raises(OSError, match=r"others may write|File exists"):
        places.prepare(link)


def test_what_a_killed_daemon_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    """A socket that somebody listens at stays, and so does what is no socket."""
    folder = tmp_path / "run"
    places.prepare(folder)
    (folder / "file.sock").write_text("")
    with socket.socket(socket.AF_UNIX) as left, socket.socket(socket.AF_UNIX) as alive:
        left.bind(str(folder / "left.sock"))
        alive.bind(str(folder / "alive.sock"))
        alive.listen()
        left.close()
        places.clear(folder)
        assert sorted(each.name for each in folder.iterdir()) == ["alive.sock", "file.sock"]
