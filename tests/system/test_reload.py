"""SIGHUP under a real mount: settings, key and log file are read again, and nobody who reads notices."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING

import pytest

from conftest import environment, wait_until
from daemons import HELPER, configure, daemon, entries, settings_for, stop
from kallglotfs.demo.knobs import Fault

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import MountedFolder
    from kallglotfs.demo.server import DemoServer

SIZE = 300_000
NEW = "sk_test_rotated987654321"
#: Seconds a daemon may take to do as a signal says, on a busy machine.
SOON = 20.0


def failure(path: Path) -> int | None:
    """Return the errno of reading a file, None when it can be read."""
    try:
        path.read_bytes()
    except OSError as error:
        return error.errno
    return None


def put(path: Path, key: str) -> Path:
    """Write a key file as an administrator does: under another name, then into its place."""
    fresh = path.with_suffix(".fresh")
    fresh.write_text(key)
    fresh.chmod(0o600)
    return fresh.replace(path)


def hang_up(mounted: MountedFolder) -> str:
    """Send a SIGHUP; return the line that says what came of it."""
    before = len(outcomes(mounted))
    mounted.process.send_signal(signal.SIGHUP)
    assert wait_until(lambda: len(outcomes(mounted)) > before, SOON), mounted.log
    return outcomes(mounted)[-1]


def outcomes(mounted: MountedFolder) -> list[str]:
    """Return what the log says of reloads."""
    return re.findall(r"(?:reloaded: |everything stays as it was: ).*", mounted.log)


def test_level_time_limits_and_key_change_without_a_remount(service: DemoServer, tmp_path: Path) -> None:
    """From the next call on; what needs a remount is named in one line; the old key is not offered again."""
    for name in ("rec_a", "rec_b", "rec_c"):
        service.add_recording(name, size=SIZE)
    key = put(tmp_path / "key", service.api_key)
    with daemon(service, tmp_path, api_key="", api_key_file=key) as mounted:
        assert failure(mounted.recordings / "rec_a.mp3") is None
        assert " DEBUG " not in mounted.log
        service.set_api_key(NEW)
        given = settings_for(service, tmp_path, api_key_file=put(tmp_path / "key2", NEW))
        given |= {"log_level": "debug", "timeout": "1s", "memory_cache": "64M", "formats": "all"}
        configure(tmp_path, **given)
        assert hang_up(mounted) == "reloaded: api_key_file, timeout, log_level"
        assert wait_until(lambda: "only a remount changes formats, memory_cache" in mounted.log, SOON)
        assert failure(mounted.recordings / "rec_b.mp3") is None
        assert [each.status for each in service.requests.records("api")].count(401) == 0
        assert " DEBUG " in mounted.log
        service.knobs.faults = [Fault("storage", "stall_headers", times=-1)]
        began = time.monotonic()
        assert failure(mounted.recordings / "rec_c.mp3") == errno.ETIMEDOUT
        assert time.monotonic() - began < 8
        service.knobs.faults = []
        assert wait_until(lambda: failure(mounted.recordings / "rec_c.mp3") is None)
        assert not {path.name for path in mounted.recordings.iterdir()} & {"rec_a.wav", "rec_a.ogg"}
        assert stop(mounted) == 0
        assert NEW not in mounted.log
        assert service.api_key not in mounted.log


def test_what_files_show_and_who_may_read_them_changes(service: DemoServer, tmp_path: Path) -> None:
    """Mode, owner, programs that are kept out, ids that are watched, the disk tier's size."""
    service.add_recording("rec_a", size=SIZE)
    service.add_recording("rec_b", size=SIZE)
    cache = {"disk_cache": "64M", "cache_dir": tmp_path / "cache"}
    with daemon(service, tmp_path, **cache) as mounted:
        path = mounted.recordings / "rec_a.mp3"
        assert failure(path) is None
        assert wait_until(lambda: stored(tmp_path / "cache") > SIZE, SOON)
        (tmp_path / "ids").write_text("rec_b\n")
        changed = {"umask": "077", "uid": 7, "deny_programs": "dd", "ids_file": tmp_path / "ids"}
        changed["disk_cache"] = "100K"
        given = settings_for(service, tmp_path, **cache)
        configure(tmp_path, **given | changed)
        assert hang_up(mounted) == "reloaded: disk_cache, uid, umask, ids_file, deny_programs"
        assert wait_until(lambda: path.stat().st_mode & 0o777 == 0o400, SOON)
        assert path.stat().st_uid == 7
        assert wait_until(lambda: "rec_b.mp3" in os.listdir(mounted.recordings), SOON)
        assert copied(path) != 0
        assert wait_until(lambda: stored(tmp_path / "cache") <= 100 * 1024, SOON)
        configure(tmp_path, **given | {"disk_cache": 0})
        assert hang_up(mounted) == "reloaded: uid, umask, ids_file, deny_programs"
        assert wait_until(lambda: "only a remount changes disk_cache" in mounted.log)
        assert copied(path) == 0
        assert path.read_bytes() == service.audio("rec_a", "mp3")


def copied(path: Path) -> int:
    """Return the exit code of a program that copies a file."""
    return subprocess.run(["dd", f"if={path}", "of=/dev/null"], capture_output=True, check=False).returncode


def stored(folder: Path) -> int:
    """Return the bytes of the files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_sixteen_readers_notice_nothing_of_fifty_hang_ups(service: DemoServer, tmp_path: Path) -> None:
    """While settings change to and fro, every byte is right and every read succeeds."""
    names = [f"rec_r{index}" for index in range(16)]
    for name in names:
        service.add_recording(name, size=1_500_000)
    ended = Event()

    def read(mounted: MountedFolder, name: str) -> int:
        content, rounds = service.audio(name, "mp3"), 0
        while not ended.is_set() or rounds < 2:
            with (mounted.recordings / f"{name}.mp3").open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                assert file.read() == content
            rounds += 1
        return rounds

    one = {"timeout": "20s", "log_level": "info", "memory_cache": "8M"}
    other = {"timeout": "15s", "throttle_timeout": "30s", "log_level": "warning", "log_format": "json"}
    with daemon(service, tmp_path, **one) as mounted, ThreadPoolExecutor(16) as pool:
        try:
            done = [pool.submit(read, mounted, name) for name in names]
            for turn in range(50):
                configure(tmp_path, **settings_for(service, tmp_path, **(one, one | other)[turn % 2]))
                mounted.process.send_signal(signal.SIGHUP)
                time.sleep(0.05)
        finally:
            ended.set()
        assert sum(each.result(timeout=60) for each in done) >= 32
        assert wait_until(lambda: len(outcomes(mounted)) > 5, SOON)
        assert "everything stays" not in mounted.log
        assert stop(mounted) == 0


def test_what_cannot_be_used_changes_nothing(service: DemoServer, tmp_path: Path) -> None:
    """One line says why; what was right before stays in use, and the next hang-up may be right again."""
    for index in range(7):
        service.add_recording(f"rec_{index}", size=SIZE)
    paths = iter([tmp_path / "mnt" / "recordings" / f"rec_{index}.mp3" for index in range(7)])
    key = put(tmp_path / "key", service.api_key)
    right = settings_for(service, tmp_path, api_key_file=key)
    bad: list[tuple[dict[str, object], str]] = [
        ({"timeout": "soon"}, r"\[default\] timeout: 'soon' is not a time"),
        ({"timeuot": "3s"}, r"unknown setting 'timeuot'"),
        ({"api_key_file": tmp_path / "none"}, r"api_key_file .*: there is no such file"),
        ({"log_file": tmp_path / "no" / "log"}, r"log_file: No such file or directory: "),
        ({"= =": ""}, r"config\.toml:\d+:\d+: "),
    ]
    with daemon(service, tmp_path, api_key="", api_key_file=key) as mounted:
        for number, (wrong, message) in enumerate(bad):
            configure(tmp_path, **right | {"log_level": "debug", "timeout": "3s"} | wrong)
            assert re.search(f"everything stays as it was: .*{message}", hang_up(mounted))
            assert mounted.log.count(" ERROR ") == number + 1
            assert failure(next(paths)) is None
        (tmp_path / "config.toml").unlink()
        # Whoever asks is told, also of what has not changed.
        for _ in range(3):
            assert "config.toml: cannot be read" in hang_up(mounted)
        assert failure(next(paths)) is None
        assert " DEBUG " not in mounted.log
        assert "Traceback" not in mounted.log
        configure(tmp_path, **right | {"log_level": "debug", "timeout": "3s"})
        assert hang_up(mounted) == "reloaded: timeout, log_level"
        assert failure(next(paths)) is None


def test_a_log_that_was_rotated_is_opened_anew(service: DemoServer, tmp_path: Path) -> None:
    """As logrotate does it: renamed, then a hang-up; with settings that cannot be used as well."""
    service.add_recording("rec_a", size=SIZE)
    with daemon(service, tmp_path, log_format="json") as mounted:
        mounted.log_file.rename(tmp_path / "daemon.log.1")
        assert '"message": "reloaded: no setting has changed"' in hang_up_as_json(mounted)
        (tmp_path / "config.toml").write_text("no settings at all")
        mounted.log_file.rename(tmp_path / "daemon.log.2")
        assert "everything stays as it was" in hang_up_as_json(mounted)
        assert stop(mounted) == 0
    assert entries((tmp_path / "daemon.log.1").read_text())[-1]["message"].startswith("mounted")
    assert len(entries((tmp_path / "daemon.log.2").read_text())) == 1
    assert mounted.log_file.stat().st_mode & 0o777 == 0o600


def hang_up_as_json(mounted: MountedFolder) -> str:
    """Send a SIGHUP and return the log that is new after it."""
    mounted.process.send_signal(signal.SIGHUP)
    assert wait_until(lambda: "\n" in mounted.log, SOON)
    return mounted.log


def test_the_service_manager_is_told_of_a_reload(service: DemoServer, tmp_path: Path) -> None:
    """RELOADING with the time, then READY."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(SOON)
        with daemon(service, tmp_path, environ={"NOTIFY_SOCKET": str(tmp_path / "notify")}) as mounted:
            before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            hang_up(mounted)
            told = ""
            while "RELOADING=1" not in told:
                told = manager.recv(4096).decode()
            match = re.search(r"^MONOTONIC_USEC=(\d+)$", told, re.MULTILINE)
            assert match is not None
            assert before <= int(match[1]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            while "READY=1" not in told:
                told = manager.recv(4096).decode()


def test_a_daemon_in_the_background_reads_the_same_files_again(service: DemoServer, tmp_path: Path) -> None:
    """Relative paths stay those of the directory it was started in."""
    path = tmp_path / "mnt"
    path.mkdir()
    given = settings_for(service, tmp_path, log_file="relative.log", state_dir="state")
    configure(tmp_path, **given)
    command = [*HELPER, "mnt", "-o", "config=config.toml"]
    try:
        subprocess.run(command, cwd=tmp_path, env=environment(service.api_key), check=True, timeout=60)
        state = json.loads((path / ".kallglotfs" / "status.json").read_text())
        configure(tmp_path, **given | {"log_level": "debug"})
        (tmp_path / "relative.log").rename(tmp_path / "old.log")
        os.kill(state["pid"], signal.SIGHUP)
        log = tmp_path / "relative.log"
        assert wait_until(lambda: log.exists() and "reloaded: log_level" in log.read_text(), SOON)
        assert "only a remount" not in log.read_text()
        os.kill(state["pid"], signal.SIGTERM)
        assert wait_until(lambda: not path.is_mount(), SOON)
        assert wait_until(lambda: "unmounted" in log.read_text(), SOON)
    finally:
        subprocess.run(["fusermount3", "-uz", str(path)], check=False, capture_output=True)


def interrupt(mounted: MountedFolder, master: int) -> None:
    """Press Ctrl-C."""
    del mounted
    os.write(master, b"\x03")


def close(mounted: MountedFolder, master: int) -> None:
    """Close the terminal."""
    del mounted
    os.close(master)


def hup(mounted: MountedFolder, master: int) -> None:
    """Send what a closed terminal sends."""
    del master
    mounted.process.send_signal(signal.SIGHUP)


@pytest.mark.parametrize("leave", [interrupt, close, hup])
def test_who_mounts_on_a_terminal_ends_with_it(
    leave: Callable[[MountedFolder, int], None], service: DemoServer, tmp_path: Path
) -> None:
    """By Ctrl-C, when the window is closed, and by SIGHUP; unmounted each time."""
    master, slave = os.openpty()
    streams = {"stdin": slave, "stdout": slave, "stderr": slave}
    before = ("setsid", "--ctty")
    try:
        with daemon(service, tmp_path, before=before, streams=streams) as mounted:
            os.close(slave)
            leave(mounted, master)
            assert mounted.process.wait(SOON) == 0
            assert not mounted.path.is_mount()
            assert "unmounted" in mounted.log
    finally:
        if leave is not close:
            os.close(master)


def test_who_had_hang_ups_ignored_outlives_the_terminal(service: DemoServer, tmp_path: Path) -> None:
    """As nohup does: its end only has the settings read again."""
    service.add_recording("rec_a", size=SIZE)
    master, slave = os.openpty()
    streams = {"stdin": slave, "stdout": slave, "stderr": slave}
    before = ("setsid", "--ctty", "env", "--ignore-signal=HUP")
    with daemon(service, tmp_path, before=before, streams=streams) as mounted:
        os.close(slave)
        os.close(master)
        assert wait_until(lambda: bool(outcomes(mounted)), SOON)
        assert failure(mounted.recordings / "rec_a.mp3") is None
        assert stop(mounted) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_ends_still_does_after_hang_ups(
    number: int, service: DemoServer, tmp_path: Path
) -> None:
    """Without a terminal, SIGHUP and SIGUSR1 in a row before it."""
    with daemon(service, tmp_path) as mounted:
        for _ in range(20):
            mounted.process.send_signal(signal.SIGHUP)
            mounted.process.send_signal(signal.SIGUSR1)
        assert stop(mounted, number) == 0
        assert not mounted.path.is_mount()
        assert "Traceback" not in mounted.log
