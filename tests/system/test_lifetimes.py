"""How mounts begin and end: killed daemons, signals, races, and what the next mount finds."""

from __future__ import annotations

import contextlib
import mmap
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import await_mount, environment, mount_command, wait_until
from kallglotfs.cli import mounting
from kallglotfs.demo.knobs import Fault
from kallglotfs.mountpoint import mounts_at, probe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kallglotfs.demo.server import DemoServer

#: Files the disk tier is writing (`content/block_files.py`).
WRITING = re.compile(r"\.\d+-[0-9a-f]{16}-\d+")


@dataclass
class Spot:
    """A mount point with its state and cache, and the daemons that were started on it."""

    service: DemoServer
    folder: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def path(self) -> Path:
        """The mount point."""
        return self.folder / "calls"

    @property
    def recordings(self) -> Path:
        """The directory of recordings."""
        return self.path / "recordings"

    @property
    def log(self) -> str:
        """Everything logged so far."""
        return (self.folder / "log").read_text()

    def command(self, *words: str, path: Path | None = None, **options: object) -> list[str]:
        """Return the command that mounts here."""
        given = {
            "api_url": self.service.api_url,
            "state_dir": self.folder / "state",
            "log_file": self.folder / "log",
            "timeout": "10s",
        } | options
        return mount_command(path or self.path, given, *words)

    def launch(self, *words: str, path: Path | None = None, **options: object) -> subprocess.Popen[str]:
        """Start a program that mounts here and return at once."""
        process = subprocess.Popen(
            self.command(*words, path=path, **options),
            env=environment(self.service.api_key),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def mount(self, path: Path | None = None, **options: object) -> subprocess.Popen[str]:
        """Mount in the foreground and return once it is there."""
        process = self.launch("--foreground", path=path, **options)
        await_mount(process)
        return process

    def run(self, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
        """Mount in the background, or fail to, as a user would."""
        return subprocess.run(
            self.command(*words, **options),
            env=environment(self.service.api_key), capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip

    def daemons(self) -> list[int]:
        """Return the ids of the processes that serve this mount point."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                    if str(self.path).encode() in words and b"kallglotfs.cli.mount_helper" in words:
                        found.append(int(entry.name))
        return found


@pytest.fixture
def spot(service: DemoServer, tmp_path: Path) -> Iterator[Spot]:
    """A place to mount at; whatever is left there when the test ends is taken away."""
    made = Spot(service, tmp_path)
    made.path.mkdir()
    yield made
    for path in [made.path, *(each for each in tmp_path.iterdir() if each != made.path)]:
        while mounts_at(str(path)):
            subprocess.run(["umount", "-l", str(path)], check=True, timeout=10)
    for process in made.started:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.wait(10)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    # By id, and only what serves this test's own mount point.
    for number in made.daemons():
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    assert wait_until(lambda: not made.daemons(), 10), "a daemon was left"


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a daemon and see it gone: none may be left waiting in the kernel."""
    process.kill()
    assert process.wait(5) == -signal.SIGKILL


def waits(process: int) -> bool:
    """Tell whether a process waits in the kernel for a FUSE daemon's answer."""
    return "request_wait_answer" in Path(f"/proc/{process}/stack").read_text()


class Readers:
    """Sixteen threads that read at random places until the daemon is gone, and compare every byte."""

    def __init__(self, spot: Spot, names: list[str]) -> None:
        self.contents = {name: spot.service.audio(name, "mp3") for name in names}
        self.wrong: list[str] = []
        self.reads = 0
        self._spot = spot
        self._over = False
        self._threads = [threading.Thread(target=self._read, args=(seed,)) for seed in range(16)]
        for thread in self._threads:
            thread.start()

    def _read(self, seed: int) -> None:
        choice = random.Random(seed * 1_000_003 + len(self.contents))
        with contextlib.suppress(OSError):
            while not self._over:
                name = choice.choice(list(self.contents))
                content = self.contents[name]
                with (self._spot.recordings / f"{name}.mp3").open("rb") as file:
                    offset = choice.randrange(len(content))
                    end = min(len(content), offset + choice.randrange(1, 600_000))
                    while offset < end:
                        # Where the daemon dies in between the kernel returns what it has, then the error.
                        got = os.pread(file.fileno(), end - offset, offset)
                        if not got or got != content[offset : offset + len(got)]:
                            self.wrong.append(f"{name}: {len(got)} bytes at {offset}")
                            return
                        offset += len(got)
                    self.reads += 1

    def end(self) -> None:
        """Wait for all of them; none may hang."""
        self._over = True
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        assert self.wrong == []


def kill_rounds(spot: Spot, rounds: int) -> None:
    """Kill the daemon at random moments of reading and cache writing; each next mount must be sound."""
    choice = random.Random(rounds)
    cache = spot.folder / "cache"
    names: list[str] = []
    slowest, busy, reads = 0.0, 0, 0
    for number in range(rounds):
        for index in range(3):
            names.append(f"rec_k{number}x{index}")
            spot.service.add_recording(names[-1], size=choice.randrange(300_000, 3_000_000))
        began = time.monotonic()
        daemon = spot.mount(cache_dir=cache, disk_cache="200M", memory_cache="16M")
        slowest = max(slowest, time.monotonic() - began)
        assert len(mounts_at(str(spot.path))) == 1
        for name in choice.sample(names, min(2, len(names))):
            assert (spot.recordings / f"{name}.mp3").read_bytes() == spot.service.audio(name, "mp3")
        readers = Readers(spot, names[-6:])
        time.sleep(choice.uniform(0.0, 0.6))
        kill(daemon)
        busy += any(WRITING.fullmatch(path.name) for path in cache.rglob(".*"))
        readers.end()
        reads += readers.reads
        for database in (spot.folder / "state").rglob("*.sqlite*"):
            if not database.name.endswith(("-wal", "-shm")):
                with contextlib.closing(sqlite3.connect(database)) as connection:
                    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    last = spot.mount(cache_dir=cache, disk_cache="200M", memory_cache="16M")
    spot.service.requests.clear()
    for name in names[-20:]:
        assert (spot.recordings / f"{name}.mp3").read_bytes() == spot.service.audio(name, "mp3")
    # One request each at the most, although they were interrupted.
    assert spot.service.requests.count("api") <= 20
    assert wait_until(lambda: not any(WRITING.fullmatch(path.name) for path in cache.rglob(".*")))
    last.terminate()
    assert last.wait(5) == 0
    figures = f"{rounds} rounds: slowest mount {slowest:.2f} s, {reads} reads, cut short {busy} writes"
    sys.stdout.write(figures + "\n")
    assert slowest < 5
    assert reads > 10 * rounds


def test_a_daemon_killed_over_and_over_leaves_nothing_wrong(spot: Spot) -> None:
    """The next mount clears the dead one, starts in 5 s and serves only right bytes."""
    kill_rounds(spot, 6)
    assert spot.log.count("cleared what a daemon that died has left there (mounts: 1)") == 6


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_daemon_killed_a_hundred_times_leaves_nothing_wrong(spot: Spot) -> None:
    """The same for longer; run with `-m slow`."""
    kill_rounds(spot, 100)


def test_a_stack_of_dead_mounts_is_cleared(spot: Spot, tmp_path: Path) -> None:
    """With one line in the log, also while somebody still sits in one of them."""
    kill_first = spot.mount()
    holder = os.open(spot.path, os.O_RDONLY)
    kill(kill_first)
    other = tmp_path / "other"
    other.mkdir()
    second = spot.mount(path=other)
    # Not by mounting: a mount of ours would clear what is there.
    subprocess.run(["mount", "--bind", other, spot.path], check=True, timeout=10)
    kill(second)
    assert [each.kind for each in mounts_at(str(spot.path))] == ["fuse.kallglotfs"] * 2
    try:
        assert spot.run().returncode == 0
        assert len(mounts_at(str(spot.path))) == 1
        assert "recordings" in os.listdir(spot.path)
        assert spot.log.count("cleared what a daemon that died") == 1
        assert "(mounts: 2)" in spot.log
    finally:
        os.close(holder)


def test_a_dead_mount_of_another_kind_is_refused_and_left_alone(spot: Spot) -> None:
    """It is not ours to clear; the line says how."""
    program = (
        "import sys; from kallglotfs.libfuse import load; fuse = load(); "
        "fuse.FUSE(fuse.Operations(), sys.argv[1], foreground=True, subtype='another')"
    )
    other = subprocess.Popen([sys.executable, "-c", program, spot.path], stderr=subprocess.DEVNULL, text=True)
    spot.started.append(other)
    assert wait_until(lambda: bool(mounts_at(str(spot.path))), 10)
    assert probe(str(spot.path)) == 0
    kill(other)
    for words in ((), ("-f",)):
        result = spot.run(*words)
        assert result.returncode == 32
        assert f"clear it with: umount -l {spot.path}" in result.stderr
        assert result.stderr.count("\n") == 1
    assert [each.kind for each in mounts_at(str(spot.path))] == ["fuse.another"]


def test_a_mount_that_does_not_answer_is_refused_and_can_be_taken_away(spot: Spot) -> None:
    """A stopped daemon hangs neither the next mount nor `umount --lazy`, and ends when it goes on."""
    daemon = spot.mount()
    daemon.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    result = spot.run()
    assert (result.returncode, "does not answer" in result.stderr) == (32, True)
    assert len(mounts_at(str(spot.path))) == 1
    lazy = [sys.executable, "-m", "kallglotfs", "umount", "--lazy", str(spot.path)]
    assert subprocess.run(lazy, timeout=10, check=False).returncode == 0
    assert time.monotonic() - began < 12
    assert mounts_at(str(spot.path)) == []
    daemon.send_signal(signal.SIGCONT)
    assert daemon.wait(5) == 0


def test_of_mounts_at_the_same_time_one_wins(spot: Spot) -> None:
    """The others are refused as if they had come later."""
    racing = [spot.launch() for _ in range(4)]
    codes = sorted(process.wait(30) for process in racing)
    assert codes == [0, 32, 32, 32]
    assert len(mounts_at(str(spot.path))) == 1
    assert len(spot.daemons()) == 1
    for process in racing:
        assert process.stderr is not None
        said = process.stderr.read()
        assert process.returncode == 0 or "in use" in said, said


def test_racing_mounts_over_a_dead_one_take_none_that_lives(spot: Spot) -> None:
    """Who finds it dead looks again before clearing it."""
    kill(spot.mount())
    racing = [spot.launch() for _ in range(3)]
    assert sorted(process.wait(30) for process in racing) == [0, 32, 32]
    assert len(mounts_at(str(spot.path))) == 1
    assert "recordings" in os.listdir(spot.path)


def wait_for(moment: str, spot: Spot) -> None:
    """Return at a moment of a mount that is being made."""
    moments = {
        "begun": lambda: len(spot.daemons()) > 0,
        "asks": lambda: spot.service.requests.count("api") > 0,
        "is mounted": lambda: bool(mounts_at(str(spot.path))),
    }
    ends = time.monotonic() + 20
    # Without a pause: the last moment is a short one.
    while not moments[moment]():
        assert time.monotonic() < ends


@pytest.mark.parametrize("moment", ["begun", "asks", "is mounted"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_mount_interrupted_while_it_is_made_is_whole_or_not_there(
    number: int, moment: str, spot: Spot
) -> None:
    """Whoever stops the command that waits stops the mount, at any moment."""
    spot.service.requests.clear()
    spot.service.knobs.api_latency = 0.1
    waiting = spot.launch()
    wait_for(moment, spot)
    waiting.send_signal(number)
    code = waiting.wait(10)
    if code == 0:
        assert "recordings" in os.listdir(spot.path)
    else:
        assert wait_until(lambda: not spot.daemons())
        # Stopped after it had said that the mount is there, it is not taken away again.
        assert mounts_at(str(spot.path)) == []


@pytest.mark.parametrize("moment", ["begun", "asks", "is mounted"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_daemon_ended_while_it_mounts_is_gone(number: int, moment: str, spot: Spot) -> None:
    """No signal is lost between the first line of code and the mount; killed, it does not wait for itself."""
    spot.service.requests.clear()
    spot.service.knobs.api_latency = 0.1
    daemon = spot.launch("--foreground")
    wait_for(moment, spot)
    daemon.send_signal(number)
    assert daemon.wait(5) in (0, 32, -number)
    if number == signal.SIGTERM:
        assert mounts_at(str(spot.path)) == []
    else:
        assert spot.run().returncode == 0
        assert len(mounts_at(str(spot.path))) == 1


#: The program with a callback that never ends, as a bug or a disk that hangs would make it.
STUCK = """
import sys, time
from kallglotfs.cli import mount_helper
from kallglotfs.operations import Operations
Operations.statfs = lambda *_: time.sleep(60)
sys.exit(mount_helper.main(sys.argv[1:]))
"""


def test_sigterm_ends_a_daemon_whose_callback_never_returns(spot: Spot) -> None:
    """Unmounted and gone within 5 s all the same, with a line in the log."""
    command = spot.command("--foreground")
    command[1:3] = ["-c", STUCK]
    daemon = subprocess.Popen(
        command, env=environment(spot.service.api_key), stdout=subprocess.PIPE, text=True
    )
    spot.started.append(daemon)
    assert daemon.stdout is not None
    assert "mounted on" in daemon.stdout.readline()
    with subprocess.Popen(["stat", "-f", spot.path], stdout=-3, stderr=-3) as caller:
        # 'S' or 'D': it waits for us.
        assert wait_until(lambda: waits(caller.pid))
        daemon.terminate()
        assert daemon.wait(5) == 0
        assert caller.wait(5) != 0
    assert mounts_at(str(spot.path)) == []
    assert "does not end by itself" in spot.log


def test_a_mount_that_is_dead_when_it_should_be_ready_is_a_failure(
    spot: Spot, capsys: pytest.CaptureFixture[str]
) -> None:
    """The process that goes back to the user asks the mount, and takes away one that does not answer."""
    asked = mounting.Request("mount.kallglotfs", "", str(spot.path), {})
    plan = mounting._Plan(asked, None, "default", str(spot.path), None, None, None)  # type: ignore[arg-type]
    daemon = spot.mount()
    assert plan.confirm() == 0
    kill(daemon)
    assert plan.confirm() == 32
    assert capsys.readouterr().err.count("the mount does not answer (Transport endpoint") == 1
    assert mounts_at(str(spot.path)) == []


def test_sigterm_ends_a_mount_in_whatever_it_is_used_for(service: DemoServer, spot: Spot) -> None:
    """A mapping, a working directory, twenty open files, blocked readers and a storm of look-ups."""
    for index in range(20):
        service.add_recording(f"rec_t{index}", size=2_000_000)
    daemon = spot.mount(timeout="60s")
    first = (spot.recordings / "rec_t0.mp3").open("rb")
    # Read first: a page fault holds Python's lock, which the service in this process needs to answer it.
    assert len(first.read(262_144)) == 262_144
    mapped = mmap.mmap(first.fileno(), 0, prot=mmap.PROT_READ)
    assert mapped[:1000] == service.audio("rec_t0", "mp3")[:1000]
    files = [(spot.recordings / f"rec_t{index}.mp3").open("rb") for index in range(5)]
    service.knobs.faults = [stall := Fault("storage", "stall_headers", times=-1, seconds=60)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    others = [
        subprocess.Popen(["cat", spot.recordings / f"rec_t{index}.mp3"], **quiet) for index in range(5, 20)
    ]
    others.append(subprocess.Popen(["sleep", "60"], cwd=spot.recordings, **quiet))
    storm = f"while :; do ls -l {spot.recordings} {spot.recordings}/rec_no$RANDOM.mp3; done"
    others += [subprocess.Popen(["bash", "-c", storm], **quiet) for _ in range(2)]
    try:
        assert wait_until(lambda: stall.fired >= 15, 10)
        began = time.monotonic()
        daemon.terminate()
        daemon.terminate()
        assert daemon.wait(5) == 0
        sys.stdout.write(f"ended after {time.monotonic() - began:.2f} s\n")
        assert mounts_at(str(spot.path)) == []
        assert "leaving it" not in spot.log
        for other in others[:15]:
            assert other.wait(5) != 0
    finally:
        mapped.close()
        for file in [first, *files]:
            file.close()
        for other in others:
            other.kill()
            other.wait(5)


#: A program whose user presses Ctrl-C: it takes note and goes on with the same call.
SURVIVOR = """
import os, signal, sys
signal.signal(signal.SIGINT, lambda *_: print("interrupted", flush=True))
file = os.open(sys.argv[1], os.O_RDONLY)
print("open", flush=True)
try:
    print(len(os.pread(file, 2_000_000, 1_000_000)), flush=True)
except OSError as error:
    print(-error.errno, flush=True)
"""
CALLS = {"stat": ["stat", "-t"], "open": ["head", "-c0"], "read": ["cat"]}


@pytest.mark.parametrize("action", ["status", "stall_headers"])
def test_who_is_stopped_is_gone_and_nothing_more_is_asked_for(
    action: str, service: DemoServer, spot: Spot
) -> None:
    """In stat, open and read, by Ctrl-C and by kill, while the network stalls or fails over and over."""
    signals = {"int": signal.SIGINT, "kill": signal.SIGKILL}
    files = {(call, name): f"rec_{call}{name}" for call in CALLS for name in signals}
    for recording in files.values():
        service.add_recording(recording, size=3_000_000)
    spot.mount(timeout="60s")
    for (call, _), recording in files.items():
        if call != "stat":
            assert (spot.recordings / f"{recording}.mp3").stat().st_size == 3_000_000
    # A stall of 2 s: whoever is not called off asks again then.
    service.knobs.faults = [
        api := Fault("api", action, status=500, times=-1, seconds=2),
        storage := Fault("storage", action, status=500, times=-1, seconds=2),
    ]
    callers = {}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        for (call, name), recording in files.items():
            command = [*CALLS[call], str(spot.recordings / f"{recording}.mp3")]
            callers[call, name] = subprocess.Popen(command, **quiet)
        assert wait_until(lambda: api.fired >= 2 and storage.fired >= 4, 10)
        assert all(process.poll() is None for process in callers.values())
        for (_, name), process in callers.items():
            process.send_signal(signals[name])
        began = time.monotonic()
        for (_, name), process in callers.items():
            assert process.wait(5) == -signals[name]
        assert time.monotonic() - began < 1
    finally:
        for process in callers.values():
            process.kill()
            process.wait(5)
    # One that was about to be sent may still come.
    time.sleep(0.7)
    asked = api.fired, storage.fired
    time.sleep(3)
    assert (api.fired, storage.fired) == asked
    service.knobs.faults = []
    for recording in files.values():
        path = spot.recordings / f"{recording}.mp3"
        assert path.read_bytes() == service.audio(recording, "mp3")


def test_a_program_that_survives_control_c_gets_the_right_bytes_or_an_error(
    service: DemoServer, spot: Spot
) -> None:
    """Never EINTR or EAGAIN, never fewer bytes."""
    service.add_recording("rec_f", size=4_000_000)
    spot.mount(timeout="60s")
    path = spot.recordings / "rec_f.mp3"
    path.stat()
    service.knobs.faults = [
        fault := Fault("storage", "stall_body", times=-1, seconds=2, match_range="bytes=[1-9]")
    ]
    command = [sys.executable, "-c", SURVIVOR, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        try:
            assert program.stdout.readline() == "open\n"
            assert wait_until(lambda: fault.fired > 0)
            for _ in range(3):
                program.send_signal(signal.SIGINT)
                time.sleep(0.3)
            service.knobs.faults = []
            service.revoke_urls()
            program.wait(30)
            said = program.stdout.read().split()
            assert "interrupted" in said
            assert said[-1] in ("2000000", "-5", "interrupted"), said
        finally:
            program.kill()


def test_a_machine_that_slept_longer_than_a_url_lives_renews_once(service: DemoServer, spot: Spot) -> None:
    """Leases are counted by a clock that goes on while the machine is suspended, and no read fails."""
    service.knobs.url_lifetime = 2
    service.add_recording("rec_s", size=6_000_000)
    daemon = spot.mount()
    with (spot.recordings / "rec_s.mp3").open("rb", buffering=0) as file:
        content = service.audio("rec_s", "mp3")
        assert os.pread(file.fileno(), 1000, 0) == content[:1000]
        daemon.send_signal(signal.SIGSTOP)
        time.sleep(2.5)
        service.requests.clear()
        daemon.send_signal(signal.SIGCONT)
        assert os.pread(file.fileno(), 1000, 5_000_000) == content[5_000_000:5_001_000]
    assert service.requests.count("api") == 1
    assert [each.status for each in service.requests.records("storage")] == [206]


@pytest.mark.parametrize("step", [3600.0, -3600.0, 86400.0, -86400.0])
def test_a_clock_that_steps_in_the_middle_of_a_read_costs_a_renewal_at_most(
    step: float, service: DemoServer, spot: Spot
) -> None:
    """The service's clock is stepped against ours; by the difference alone, ours against it is the same."""
    service.add_recording("rec_s", size=12_000_000)
    spot.mount(memory_cache="8M")
    content = service.audio("rec_s", "mp3")
    with (spot.recordings / "rec_s.mp3").open("rb", buffering=0) as file:
        assert os.pread(file.fileno(), 2_000_000, 0) == content[:2_000_000]
        service.requests.clear()
        service.knobs.clock_skew = step
        for offset in range(2_000_000, 12_000_000, 2_000_000):
            assert os.pread(file.fileno(), 1_000_000, offset) == content[offset : offset + 1_000_000]
    assert service.requests.count("api") <= 1


def test_retention_is_over_when_it_is_by_the_services_clock(service: DemoServer, spot: Spot) -> None:
    """A clock that is a day ahead destroys nothing, and one that is a day behind keeps nothing."""
    hours = timedelta(hours=12)
    service.knobs.clock_skew = -86400.0
    service.add_recording("rec_r", size=300_000, expires_at=datetime.now(UTC) - hours)
    options = {"cache_dir": spot.folder / "cache", "disk_cache": "50M"}
    for requests in (2, 1):
        # The key check is one of them; the second time all else is known, and what is cached is there.
        service.requests.clear()
        daemon = spot.mount(**options)
        assert os.listdir(spot.recordings) == (["rec_r.mp3"] if requests == 1 else [])
        path = spot.recordings / "rec_r.mp3"
        assert path.read_bytes() == service.audio("rec_r", "mp3")
        assert service.requests.count("api") == requests
        daemon.terminate()
        assert daemon.wait(5) == 0
    assert "retention is over" not in spot.log
    assert any(path.is_file() for path in (spot.folder / "cache").glob("*/*/*"))
    service.knobs.clock_skew = 0.0
    daemon = spot.mount(**options)
    assert os.listdir(spot.recordings) == []
    assert wait_until(lambda: "rec_r: its retention is over" in spot.log)
    assert wait_until(lambda: not any(path.is_file() for path in (spot.folder / "cache").glob("*/*/*")))


@pytest.mark.slow
def test_a_mount_outlives_the_kernels_limit_on_requests(service: DemoServer, spot: Spot) -> None:
    """The kernel looks every 15 s, and ends a mount of which a request is older than the limit."""
    sysctl = Path("/proc/sys/fs/fuse/default_request_timeout")
    if not sysctl.exists():
        pytest.skip("this kernel has no limit on requests")
    service.add_recording("rec_l", size=3_000_000)
    before = sysctl.read_text()
    try:
        sysctl.write_text("12")
        spot.mount(timeout="60s")
    finally:
        sysctl.write_text(before)
    assert "timeout is 10 s and throttle_timeout 0 s, in place of 60 s and 90 s" in spot.log
    path = spot.recordings / "rec_l.mp3"
    path.stat()
    service.knobs.faults = [fault := Fault("storage", "stall_headers", times=-1, seconds=60)]
    began = time.monotonic()
    while time.monotonic() - began < 31:
        with pytest.raises(TimeoutError):
            path.read_bytes()
    assert fault.fired >= 3
    service.knobs.faults = []
    assert path.read_bytes() == service.audio("rec_l", "mp3")
