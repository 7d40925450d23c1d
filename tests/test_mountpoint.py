"""Is this a place to mount on?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kallglotfs.errors import MountError
from kallglotfs.mountpoint import check_mount_point, mounted_at, mounts_of, resolved

if TYPE_CHECKING:
    from pathlib import Path


def test_a_directory_is_fine(tmp_path: Path) -> None:
    """Empty or not."""
    check_mount_point(str(tmp_path))


def test_a_missing_one_is_told_with_the_way_to_make_it(tmp_path: Path) -> None:
    """One line that says what to do."""
    with pytest.raises(MountError, match="mkdir -p"):
        check_mount_point(str(tmp_path / "none"))


def test_a_file_is_refused(tmp_path: Path) -> None:
    """A file cannot be mounted on."""
    (tmp_path / "file").touch()
    with pytest.raises(MountError, match="not a directory"):
        check_mount_point(str(tmp_path / "file"))


def test_a_mount_point_in_use_is_refused() -> None:
    """/proc is one on every Linux."""
    with pytest.raises(MountError, match="in use"):
        check_mount_point("/proc")


def test_the_topmost_mount_is_found_and_names_are_unescaped(tmp_path: Path) -> None:
    """Format of proc(5)."""
    info = tmp_path / "mountinfo"
    info.write_text(
        "1 0 0:1 / /a\\040b rw - ext4 /dev/x rw\n"
        "2 0 0:2 / /a\\040b ro shared:1 - fuse.kallglotfs acme ro\n"
        "3 0 0:3 / /a rw - tmpfs none rw\n"
    )
    found = mounted_at("/a b", info)
    assert found is not None
    assert (found.kind, found.source) == ("fuse.kallglotfs", "acme")
    assert mounted_at("/b", info) is None


def test_mounts_of_a_type_are_those_on_top_with_who_made_them(tmp_path: Path) -> None:
    """A mount that another covers is not seen by anybody; fuse(4) tells the user."""
    info = tmp_path / "mountinfo"
    info.write_text(
        "1 0 0:1 / /b ro - fuse.kallglotfs one ro,user_id=1000,group_id=100,allow_other\n"
        "2 0 0:2 / /a ro - fuse.kallglotfs two ro,user_id=odd\n"
        "3 0 0:3 / /c ro - fuse.kallglotfs covered ro\n"
        "4 0 0:4 / /c rw - tmpfs none rw\n"
    )
    found = mounts_of("fuse.kallglotfs", info)
    assert [(each.path, each.source, each.uid, each.gid) for each in found] == [
        ("/a", "two", None, None),
        ("/b", "one", 1000, 100),
    ]


def test_names_that_python_takes_for_line_ends_are_names(tmp_path: Path) -> None:
    """Any directory on the machine may be called so."""
    info = tmp_path / "mountinfo"
    info.write_bytes("1 0 0:1 / /a\u2028b rw - tmpfs x rw\n2 0 0:2 / /c\x85 rw - tmpfs y rw\n\n".encode())
    found = mounted_at("/c\x85", info)
    assert found is not None
    assert found.source == "y"


def test_a_mount_point_is_named_as_the_kernel_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Links are followed, relative names completed, a lost working directory told."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert resolved(str(tmp_path / "link")) == str(tmp_path / "real")
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(MountError):
        resolved("calls")
