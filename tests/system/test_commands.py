"""The commands as an administrator meets them: options, exit codes, one clear line."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import environment, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import MountedFolder
    from kallglotfs.demo.server import DemoServer

HELPER = Path(sys.executable).parent / "mount.kallglotfs"
COMMAND = Path(sys.executable).parent / "kallglotfs"


class Place:
    """A mount point and what a user would type about it."""

    def __init__(self, service: DemoServer, folder: Path) -> None:
        self.service = service
        self.path = folder / "calls"
        self.path.mkdir()
        self.folder = folder
        self.key: str | None = service.api_key
        self.extra: dict[str, str] = {}
        self.options = f"api_url={service.api_url},state_dir={folder / 'state'},log_file={folder / 'log'}"

    def run(self, *command: object, **kwargs: object) -> subprocess.CompletedProcess[str]:
        """Run a program as a user would, in time."""
        return subprocess.run(  # type: ignore[call-overload,no-any-return]
            [str(part) for part in command],
            env=environment(self.key) | self.extra,
            capture_output=True,
            text=True,
            timeout=15,
            check=False,
            **kwargs,
        )

    def mount(self, *arguments: object, options: str = "") -> subprocess.CompletedProcess[str]:
        """Run the helper in the background."""
        return self.run(
            HELPER, *arguments, self.path, "-o", self.options + (f",{options}" if options else "")
        )

    def daemons(self) -> list[int]:
        """Return the ids of the daemons that serve this mount point."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if str(self.path).encode() in words and any(b"kallglotfs" in word for word in words):
                    found.append(int(entry.name))
        return found


@pytest.fixture
def place(service: DemoServer, tmp_path: Path) -> Iterator[Place]:
    """A place to mount at, cleared afterwards."""
    made = Place(service, tmp_path)
    yield made
    subprocess.run(["fusermount3", "-uz", str(made.path)], check=False, capture_output=True)
    assert wait_until(lambda: not made.daemons(), 10), "a daemon was left"


def one_line(result: subprocess.CompletedProcess[str]) -> str:
    """Return the single line of an error."""
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1, result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr


def test_it_goes_to_the_background_and_returns_when_the_mount_answers(place: Place) -> None:
    """And ends when it is unmounted."""
    result = place.mount()
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert "recordings" in os.listdir(place.path)
    (daemon,) = place.daemons()
    assert os.getsid(daemon) != os.getsid(0)
    assert os.readlink(f"/proc/{daemon}/cwd") == "/"
    assert place.run("umount", place.path).returncode == 0
    assert wait_until(lambda: not place.daemons())


def test_a_verbose_mount_says_what_it_did(place: Place) -> None:
    """One line on standard output."""
    result = place.mount("-v")
    assert result.stdout == f"default mounted on {place.path}\n"
    assert place.run(COMMAND, "umount", place.path).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_unmounts_cleanly(number: int, mount: Callable[..., MountedFolder]) -> None:
    """Exit code 0."""
    folder = mount()
    folder.process.send_signal(number)
    assert folder.process.wait(timeout=10) == 0
    assert not os.path.ismount(folder.path)
    assert folder.process.stderr is not None
    assert folder.process.stderr.read() == ""


def test_it_works_through_mount_8(place: Place) -> None:
    """`mount -t kallglotfs`, with the helper where mount(8) looks."""
    link = Path("/sbin/mount.kallglotfs")
    if link.exists():
        pytest.fail(f"{link} exists already")
    link.symlink_to(HELPER)
    try:
        result = place.run(
            "mount", "-t", "kallglotfs", "kallglot", place.path, "-o", f"{place.options},noatime,nofail"
        )
        assert (result.returncode, result.stderr) == (0, "")
        shown = place.run("findmnt", "-no", "SOURCE,FSTYPE", place.path).stdout.split()
        assert shown == ["kallglot", "fuse.kallglotfs"]
        assert place.run("umount", place.path).returncode == 0
        failed = place.run(
            "mount", "-t", "kallglotfs", "kallglot", place.path, "-o", f"{place.options},nosuch"
        )
        assert failed.returncode == 1
        assert "unknown option 'nosuch'" in failed.stderr
    finally:
        link.unlink()


def test_kallglotfs_mount_takes_long_options(place: Place) -> None:
    """The same mount with other words."""
    result = place.run(
        COMMAND, "mount", place.path, "--api-url", place.service.api_url, "--formats", "all",
        "--state-dir", place.folder / "state", "--log-file", place.folder / "log",
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, "")
    row = place.service.calls[0]
    (place.path / "recordings" / f"{row.id}.{row.format}").stat()
    assert len(os.listdir(place.path / "recordings")) == 3
    assert place.run(COMMAND, "umount", place.path).returncode == 0


def test_a_profile_of_a_config_file_is_mounted_under_its_name(place: Place) -> None:
    """One table per profile; findmnt shows its name."""
    config = place.folder / "config.toml"
    key = place.folder / "key"
    key.touch(mode=0o600)
    key.write_text(place.service.api_key)
    config.write_text(
        f'[acme]\napi_url = "{place.service.api_url}"\nstate_dir = "{place.folder}/state"\n'
        f'api_key_file = "{key}"\n'
    )
    place.key = None
    result = place.run(HELPER, "acme", place.path, "-o", f"config={config}")
    assert (result.returncode, result.stderr) == (0, "")
    assert place.run("findmnt", "-no", "SOURCE", place.path).stdout.strip() == "acme"
    assert place.run(COMMAND, "umount", place.path).returncode == 0
    wrong = place.run(HELPER, "acne", place.path, "-o", f"config={config}")
    assert wrong.returncode == 1
    assert "acme" in one_line(wrong)


def test_fake_checks_everything_and_mounts_nothing(place: Place) -> None:
    """mount(8)'s -f."""
    assert place.mount("-f").returncode == 0
    assert not os.path.ismount(place.path)
    place.key = "sk_test_wrong"
    assert place.mount("-f").returncode == 32


BAD_OPTIONS = {
    "nosuchoption": "unknown option 'nosuchoption'",
    "memory_cach=1G": "did you mean 'memory_cache'",
    "memory_cache=12Q": "not a size",
    "timeout=soon": "timeout",
    "streams=0": "streams",
    "formats=flac": "formats",
    "api_url=ftp://x": "api_url",
    "api_key=sk_live_CANARY": "api_key_file",
    "remount": "remount",
}


@pytest.mark.parametrize(("option", "words"), BAD_OPTIONS.items())
def test_a_bad_option_is_one_line_and_exit_code_1(option: str, words: str, place: Place) -> None:
    """With the nearest valid name, and without a secret."""
    result = place.mount(options=option)
    assert result.returncode == 1
    line = one_line(result)
    assert words in line
    assert "CANARY" not in line


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_do_not_matter(closed: str, place: Place) -> None:
    """As cron and init scripts start programs."""
    options = place.options
    assert place.run("sh", "-c", f"{HELPER} {place.path} -o {options} {closed}").returncode == 0
    assert "recordings" in os.listdir(place.path)
    (daemon,) = place.daemons()
    assert {os.readlink(f"/proc/{daemon}/fd/{number}") for number in (0, 1, 2)} == {"/dev/null"}


def test_the_key_is_not_in_the_daemons_environment(place: Place) -> None:
    """/proc shows it to every process of the same user."""
    assert place.mount().returncode == 0
    (daemon,) = place.daemons()
    environ = Path(f"/proc/{daemon}/environ").read_bytes()
    assert b"PYTHONWARNINGS" in environ
    assert place.service.api_key.encode() not in environ


def test_files_that_are_fifos_are_refused_not_waited_for(place: Place) -> None:
    """One line, in time."""
    os.mkfifo(place.folder / "fifo")
    for option in ("log_file", "api_key_file"):
        result = place.mount(options=f"{option}={place.folder / 'fifo'}")
        assert result.returncode == 1
        one_line(result)
    # One without a writer is an empty file.
    assert place.mount(options=f"config={place.folder / 'fifo'}").returncode == 0


def test_sloppy_ignores_unknown_options(place: Place) -> None:
    """mount(8)'s -s."""
    assert place.mount("-s", options="nosuchoption").returncode == 0


def test_a_wrong_key_is_refused_before_mounting(place: Place) -> None:
    """Exit code 32, for one request."""
    place.key = "sk_test_CANARY"
    result = place.mount()
    assert result.returncode == 32
    assert "refused" in one_line(result)
    assert "CANARY" not in result.stderr
    assert place.service.requests.count("api") == 1


def test_a_missing_key_says_where_it_was_looked_for(place: Place) -> None:
    """Exit code 1."""
    place.key = None
    result = place.mount()
    assert result.returncode == 1
    assert "KALLGLOT_API_KEY" in one_line(result)


def test_a_key_file_that_others_may_read_is_refused(place: Place) -> None:
    """With the mend."""
    key = place.folder / "key"
    key.write_text("sk_test_CANARY")
    key.chmod(0o640)
    result = place.mount(options=f"api_key_file={key}")
    assert result.returncode == 1
    line = one_line(result)
    assert "chmod 600" in line
    assert "CANARY" not in line


def test_a_config_with_a_syntax_error_names_the_place(place: Place) -> None:
    """File and line."""
    config = place.folder / "config.toml"
    config.write_text("[default\n")
    result = place.mount(options=f"config={config}")
    assert result.returncode == 1
    assert f"{config}:1" in one_line(result)


def test_bad_mount_points(place: Place) -> None:
    """Missing, a file, in use: exit code 32 and what to do."""
    place.path.rmdir()
    result = place.mount()
    assert result.returncode == 32
    assert "mkdir" in one_line(result)
    place.path.write_text("x")
    result = place.mount()
    assert result.returncode == 32
    assert "not a directory" in one_line(result)
    place.path.unlink()
    place.path.mkdir()
    assert place.mount().returncode == 0
    result = place.mount()
    assert result.returncode == 32
    assert "in use" in one_line(result)
    assert place.run(COMMAND, "umount", place.path).returncode == 0


def test_a_dead_mount_is_told_and_cleared(place: Place) -> None:
    """After kill -9, with a file still open."""
    assert place.mount().returncode == 0
    holder = os.open(place.path, os.O_RDONLY)
    try:
        (daemon,) = place.daemons()
        os.kill(daemon, signal.SIGKILL)
        assert wait_until(lambda: not place.daemons())
        result = place.mount("-f")
        assert result.returncode == 0
        assert "a dead mount is there" in one_line(result)
        assert os.path.realpath(place.path) in Path("/proc/self/mountinfo").read_text()
        assert place.run(COMMAND, "umount", place.path).returncode == 0
        assert place.run(COMMAND, "umount", place.path).returncode == 32
    finally:
        os.close(holder)
    assert place.mount().returncode == 0
    assert "recordings" in os.listdir(place.path)


def test_umount_of_what_is_not_ours_is_refused(place: Place) -> None:
    """It is not a second umount(8)."""
    result = place.run(COMMAND, "umount", place.path)
    assert result.returncode == 32
    assert "nothing is mounted" in one_line(result)
    result = place.run(COMMAND, "umount", "/proc")
    assert result.returncode == 32
    assert "not ours" in one_line(result)


def test_without_libfuse_or_the_device_it_says_what_is_missing(place: Place) -> None:
    """Exit code 2."""
    place.extra = {"FUSE_LIBRARY_PATH": "/nonexistent/libfuse3.so"}
    result = place.mount()
    assert result.returncode == 2
    assert "libfuse" in one_line(result)
    place.extra = {}
    # A mount namespace of its own hides the device from this command alone.
    result = place.run(
        "unshare", "--mount", "--propagation", "private", "sh", "-c",
        'mount -t tmpfs none /dev && exec "$@"', "sh", HELPER, place.path, "-o", place.options,
    )  # fmt: skip
    assert result.returncode == 2
    assert "/dev/fuse" in one_line(result)


def test_usage_errors_are_one_line_and_help_has_examples(place: Place) -> None:
    """Exit code 1, and 0 for help."""
    for arguments in ((), ("a", "b", "c"), ("--nosuch", place.path)):
        result = place.run(HELPER, *arguments)
        assert result.returncode == 1
        one_line(result)
    for command in ((HELPER,), (COMMAND,), (COMMAND, "mount"), (COMMAND, "umount"), (COMMAND, "add")):
        result = place.run(*command, "--help")
        assert result.returncode == 0
        assert "xample" in result.stdout
        assert result.stderr == ""
    assert place.run(COMMAND, "--version").stdout.startswith("kallglotfs ")
    unknown = place.run(COMMAND, "frobnicate")
    assert unknown.returncode == 1
    one_line(unknown)


def test_no_secret_is_in_arguments_environment_of_children_or_log(
    place: Place,
) -> None:
    """At debug level, through a read, a renewal and a refusal."""
    assert place.mount(options="log_level=debug,timeout=2s").returncode == 0
    row = next(each for each in place.service.calls if each.duration < 60)
    path = place.path / "recordings" / f"{row.id}.{row.format}"
    path.read_bytes()
    place.service.revoke_urls()
    (place.path / "recordings" / f"{row.id}.ogg").read_bytes()
    (daemon,) = place.daemons()
    command = Path(f"/proc/{daemon}/cmdline").read_text()
    place.run(COMMAND, "umount", place.path)
    log = (place.folder / "log").read_text()
    assert "API GET" in log
    for text in (log, command):
        assert place.service.api_key not in text
        assert "signature=" not in text


def test_another_user_cannot_look_in_without_allow_other(place: Place) -> None:
    """Call audio is personal data."""
    place.folder.chmod(0o755)
    for parent in place.path.parents:
        if str(parent).startswith("/tmp/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    assert place.mount().returncode == 0
    look = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "ls", place.path]
    assert place.run(*look).returncode != 0
    assert place.run(COMMAND, "umount", place.path).returncode == 0
    assert place.mount(options="allow_other").returncode == 0
    assert "recordings" in place.run(*look).stdout.split()


def test_an_ordinary_user_can_mount(place: Place) -> None:
    """By fusermount3, without privileges."""
    device = Path("/dev/fuse")
    mode = device.stat().st_mode
    home = place.folder / "home"
    home.mkdir()
    python = Path(sys.executable)
    for path in (home, place.path):
        os.chown(path, 65534, 65534)
    for parent in place.path.parents:
        if str(parent).startswith("/tmp/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if place.run(*user, python, "-c", "import kallglotfs").returncode:
        pytest.skip("this Python is not readable by an ordinary user")
    device.chmod(0o666)
    place.extra = {"HOME": str(home)}
    try:
        options = f"api_url={place.service.api_url},state_dir={home / 'state'},log_file={home / 'log'}"
        result = place.run(*user, python, "-m", "kallglotfs.cli.mount_helper", place.path, "-o", options)
        assert (result.returncode, result.stderr) == (0, "")
        listed = place.run(*user, "ls", place.path)
        assert "recordings" in listed.stdout.split()
        assert place.run(*user, python, "-m", "kallglotfs", "umount", place.path).returncode == 0
    finally:
        device.chmod(mode)


def test_add_names_recordings_to_a_running_mount(place: Place) -> None:
    """By id, by session, from files; bad ones are reported and stop nothing."""
    for index in range(30):
        place.service.add_recording(f"rec_s{index}", size=1000, session_id="sess_many")
    place.service.add_recording("rec_one", size=1000)
    assert place.mount().returncode == 0
    row = place.service.calls[0]
    listing = place.folder / "ids.csv"
    listing.write_text(f"name,id\na,rec_one\nb,nonsense\nc,rec_nobody\nd,{row.id}\n")
    result = place.run(COMMAND, "add", "-o", place.options, "sess_many", "--file", listing)
    assert result.returncode == 1
    errors = result.stderr.splitlines()
    assert len(errors) == 2
    assert f"{listing}:3" in errors[0]
    assert "nonsense" in errors[0]
    assert f"{listing}:4" in errors[1]
    assert "rec_nobody" in errors[1]
    assert result.stdout.startswith("32 recordings added")
    assert len(os.listdir(place.path / "recordings")) == 32
    place.service.requests.clear()
    sizes = {
        name: (place.path / "recordings" / name).stat().st_size
        for name in os.listdir(place.path / "recordings")
    }
    assert sizes["rec_s7.mp3"] == 1000
    assert place.service.requests.count("api") == 0
    again = place.run(COMMAND, "add", "-o", place.options, "-", input=f"rec_one\n\n{row.id}\n")
    assert (again.returncode, again.stderr) == (0, "")
    assert place.service.requests.count("api") == 0
    place.run(COMMAND, "umount", place.path)


def test_add_shows_a_progress_bar_on_a_terminal(place: Place) -> None:
    """On long input, where somebody looks."""
    script = shutil.which("script")
    assert script is not None
    ids = " ".join(f"rec_nobody{index}" for index in range(12))
    began = time.monotonic()
    result = place.run(
        script, "-qec", f"{COMMAND} add -o {place.options} {ids}", "/dev/null", stdin=subprocess.DEVNULL
    )
    assert "12/12" in result.stdout
    assert time.monotonic() - began < 15


def test_a_service_that_cannot_be_asked_is_told_and_no_reason_not_to_mount(place: Place) -> None:
    """One line on the terminal; a check with -f -v says that all is well when it is."""
    checked = place.mount("-f", "-v")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "can be mounted" in checked.stdout
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
        result = place.mount(options=f"api_url={nobody}")
    assert result.returncode == 0
    assert "mounting all the same" in one_line(result)
    assert "recordings" in os.listdir(place.path)
