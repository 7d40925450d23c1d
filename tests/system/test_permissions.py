"""Who may look: mount flags, other users, an ordinary user's daemon, tracing and core dumps."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import environment, wait_until
from kallglotfs.mountpoint import mounted_at, mounts_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import MountedFolder
    from kallglotfs.demo.server import DemoServer

NOBODY = 65534
AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
FLAGS = {"ro", "nosuid", "nodev", "noexec"}


def flags_of(path: Path) -> tuple[set[str], set[str]]:
    """Return the options of a mount and of its filesystem, as the kernel shows them."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if before.split()[4] == str(path):
            return set(before.split()[5].split(",")), set(after.split()[2].split(","))
    raise AssertionError(f"nothing is mounted on {path}")


def open_the_way(path: Path) -> None:
    """Let other users reach a directory of pytest's."""
    for parent in (path, *path.parents):
        if str(parent).startswith("/tmp/"):
            parent.chmod(parent.stat().st_mode | 0o055)


@dataclass
class User:
    """An ordinary user with a place to mount at and a daemon."""

    service: DemoServer
    folder: Path
    python: str

    @property
    def path(self) -> Path:
        """The mount point."""
        return self.folder / "calls"

    def run(self, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
        """Run the helper as that user."""
        given = {
            "api_url": self.service.api_url,
            "state_dir": self.folder / "state",
            "log_file": self.folder / "log",
        } | options  # fmt: skip
        text = ",".join(name if value is True else f"{name}={value}" for name, value in given.items())
        return subprocess.run(
            [
                *AS_NOBODY, self.python, "-m", "kallglotfs.cli.mount_helper",
                str(self.path), "-o", text, *words,
            ],
            env=environment(self.service.api_key) | {"HOME": str(self.folder)},
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip

    def daemon(self) -> int:
        """Return the id of the daemon."""
        return daemon_of(self.path)


def daemon_of(path: Path) -> int:
    """Return the id of the process that serves a mount point."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if str(path).encode() in words and b"kallglotfs.cli.mount_helper" in words:
                return int(entry.name)
    raise AssertionError("no daemon")


@pytest.fixture
def user(service: DemoServer) -> Iterator[User]:
    """A user that is not root, with /dev/fuse open to it as distributions have it."""
    # Not below pytest's directories: another run beside this one closes them to others.
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as home:
        made = User(service, Path(home), sys.executable)
        made.path.mkdir()
        for path in (made.folder, made.path):
            os.chown(path, NOBODY, NOBODY)
        yield from with_device(made)


def with_device(made: User) -> Iterator[User]:
    """Open the device while a test runs, and unmount what it leaves."""
    can = subprocess.run(
        [*AS_NOBODY, made.python, "-c", "import kallglotfs, kallglotfs.cli.mount_helper"],
        capture_output=True,
        check=False,
    )
    if can.returncode:
        pytest.skip("this Python cannot be run by an ordinary user")
    device = Path("/dev/fuse")
    mode = device.stat().st_mode
    device.chmod(0o666)
    try:
        yield made
    finally:
        device.chmod(mode)
        if mounts_at(str(made.path)):
            subprocess.run(["umount", "-l", made.path], check=True, timeout=10)


def test_the_flags_of_a_mount_are_what_they_are_whatever_is_asked_for(
    mount: Callable[..., MountedFolder],
) -> None:
    """Words that mount(8) gives every helper turn nothing off."""
    for words in ({}, {"defaults,rw,suid,dev,exec,users,x-nothing": "1"}):
        folder = mount(**words)
        options, of_filesystem = flags_of(folder.path)
        assert options >= FLAGS
        assert {"ro", "default_permissions"} <= of_filesystem
        assert "allow_other" not in of_filesystem
        with pytest.raises(OSError, match="Read-only"):
            (folder.path / "recordings" / "new").touch()
    assert "allow_other" in flags_of(mount(allow_other="true").path)[1]


def test_another_user_sees_nothing_without_allow_other_and_what_the_mode_lets_it_with(
    service: DemoServer, mount: Callable[..., MountedFolder], tmp_path: Path
) -> None:
    """Listing, stat and reading are refused; with it, owner, group and umask hold."""
    service.add_recording("rec_p", size=1000)
    open_the_way(tmp_path)

    def tries(folder: MountedFolder) -> list[int]:
        file = folder.recordings / "rec_p.mp3"
        commands = [["ls", folder.path], ["stat", folder.recordings], ["stat", file], ["cat", file]]
        return [
            subprocess.run([*AS_NOBODY, *command], capture_output=True, timeout=10, check=False).returncode
            for command in commands
        ]

    closed = mount()
    assert all(tries(closed))
    assert service.requests.count("api") == 0
    shared = mount(allow_other="true")
    assert tries(shared) == [0, 0, 0, 0]
    # umask 077 leaves it to the owner, and the kernel holds it, before anybody asks us.
    private = mount(allow_other="true", umask="077", uid=1000, gid=1000)
    found = (private.recordings / "rec_p.mp3").stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (1000, 1000, 0o400)
    assert all(tries(private)[1:])
    own = mount(allow_other="true", umask="077", uid=NOBODY, gid=NOBODY)
    assert tries(own) == [0, 0, 0, 0]


def test_an_ordinary_users_mount_is_its_own(service: DemoServer, user: User) -> None:
    """Root cannot look in either; and the daemon's memory and environment belong to root."""
    service.add_recording("rec_p", size=1000)
    result = user.run()
    assert (result.returncode, result.stderr) == (0, "")
    assert flags_of(user.path)[0] >= FLAGS
    look = ["cat", user.path / "recordings" / "rec_p.mp3"]
    assert subprocess.run([*AS_NOBODY, *look], capture_output=True, timeout=10, check=False).returncode == 0
    assert subprocess.run(look, capture_output=True, timeout=10, check=False).returncode != 0
    daemon = user.daemon()
    assert Path(f"/proc/{daemon}/mem").stat().st_uid == 0
    for name in ("mem", "environ", "maps"):
        peek = [*AS_NOBODY, "head", "-c1", f"/proc/{daemon}/{name}"]
        result = subprocess.run(peek, capture_output=True, text=True, timeout=10, check=False)
        assert "Permission denied" in result.stderr, name
    # The same of a process that is not hardened can be read, so that the refusals above mean something.
    with subprocess.Popen([*AS_NOBODY, "sleep", "30"]) as plain:
        assert wait_until(lambda: Path(f"/proc/{plain.pid}/environ").stat().st_uid == NOBODY)
        peek = [*AS_NOBODY, "head", "-c1", f"/proc/{plain.pid}/environ"]
        assert subprocess.run(peek, capture_output=True, timeout=10, check=False).returncode == 0
        plain.kill()
    os.kill(daemon, signal.SIGTERM)
    assert wait_until(lambda: not mounts_at(str(user.path)))


def test_an_ordinary_user_clears_its_own_dead_mount(user: User) -> None:
    """By fusermount3, also with somebody still in it."""
    assert user.run().returncode == 0
    daemon = user.daemon()
    sit = [*AS_NOBODY, "sh", "-c", 'cd "$1" && exec sleep 30', "sh", user.path]
    with subprocess.Popen(sit) as other:
        assert wait_until(lambda: os.readlink(f"/proc/{other.pid}/cwd") == str(user.path))
        os.kill(daemon, signal.SIGKILL)
        assert wait_until(lambda: not Path(f"/proc/{daemon}").exists())
        result = user.run()
        other.kill()
    assert (result.returncode, result.stderr) == (0, "")
    assert len(mounts_at(str(user.path))) == 1
    os.kill(user.daemon(), signal.SIGTERM)
    assert wait_until(lambda: not mounts_at(str(user.path)))


def test_allow_other_that_the_system_does_not_permit_is_one_line(user: User) -> None:
    """With what to do, and nothing is left mounted."""
    if "\nuser_allow_other" in Path("/etc/fuse.conf").read_text():
        pytest.skip("this system permits it")
    result = user.run(allow_other=True)
    assert result.returncode == 32
    assert "user_allow_other" in result.stderr
    assert result.stderr.count("\n") == 1
    assert mounts_at(str(user.path)) == []


def test_no_one_of_the_same_user_can_trace_the_daemon(mount: Callable[..., MountedFolder]) -> None:
    """Not even root without the capability; a process that is not hardened can be traced."""
    folder = mount()
    without = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    attach = (
        "import ctypes, os, sys; c = ctypes.CDLL(None, use_errno=True); "
        "print(c.ptrace(16, int(sys.argv[1]), 0, 0), ctypes.get_errno())"
    )

    def trace(process: int) -> str:
        command = [*without, sys.executable, "-c", attach, str(process)]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    with subprocess.Popen([*without, "sleep", "30"]) as plain:
        scope = Path("/proc/sys/kernel/yama/ptrace_scope")
        if not scope.exists() or scope.read_text().strip() == "0":
            assert trace(plain.pid) == "0 0"
        plain.kill()
    assert trace(folder.process.pid) == "-1 1"


#: Crashes with as much room for a core as the system allows, hardened by prctl alone or not at all.
CRASH = """
import os, resource, signal, sys
from kallglotfs import hardening
most = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (most, most))
resource.setrlimit = lambda *_: None
if sys.argv[1] == "hardened":
    hardening.harden()
os.kill(os.getpid(), signal.SIGSEGV)
"""


def test_a_crash_leaves_no_core(mount: Callable[..., MountedFolder], tmp_path: Path) -> None:
    """The limit is 0, and prctl holds where cores are piped to a program and the limit says nothing."""
    folder = mount()
    assert resource.prlimit(folder.process.pid, resource.RLIMIT_CORE) == (0, 0)
    os.kill(folder.process.pid, signal.SIGSEGV)
    _, status = os.waitpid(folder.process.pid, 0)
    folder.process.returncode = -signal.SIGSEGV
    assert os.WTERMSIG(status) == signal.SIGSEGV
    assert not os.WCOREDUMP(status)

    def crash(how: str) -> bool:
        directory = tmp_path / how
        directory.mkdir()
        here = environment(None) | {"PYTHONPATH": str(Path.cwd())}
        child = os.posix_spawn(
            "/bin/sh",
            ["sh", "-c", 'cd "$1" && exec "$2" -c "$3" "$4"', "sh", directory, sys.executable, CRASH, how],
            here,
        )
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGSEGV
        return os.WCOREDUMP(status)

    assert not crash("hardened")
    if not crash("plain"):
        pytest.skip("this system writes no cores, so that nothing is seen of prctl here")


def test_the_limit_on_descriptors_is_raised_to_what_is_allowed(
    mount: Callable[..., MountedFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shells give 1024, and each connection and cached block is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 256), hard))
    try:
        folder = mount()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert resource.prlimit(folder.process.pid, resource.RLIMIT_NOFILE) == (hard, hard)


NAMES = ["a b\ttab\nline\\slash\\040,com,ma \"quo\" 'te' %s$(x) grüße-\u202e-\u2028-\x85", "x" * 255]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:20])
def test_a_mount_point_may_have_any_name(name: str, service: DemoServer, tmp_path: Path) -> None:
    """Mounted, cleared when dead, and unmounted, whatever is in it."""
    path = tmp_path / name
    path.mkdir()
    options = f"api_url={service.api_url},state_dir={tmp_path / 'state'},log_file={tmp_path / 'log'}"
    helper = [sys.executable, "-m", "kallglotfs.cli.mount_helper", str(path), "-o", options]
    given = {"env": environment(service.api_key), "capture_output": True, "text": True, "timeout": 20}
    try:
        for _ in range(2):
            result = subprocess.run(helper, check=False, **given)
            assert (result.returncode, result.stderr) == (0, "")
            assert "recordings" in os.listdir(path)
            if _ == 0:
                daemon = daemon_of(path)
                os.kill(daemon, signal.SIGKILL)
                assert wait_until(lambda daemon=daemon: not Path(f"/proc/{daemon}").exists())
        away = [sys.executable, "-m", "kallglotfs", "umount", str(path)]
        assert subprocess.run(away, check=False, **given).returncode == 0
        assert mounted_at(str(path)) is None
    finally:
        while mounted_at(str(path)):
            assert ctypes.CDLL(None).umount2(os.fsencode(path), 2) == 0
        ends = time.monotonic() + 5
        while time.monotonic() < ends:
            try:
                daemon_of(path)
            except AssertionError:
                break
