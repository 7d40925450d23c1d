"""What the tests share: the demo service, and real mounts of it.

A mount is the real program in a process of its own, on a real kernel mount point. Each one is unmounted
when its test ends, however it ends, and only processes started here are stopped, by their id.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from canaries import suspects
from kallglotfs.demo.server import API_KEY, DemoServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kallglotfs.demo.requestlog import RequestLog

#: Seconds a mount may take to answer on a busy machine.
READY = 30.0


@dataclass
class MountedFolder:
    """A mount of the demo service by a process of its own."""

    path: Path
    state_dir: Path
    log_file: Path
    process: subprocess.Popen[str]
    arguments: list[str] = field(default_factory=list)

    @property
    def recordings(self) -> Path:
        """The directory of recordings."""
        return self.path / "recordings"

    @property
    def process_directory(self) -> Path:
        """What the kernel tells of the daemon."""
        return Path(f"/proc/{self.process.pid}")

    @property
    def log(self) -> str:
        """Everything logged so far."""
        return self.log_file.read_text() if self.log_file.exists() else ""

    def unmount(self) -> int:
        """Unmount as a user would and return the daemon's exit code."""
        subprocess.run(["umount", str(self.path)], check=True, timeout=10)
        return self.process.wait(timeout=15)


def environment(api_key: str | None) -> dict[str, str]:
    """Return the environment of a program under test: nothing of the developer's own settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KALLGLOT")}
    kept["PYTHONWARNINGS"] = "default"
    if api_key is not None:
        kept["KALLGLOT_API_KEY"] = api_key
    return kept


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_works() -> None:
    """A shell starts what runs beside it with SIGINT ignored, and so would be every program under test."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _no_secret_was_written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Search every log, output and catalog of the whole run for keys and signatures, when it is over."""
    yield
    found = suspects(tmp_path_factory.getbasetemp(), [API_KEY])
    assert not found, "secrets in what the program has written:\n" + "\n".join(found)


@pytest.fixture(scope="session")
def demo() -> Iterator[DemoServer]:
    """One service for the whole run: its calls are encoded once."""
    with DemoServer() as server:
        yield server


@pytest.fixture
def service(demo: DemoServer) -> Iterator[DemoServer]:
    """Give a test the service with every knob at its default, an empty log and fresh URLs."""
    demo.reset()
    yield demo
    demo.reset()


@pytest.fixture
def requests_made(service: DemoServer) -> RequestLog:
    """The service's request log."""
    return service.requests


@pytest.fixture
def mount(service: DemoServer, tmp_path: Path) -> Iterator[Callable[..., MountedFolder]]:
    """Mount the service; options by keyword. The log of requests starts empty once it is mounted."""
    with contextlib.ExitStack() as stack:
        count = 0

        def make(
            *, state_dir: Path | None = None, api_key: str | None = None, **options: object
        ) -> MountedFolder:
            nonlocal count
            count += 1
            folder = stack.enter_context(
                mounted(service, tmp_path / f"mnt{count}", state_dir or tmp_path / "state", api_key, options)
            )
            service.requests.clear()
            return folder

        yield make


@contextlib.contextmanager
def mounted(
    service: DemoServer, path: Path, state_dir: Path, api_key: str | None, options: dict[str, object]
) -> Iterator[MountedFolder]:
    """Run `mount.kallglotfs` in the foreground until the block ends."""
    log_file = path.parent / f"{path.name}.log"
    given = {
        "api_url": service.api_url,
        "state_dir": state_dir,
        "log_file": log_file,
        "log_level": "debug",
        "timeout": "10s",
    } | options
    command = mount_command(path, given, "--foreground")
    with running(command, environment(api_key or service.api_key), path) as process:
        yield MountedFolder(path, state_dir, log_file, process, command)


def mount_command(path: Path, options: dict[str, object], *words: str) -> list[str]:
    """Return the command that mounts at a path."""
    text = ",".join(f"{name}={value}" for name, value in options.items())
    return [sys.executable, "-m", "kallglotfs.cli.mount_helper", str(path), "-o", text, *words]


@contextlib.contextmanager
def running(command: list[str], variables: dict[str, str], path: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a command that mounts in the foreground at `path`, which is made, until the block ends."""
    path.mkdir()
    with subprocess.Popen(
        command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            await_mount(process)
            yield process
        finally:
            end(process, path)
            keep_output(process, path.parent / f"{path.name}.out.log")


def await_mount(process: subprocess.Popen[str]) -> None:
    """Return once a program that mounts in the foreground says that it has."""
    assert process.stdout is not None
    assert process.stderr is not None
    line = process.stdout.readline()
    assert "mounted on" in line, process.stderr.read()


def end(process: subprocess.Popen[str], path: Path) -> None:
    """Take a mount down whatever state it is in."""
    subprocess.run(["fusermount3", "-uz", str(path)], check=False, capture_output=True, timeout=10)
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()


def keep_output(process: subprocess.Popen[str], file: Path) -> None:
    """Keep what a mount that has ended said, for the search at the end of the run."""
    with file.open("a") as kept:
        for stream in (process.stdout, process.stderr):
            # A test that has read it has closed it.
            if stream is not None and not stream.closed and process.poll() is not None:
                kept.write(stream.read())


def reading(file: Path, content: bytes) -> str:
    """Return how reading a file ends: `read`, with this content, or the name of an errno."""
    try:
        found = file.read_bytes()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    assert found == content
    return "read"


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Return whether a condition came true in time."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if condition():
            return True
        time.sleep(0.02)
    return condition()
