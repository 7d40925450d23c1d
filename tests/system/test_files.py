"""Files on a real mount: real programs read them byte for byte, and every request is counted."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import MountedFolder
    from kallglotfs.demo.server import DemoServer

Mounting = "Callable[..., MountedFolder]"

SHIPPED = "rec_01HABC987654321"


def digest(content: bytes) -> str:
    """Return what identical bytes share."""
    return hashlib.sha256(content).hexdigest()


def cat(path: Path) -> bytes:
    return subprocess.run(["cat", path], check=True, capture_output=True, timeout=60).stdout


def dd(path: Path) -> bytes:
    command = ["dd", f"if={path}", "bs=7777", "status=none"]
    return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout


def cp(path: Path) -> bytes:
    target = Path(os.environ["COPIES"]) / path.name
    subprocess.run(["cp", path, target], check=True, timeout=60)
    return target.read_bytes()


def copyfile(path: Path) -> bytes:
    target = Path(os.environ["COPIES"]) / f"{path.name}.copy"
    shutil.copyfile(path, target)
    return target.read_bytes()


def mapped(path: Path) -> bytes:
    # In a process of its own: a page fault holds the GIL, and the service lives in this process.
    program = (
        "import mmap, sys; file = open(sys.argv[1], 'rb');"
        "sys.stdout.buffer.write(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)[:])"
    )
    command = [sys.executable, "-c", program, path]
    return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout


@pytest.fixture(autouse=True)
def _copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "copies").mkdir()
    monkeypatch.setenv("COPIES", str(tmp_path / "copies"))


@pytest.mark.parametrize("read", [cat, dd, cp, copyfile, mapped, Path.read_bytes])
def test_every_way_of_reading_gives_the_services_bytes_for_one_request(
    read: Callable[[Path], bytes], service: DemoServer, mount: Callable[..., MountedFolder]
) -> None:
    """Stat, open and read of a cold native recording are one API request."""
    service.add_recording("rec_big", size=5_000_001)
    folder = mount()
    assert digest(read(folder.recordings / "rec_big.mp3")) == digest(service.audio("rec_big", "mp3"))
    assert service.requests.count("api") == 1
    assert digest(read(folder.recordings / "rec_big.mp3")) == digest(service.audio("rec_big", "mp3"))
    assert service.requests.count("api") == 1
    assert sum(each.bytes_sent for each in service.requests.records("storage")) == 5_000_001


@pytest.mark.parametrize("name", ["mp3", "wav", "ogg"])
@pytest.mark.parametrize("rate", [0, 8000, 48000])
def test_a_converted_format_costs_one_request_more_at_most(
    name: str, rate: int, service: DemoServer, mount: Callable[..., MountedFolder]
) -> None:
    """And its stat already shows the right size."""
    folder = mount()
    path = folder.recordings / (f"{SHIPPED}@{rate}.{name}" if rate else f"{SHIPPED}.{name}")
    expected = service.audio(SHIPPED, name, rate)
    assert path.stat().st_size == len(expected)
    assert path.read_bytes() == expected
    assert service.requests.count("api") <= 2
    found = subprocess.run(
        ["ffprobe", "-v", "error", "-show_entries", "stream=codec_type", "-of", "csv=p=0", path],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert found.stdout.strip() == "audio"
    assert found.stderr == ""
    subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-f", "null", "-"], check=True, timeout=60)
    assert service.requests.count("api") <= 2


def test_a_second_rsync_copies_nothing_also_after_a_remount(
    service: DemoServer, mount: Callable[..., MountedFolder], tmp_path: Path
) -> None:
    """Sizes and times are stable; the first one costs one request per recording."""
    ids = [f"rec_r{index}" for index in range(5)]
    for recording_id in ids:
        service.add_recording(recording_id, size=300_000, session_id="sess_rsync")
    folder = mount()
    for recording_id in ids:
        (folder.recordings / f"{recording_id}.mp3").stat()
    assert service.requests.count("api") == 5
    first = rsync(folder.recordings, tmp_path / "out")
    assert "Number of regular files transferred: 5" in first
    assert service.requests.count("api") == 5
    assert "Number of regular files transferred: 0" in rsync(folder.recordings, tmp_path / "out")
    for recording_id in ids:
        assert (tmp_path / "out" / f"{recording_id}.mp3").read_bytes() == service.audio(recording_id, "mp3")
    numbers = {name: (folder.recordings / name).stat().st_ino for name in os.listdir(folder.recordings)}
    folder.unmount()
    again = mount()
    assert "Number of regular files transferred: 0" in rsync(again.recordings, tmp_path / "out")
    assert numbers == {name: (again.recordings / name).stat().st_ino for name in os.listdir(again.recordings)}
    assert service.requests.count("api") == 0


def rsync(source: Path, target: Path) -> str:
    """Copy a folder and return the statistics."""
    command = ["rsync", "-a", "--stats", f"{source}/", f"{target}/"]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.mark.parametrize("files", [1, 16])
def test_sixteen_readers_at_once(
    files: int, service: DemoServer, mount: Callable[..., MountedFolder]
) -> None:
    """On one file and on many: exact, one API request per recording, no storage byte twice."""
    for index in range(files):
        service.add_recording(f"rec_p{index}", size=2_000_000 + index)
    folder = mount()

    def read(index: int) -> str:
        return digest(cat(folder.recordings / f"rec_p{index % files}.mp3"))

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(read, range(16)))
    assert found == [digest(service.audio(f"rec_p{index % files}", "mp3")) for index in range(16)]
    assert service.requests.count("api") == files
    sent = sum(each.bytes_sent for each in service.requests.records("storage"))
    assert sent == sum(2_000_000 + index for index in range(files))


@pytest.mark.parametrize(("form", "starts"), [("mp3", ["0"]), ("wav", ["0", "50%", "99%"])])
def test_mpv_plays_and_seeks_without_fetching_the_whole_file(
    form: str, starts: list[str], service: DemoServer, mount: Callable[..., MountedFolder]
) -> None:
    """From the start, from the middle, from the end of an hour.

    mpv takes a FUSE mount for the internet and would download what it plays on its own account, hence
    `--cache=no`. In an MP3 it finds the middle by reading up to it, on a local disk as well.
    """
    long = max(service.calls, key=lambda row: row.duration)
    folder = mount()
    path = folder.recordings / f"{long.id}.{form}"
    size = path.stat().st_size
    for start in starts:
        command = ["mpv", "--no-config", "--no-video", "--ao=null", "--untimed", "--cache=no"]
        played = subprocess.run(
            [*command, f"--start={start}", "--length=2", path],
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "AO: [null]" in played.stdout, played.stdout
    assert service.requests.count("api") == (1 if form == long.format else 2)
    sent = sum(each.bytes_sent for each in service.requests.records("storage"))
    assert sent < size / 4


def test_stat_and_attributes(service: DemoServer, mount: Callable[..., MountedFolder]) -> None:
    """What `stat`, `getfattr`, `df` and `findmnt` show."""
    folder = mount(umask="027")
    row = next(each for each in service.calls if each.id == SHIPPED)
    path = folder.recordings / f"{SHIPPED}.{row.format}"
    found = path.stat()
    assert stat.S_IMODE(found.st_mode) == 0o440
    assert stat.S_IMODE(folder.recordings.stat().st_mode) == 0o550
    assert found.st_mtime == row.created_at.timestamp()
    assert found.st_size == len(service.audio(SHIPPED, row.format))
    shown = {name: os.getxattr(path, name).decode() for name in os.listxattr(path)}
    assert shown["user.kallglot.id"] == SHIPPED
    assert shown["user.kallglot.session"] == row.session_id
    assert shown["user.kallglot.channel"] == row.channel
    assert shown["user.kallglot.status"] == "ready"
    assert shown["user.kallglot.format"] == row.format
    assert float(shown["user.kallglot.duration"]) == pytest.approx(row.duration, abs=0.1)
    assert shown["user.kallglot.sample_rate"] == str(row.sample_rate)
    assert shown["user.kallglot.created_at"].endswith("Z")
    assert (
        shown["user.mime_type"] == {"mp3": "audio/mpeg", "wav": "audio/wav", "ogg": "audio/ogg"}[row.format]
    )
    with pytest.raises(OSError) as caught:  # noqa: PT011
        os.getxattr(path, "user.none")
    assert caught.value.errno == errno.ENODATA
    line = subprocess.run(
        ["findmnt", "-no", "SOURCE,FSTYPE,OPTIONS", folder.path], check=True, capture_output=True, text=True
    ).stdout.split()
    assert line[:2] == ["default", "fuse.kallglotfs"]
    assert {"ro", "nosuid", "nodev", "noexec", "default_permissions"} <= set(line[2].split(","))
    assert os.statvfs(folder.path).f_bavail == 0
    assert service.requests.count("api") == 1


def test_names_outside_the_grammar_cost_nothing_and_unknown_ids_little(
    service: DemoServer, mount: Callable[..., MountedFolder]
) -> None:
    """A player probes beside the file; it must not spend the budget."""
    folder = mount()
    (folder.recordings / f"{SHIPPED}.mp3").stat()
    spent = service.requests.count("api")
    for name in (
        "cover.jpg",
        f"{SHIPPED}.srt",
        f"{SHIPPED}",
        f"{SHIPPED}@123.mp3",
        "rec_x.flac",
        "a" * 255,
        "…",
    ):
        for _ in range(3):
            assert not (folder.recordings / name).exists()
    assert service.requests.count("api") == spent
    for _ in range(5):
        assert not (folder.recordings / "rec_nobody.mp3").exists()
        assert not (folder.recordings / "rec_nobody.wav").exists()
    assert service.requests.count("api") == spent + 1


def test_everything_is_read_only(service: DemoServer, mount: Callable[..., MountedFolder]) -> None:
    """Every mutating call is EROFS."""
    folder = mount()
    path = folder.recordings / f"{SHIPPED}.mp3"
    path.stat()
    attempts: list[Callable[[], object]] = [
        lambda: path.write_bytes(b"x"),
        lambda: path.open("ab"),
        path.unlink,
        lambda: path.rename(folder.recordings / "rec_2.mp3"),
        lambda: path.chmod(0o777),
        lambda: os.utime(path),
        lambda: os.truncate(path, 0),
        lambda: os.setxattr(path, "user.x", b"y"),
        lambda: os.symlink("x", folder.recordings / "link"),
        lambda: os.link(path, folder.recordings / "rec_3.mp3"),
        (folder.recordings / "new").mkdir,
        folder.recordings.rmdir,
        (folder.recordings / "rec_new.mp3").touch,
    ]
    for attempt in attempts:
        with pytest.raises(OSError) as caught:  # noqa: PT011
            attempt()
        assert caught.value.errno == errno.EROFS


@pytest.mark.parametrize(
    ("formats", "expected"),
    [
        ("native", {"rec_a.wav"}),
        ("all", {"rec_a.mp3", "rec_a.wav", "rec_a.ogg"}),
        ("mp3+ogg", {"rec_a.mp3", "rec_a.ogg"}),
    ],
)
def test_a_listing_shows_the_formats_that_are_asked_for(
    formats: str, expected: set[str], service: DemoServer, mount: Callable[..., MountedFolder]
) -> None:
    """The known ones, and any other can still be opened."""
    service.add_recording("rec_a", size=1000, format="wav")
    folder = mount(formats=formats)
    (folder.recordings / "rec_a.wav").stat()
    assert set(os.listdir(folder.recordings)) == expected
    assert "recordings" in os.listdir(folder.path)


def test_processing_failed_and_expired_recordings(
    service: DemoServer, mount: Callable[..., MountedFolder]
) -> None:
    """EBUSY on open, ENOENT, ENOENT; none of them listed."""
    service.add_recording("rec_proc", size=10, status="processing")
    service.add_recording("rec_fail", size=10, status="failed")
    folder = mount()
    assert (folder.recordings / "rec_proc.mp3").stat().st_size == 0
    with pytest.raises(OSError) as caught:  # noqa: PT011
        (folder.recordings / "rec_proc.mp3").read_bytes()
    assert caught.value.errno == errno.EBUSY
    assert not (folder.recordings / "rec_fail.mp3").exists()
    assert os.listdir(folder.recordings) == []


def test_a_path_through_a_file_is_no_directory(mount: Callable[..., MountedFolder]) -> None:
    """ENOTDIR, ENOENT and EISDIR as everywhere."""
    folder = mount()
    with pytest.raises(NotADirectoryError):
        (folder.recordings / f"{SHIPPED}.mp3" / "x").stat()
    with pytest.raises(FileNotFoundError):
        (folder.path / "other").stat()
    with pytest.raises(IsADirectoryError):
        folder.recordings.read_bytes()
