"""Names from hell cost no request and forge no line of the log; unsafe directories are refused."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
import unicodedata
from typing import TYPE_CHECKING

import pytest

from conftest import environment
from scripted import Asked, reply, scripted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import MountedFolder
    from kallglotfs.demo.server import DemoServer

ID = "rec_hell"
NAMES = [
    b"..%2f..%2fetc%2fpasswd",
    b"rec_..mp3",
    b"rec_...mp3",
    b"rec_.mp3",
    b"rec_hell%2emp3",
    b"rec_hell\n2026-01-01 00:00:00,000 ERROR kallglotfs: forged.mp3",
    b"rec_hell.mp3\n",
    b"\x1b[2Jrec_hell.mp3",
    b"rec_hell.mp3\r",
    b"rec_hell\x85.mp3",
    "rec_\u202elleh.mp3".encode(),
    "rec_hell\u2028.mp3".encode(),
    "rec_hell\u200d.mp3".encode(),
    "rec_\uff48\uff45\uff4c\uff4c.mp3".encode(),
    unicodedata.normalize("NFD", "rec_h\u00e9ll.mp3").encode(),
    b"rec_\xff\xfe.mp3",
    b"rec_\xed\xa0\x80.mp3",
    b"REC_hell.mp3",
    b"rec_hell.MP3",
    b"rec_hell.mp3 ",
    b" rec_hell.mp3",
    b"-rf",
    b"--rec_hell.mp3",
    b"rec_hell@8000@8000.mp3",
    b"rec_hell@0.mp3",
    b"rec_hell@99999999.mp3",
    b"rec_hell@08000.mp3",
    b"rec_hell.mp3.mp3",
    b"rec_" + b"a" * 65 + b".mp3",
    b"rec_" + b"a" * 246 + b".mp3",
    b"rec_hell?x=1.mp3",
    b"rec_hell#.mp3",
    b"rec_hell;rm -rf .mp3",
    b"rec_$(id).mp3",
    b"rec_{0.__class__}.mp3",
    b"rec_%s%n.mp3",
    b"~",
    b"~root",
    b"rec_hell.exe",
]


def test_names_from_hell_are_not_there_and_cost_nothing(
    service: DemoServer, mount: Callable[..., MountedFolder]
) -> None:
    """Looked up, opened, asked for attributes: ENOENT, no request, and every line of the log is ours."""
    service.add_recording(ID, size=10_000)
    folder = mount()
    assert (folder.recordings / f"{ID}.mp3").read_bytes() == service.audio(ID, "mp3")
    service.requests.clear()
    base = os.fsencode(folder.recordings)
    calls: list[Callable[[bytes], object]] = [os.stat, lambda path: os.open(path, os.O_RDONLY), os.listxattr]
    for name in NAMES:
        for call in calls:
            with pytest.raises(OSError) as caught:  # noqa: PT011
                call(base + b"/" + name)
            assert caught.value.errno in (errno.ENOENT, errno.ENOTDIR), name
    # The kernel passes on up to 1024 bytes.
    for length in (300, 2000):
        with pytest.raises(OSError) as caught:  # noqa: PT011
            (folder.recordings / ("rec_" + "a" * length)).stat()
        assert caught.value.errno in (errno.ENOENT, errno.ENAMETOOLONG)
    # Out of the mount it leads only where the kernel says.
    assert (folder.recordings / ".." / "..").samefile(folder.path.parent)
    assert service.requests.count() == 0
    assert os.listdir(folder.recordings) == [f"{ID}.mp3"]
    lines = folder.log.split("\n")[:-1]
    assert len(lines) > len(NAMES)
    assert all(re.match(r"\d{4}-\d\d-\d\d [\d:,]+ [A-Z]+ kallglotfs", line) for line in lines)
    assert all(line.isprintable() for line in lines)


def test_ids_from_hell_are_refused_by_add_in_a_line_each(tmp_path: Path) -> None:
    """What is no id is not asked for, and what a service lists under one is passed over and counted."""
    evil = [
        "../../etc/passwd",
        "rec_a/b",
        "rec_a\n",
        "rec_\u202ea",
        "rec_%2e",
        "rec_" + "a" * 65,
        "rec_",
        "-x",
        "REC_1",
    ]
    items = [{"id": each} for each in [*evil, "rec_good", "rec_good", None, 7]]

    def answer(asked: Asked) -> bytes:
        assert "/sessions/sess_1/" in asked.path
        return reply(200, json.dumps({"data": items, "has_more": True}).encode())

    with scripted() as server:
        server.answer = answer
        options = f"api_url={server.origin}/v1,state_dir={tmp_path / 's'}"
        command = [sys.executable, "-m", "kallglotfs.cli.main", "add", "-o", options, "--"]
        run = subprocess.run(
            [*command, *evil, "sess_1", "sess_/../x"],
            env=environment("sk_test_x"),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert {each.path for each in server.asked} == {"/v1/sessions/sess_1/recordings"}
        assert len(server.asked) <= 2
    assert run.returncode == 1
    assert "1 recording added" in run.stdout
    complaints = run.stderr.split("\n")[:-1]
    assert all(line.isprintable() and line.startswith("kallglotfs add: ") for line in complaints)
    assert sum("not an id" in line for line in complaints) == len(evil) + 1
    assert any("no recordings: passed over" in line for line in complaints)


def unsafe(how: str, tmp_path: Path) -> Path:
    """Make a cache directory that is not safe."""
    place = tmp_path / "cache"
    if how == "a link":
        (tmp_path / "real").mkdir(mode=0o700)
        place.symlink_to(tmp_path / "real")
    elif how == "a dangling link":
        place.symlink_to(tmp_path / "nowhere")
    else:
        place.mkdir(mode=0o700)
        if how == "another's":
            os.chown(place, 65534, 65534)
        else:
            place.chmod(0o750)
    return place


UNSAFE = {
    "a link": "link",
    "a dangling link": "link",
    "another's": "another user",
    "readable to the group": "chmod 700",
}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what belongs to others")
@pytest.mark.parametrize("how", UNSAFE)
def test_an_unsafe_cache_directory_is_refused_at_mount(how: str, service: DemoServer, tmp_path: Path) -> None:
    """One line that says what to do, exit code 1, nothing mounted and nothing written."""
    place = unsafe(how, tmp_path)
    (tmp_path / "mnt").mkdir()
    options = f"api_url={service.api_url},state_dir={tmp_path / 'state'},cache_dir={place},disk_cache=10M"
    run = subprocess.run(
        [sys.executable, "-m", "kallglotfs.cli.mount_helper", tmp_path / "mnt", "-o", options],
        env=environment(service.api_key),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 1
    assert run.stderr.count("\n") == 1
    assert "cache_dir" in run.stderr
    assert UNSAFE[how] in run.stderr
    assert not os.path.ismount(tmp_path / "mnt")
    assert not (tmp_path / "nowhere").exists()
    assert [*(tmp_path / "real").glob("*")] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_roots_directory_is_another_users_for_an_ordinary_one(tmp_path: Path) -> None:
    """Refused as such, although the mode is right; one of his own is taken."""
    script = (
        "import os, sys, pathlib\n"
        "from kallglotfs.content.cache_directory import CacheDirectory\n"
        "from kallglotfs.errors import ConfigError\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "CacheDirectory(pathlib.Path(sys.argv[2])).salt()\n"
        "try:\n"
        "    CacheDirectory(pathlib.Path(sys.argv[1]))\n"
        "except ConfigError as error:\n"
        "    print(error)\n"
    )
    for name in ("roots", "his"):
        (tmp_path / name).mkdir(mode=0o700)
    os.chown(tmp_path / "his", 65534, 65534)
    above = tmp_path
    while above != above.parent and above.stat().st_uid == 0 and str(above) != "/tmp":
        above.chmod(above.stat().st_mode | 0o011)
        above = above.parent
    run = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "roots", tmp_path / "his"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.stderr == ""
    assert "another user" in run.stdout or "Permission denied" in run.stdout
    assert [path.name for path in (tmp_path / "his").iterdir()] == ["salt"]
