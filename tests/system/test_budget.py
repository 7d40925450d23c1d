"""The API's budget under a real mount: everything is copied, no 429, and a person does not wait.

`pytest -m slow tests/system/test_budget.py` runs the copy of 300 recordings at the true 60 requests a minute.
"""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from conftest import environment, wait_until
from kallglotfs.demo.knobs import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import MountedFolder
    from kallglotfs.demo.server import DemoServer

COMMAND = Path(sys.executable).parent / "kallglotfs"
SIZE = 5000
SESSION = "sess_bulk"
#: A player: opens what it is told, one after the other, and says what became of it.
PLAYER = """
import sys
for line in sys.stdin:
    try:
        with open(line.rstrip("\\n"), "rb", buffering=0) as file:
            print(len(file.read(1000)), flush=True)
    except OSError as error:
        print(error, flush=True)
"""


@dataclass
class Player:
    """A program of a person's, in a session of its own."""

    process: subprocess.Popen[str]
    waited: list[float] = field(default_factory=list)

    def open(self, path: Path) -> str:
        """Open and read a little; return what it says."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        began = time.monotonic()
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        said = self.process.stdout.readline().strip()
        self.waited.append(time.monotonic() - began)
        return said


@contextlib.contextmanager
def playing() -> Iterator[Player]:
    """Run a player until the block ends."""
    with subprocess.Popen(
        [sys.executable, "-c", PLAYER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield Player(process)
        finally:
            process.kill()


@contextlib.contextmanager
def running(*command: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in a process group of its own until the block ends, its children with it."""
    with subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def player() -> Iterator[Player]:
    """A player."""
    with playing() as player:
        yield player


def added(service: DemoServer, state: Path, count: int, *, others: int = 0) -> list[str]:
    """Make recordings known, and some more that are known by nobody; returns the names of the former."""
    names = [f"rec_x{index:04}" for index in range(count)]
    for name in names:
        service.add_recording(name, size=SIZE, session_id=SESSION)
    for index in range(others):
        service.add_recording(f"rec_p{index:04}", size=SIZE)
    options = f"api_url={service.api_url},state_dir={state}"
    subprocess.run(
        [str(COMMAND), "add", "-o", options, SESSION],
        env=environment(service.api_key),
        check=True,
        capture_output=True,
        timeout=60,
    )
    return names


def limit(service: DemoServer, requests_allowed: int, seconds: float) -> None:
    """Begin to count requests."""
    service.knobs.change({"rate_limit": requests_allowed, "rate_window": seconds})


def statuses(service: DemoServer) -> list[int]:
    """Return the status of every API request."""
    return [each.status for each in service.requests.records("api")]


def same(service: DemoServer, folder: Path, names: list[str]) -> bool:
    """Tell whether a copy is complete and right."""
    return sorted(os.listdir(folder)) == [f"{name}.mp3" for name in names] and all(
        (folder / f"{name}.mp3").read_bytes() == service.audio(name, "mp3") for name in names
    )


def copy_while_playing(
    service: DemoServer,
    mount: Callable[..., MountedFolder],
    tmp_path: Path,
    player: Player,
    count: int,
    window: float,
    opens: int,
    pause: float,
) -> float:
    """Copy recordings at sixty requests a window while a player opens others; returns the seconds it took."""
    names = added(service, tmp_path / "state", count, others=opens)
    limit(service, 60, window)
    folder = mount()
    began = time.monotonic()
    with running("rsync", "-a", f"{folder.recordings}/", tmp_path / "copy") as rsync:
        for index in range(opens):
            time.sleep(pause)
            assert player.open(folder.recordings / f"rec_p{index:04}.mp3") == "1000"
        assert rsync.stderr is not None
        assert rsync.wait(timeout=count * window / 60 * 2 + 60) == 0, rsync.stderr.read()
    took = time.monotonic() - began
    assert statuses(service).count(429) == 0
    # One for each recording, for each of the player's too, which nobody knew.
    assert service.requests.count("api") == count + opens
    assert same(service, tmp_path / "copy", names)
    return took


def test_a_copy_is_spread_over_the_windows_and_a_player_does_not_wait(
    service: DemoServer, mount: Callable[..., MountedFolder], tmp_path: Path, player: Player
) -> None:
    """No 429, no error, one request for each recording, and nearly the rate that the budget allows."""
    took = copy_while_playing(service, mount, tmp_path, player, count=100, window=6.0, opens=4, pause=1.5)
    assert 6 < took < 25
    assert statistics.median(player.waited) < 1
    assert max(player.waited) < 2


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_three_hundred_recordings_at_sixty_requests_a_minute(
    service: DemoServer, mount: Callable[..., MountedFolder], tmp_path: Path, player: Player
) -> None:
    """Five minutes and a little, the player's twenty opens included."""
    took = copy_while_playing(service, mount, tmp_path, player, count=300, window=60.0, opens=20, pause=12.0)
    rate = 320 / (took / 60)
    waits = " ".join(f"{each:.2f}" for each in sorted(player.waited))
    sys.stdout.write(f"\n300 + 20 recordings in {took:.0f} s, {rate:.1f} requests a minute, no 429\n")
    sys.stdout.write(f"seconds the player waited: {waits}\n")
    assert took < 320 * 1.1
    assert max(player.waited) < 1


def test_sixty_four_waiting_readers_keep_nobody_else_waiting(
    service: DemoServer, mount: Callable[..., MountedFolder], tmp_path: Path, player: Player
) -> None:
    """A player's open, a listing and the `stat` of what is known are answered at once."""
    names = added(service, tmp_path / "state", 80, others=3)
    limit(service, 60, 60.0)
    folder = mount()
    paths = [folder.recordings / f"{name}.mp3" for name in names]
    script = 'for name; do cat "$name" > /dev/null & done; wait'
    with running("sh", "-c", script, "sh", *paths) as readers:
        # Eight are taken for a person's and seven go at once: the others wait.
        assert wait_until(lambda: service.requests.count("api") >= 14, 20)
        assert wait_until(lambda: waiting(readers, folder) >= 56, 20)
        for index in range(3):
            assert player.open(folder.recordings / f"rec_p{index:04}.mp3") == "1000"
        began = time.monotonic()
        assert len(os.listdir(folder.recordings)) >= 80
        for path in paths[::-10]:
            path.stat()
        assert time.monotonic() - began < 1
        assert waiting(readers, folder) >= 40
    assert max(player.waited) < 1
    assert statuses(service).count(429) == 0


def waiting(group: subprocess.Popen[bytes], folder: MountedFolder) -> int:
    """Return how many processes of a group have not ended."""
    found = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
                found += int(fields[2]) == group.pid and fields[0] != b"Z"
    return found - 1


def test_sixteen_copies_at_a_time_get_all_there_is(
    service: DemoServer, mount: Callable[..., MountedFolder], tmp_path: Path
) -> None:
    """In no more requests than recordings, and without a 429."""
    names = added(service, tmp_path / "state", 96)
    limit(service, 48, 4.0)
    folder = mount()
    (tmp_path / "copy").mkdir()
    script = 'cd "$1" && ls | xargs -P 16 -I @ cp @ "$2"/@'
    with running("sh", "-c", script, "sh", folder.recordings, tmp_path / "copy") as copies:
        assert copies.wait(timeout=60) == 0
    assert statuses(service).count(429) == 0
    assert service.requests.count("api") == 96
    assert same(service, tmp_path / "copy", names)


def test_a_client_that_shares_the_key_is_made_room_for(
    service: DemoServer, mount: Callable[..., MountedFolder], tmp_path: Path
) -> None:
    """It takes half of the budget; we get the rest, and neither gets a 429."""
    names = added(service, tmp_path / "state", 45)
    limit(service, 60, 6.0)
    folder = mount()
    ended = threading.Event()
    seen: list[int] = []

    def other() -> None:
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {service.api_key}"
            while not ended.wait(0.2):
                seen.append(session.get(f"{service.api_url}/recordings/rec_nobody").status_code)

    thread = threading.Thread(target=other)
    thread.start()
    try:
        with running("rsync", "-a", f"{folder.recordings}/", tmp_path / "copy") as rsync:
            assert rsync.wait(timeout=60) == 0
    finally:
        ended.set()
        thread.join()
    assert len(seen) >= 20
    assert set(seen) == {404}
    assert 429 not in statuses(service)
    assert same(service, tmp_path / "copy", names)


@pytest.mark.parametrize(("allowed", "window", "dated"), [(24, 3.0, True), (60, 60.0, False)])
@pytest.mark.parametrize("skew", [3600.0, -86400.0])
def test_a_service_whose_clock_is_off_is_paced_all_the_same(
    skew: float,
    allowed: int,
    window: float,
    dated: bool,  # noqa: FBT001 - a parameter of the test
    service: DemoServer,
    mount: Callable[..., MountedFolder],
    tmp_path: Path,
) -> None:
    """Whether it sends its Date or not; where it does not, a window is taken to last a minute."""
    service.knobs.change({"clock_skew": skew, "send_date": dated})
    names = added(service, tmp_path / "state", 18)
    limit(service, allowed, window)
    folder = mount()
    with running("rsync", "-a", f"{folder.recordings}/", tmp_path / "copy") as rsync:
        assert rsync.wait(timeout=60) == 0
    assert statuses(service).count(429) == 0
    assert same(service, tmp_path / "copy", names)


def test_a_service_that_tells_nothing_refuses_once_and_is_paced_from_then_on(
    service: DemoServer, mount: Callable[..., MountedFolder], tmp_path: Path
) -> None:
    """What it granted before the first 429 stands for its limit."""
    names = added(service, tmp_path / "state", 50)
    blank = dict.fromkeys(("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"), "")
    silent = Fault("api", "slow", times=-1, bytes_per_second=10_000_000, headers=blank)
    service.knobs.faults = [silent]
    limit(service, 20, 3.0)
    folder = mount()
    with running("rsync", "-a", f"{folder.recordings}/", tmp_path / "copy") as rsync:
        assert rsync.wait(timeout=60) == 0
    assert silent.fired >= 50
    assert 1 <= statuses(service).count(429) <= 4
    assert same(service, tmp_path / "copy", names)


@pytest.mark.parametrize("pause", ["0", "-5", "soon", "Thu, 01 Jan 1970 00:00:00 GMT"])
def test_a_429_that_names_no_time_is_no_loop(
    pause: str, service: DemoServer, mount: Callable[..., MountedFolder]
) -> None:
    """Half a second, one, two: the file is read when the service says yes."""
    service.add_recording("rec_a", size=SIZE)
    fault = Fault("api", "status", status=429, times=2, headers={"Retry-After": pause})
    folder = mount()
    service.knobs.faults = [fault]
    began = time.monotonic()
    assert (folder.recordings / "rec_a.mp3").read_bytes() == service.audio("rec_a", "mp3")
    assert 1 <= time.monotonic() - began < 6
    assert fault.fired == 2
    assert service.requests.count("api") == 3


@pytest.mark.parametrize(("disk_cache", "by_date"), [("0", True), ("64M", False)])
def test_a_pause_that_fits_is_waited_for_by_everybody(
    disk_cache: str,
    by_date: bool,  # noqa: FBT001 - a parameter of the test
    service: DemoServer,
    mount: Callable[..., MountedFolder],
    tmp_path: Path,
) -> None:
    """Sixteen readers see no error, nothing is asked meanwhile, and what is cached is read."""
    for index in range(17):
        service.add_recording(f"rec_a{index}", size=SIZE)
    folder = mount(disk_cache=disk_cache, cache_dir=tmp_path / "cache")
    paths = [folder.recordings / f"rec_a{index}.mp3" for index in range(17)]
    known = service.audio("rec_a16", "mp3")
    assert paths[16].read_bytes() == known
    service.requests.clear()
    pause = formatdate(time.time() + 4, usegmt=True) if by_date else "3"
    fault = Fault("api", "status", status=429, times=1, headers={"Retry-After": pause})
    service.knobs.faults = [fault]
    with ThreadPoolExecutor(16) as pool:
        found = [pool.submit(paths[0].read_bytes)]
        assert wait_until(lambda: "rate limit is reached" in folder.log)
        closed = time.monotonic()
        found += [pool.submit(path.read_bytes) for path in paths[1:16]]
        assert paths[16].read_bytes() == known
        assert [each.result() for each in found] == [service.audio(f"rec_a{n}", "mp3") for n in range(16)]
    asked = service.requests.records("api")
    assert fault.fired == 1
    assert len(asked) == 17
    assert [each.status for each in asked].count(429) == 1
    # Since the log was seen; it had been closed for a moment by then.
    assert min(each.at for each in asked[1:]) - closed > 1.5


def test_a_429_holds_for_everybody_and_ends_at_once_where_it_is_too_long(
    service: DemoServer, mount: Callable[..., MountedFolder], player: Player
) -> None:
    """One request finds out for sixteen readers; what is cached is read meanwhile."""
    for index in range(17):
        service.add_recording(f"rec_a{index}", size=SIZE)
    folder = mount(throttle_timeout="5s")
    first = folder.recordings / "rec_a16.mp3"
    assert player.open(first) == "1000"
    fault = Fault("api", "status", status=429, times=-1, headers={"Retry-After": "60"})
    service.knobs.faults = [fault]
    began = time.monotonic()
    for index in range(16):
        assert "Connection timed out" in player.open(folder.recordings / f"rec_a{index}.mp3")
    assert player.open(first) == "1000"
    assert time.monotonic() - began < 3
    assert fault.fired == 1


def test_a_pause_that_nobody_can_mean_is_over_soon_after_the_fault(
    service: DemoServer, mount: Callable[..., MountedFolder]
) -> None:
    """Thirty years: refused at once, tried once in ten seconds."""
    service.add_recording("rec_a", size=SIZE)
    folder = mount()
    path = folder.recordings / "rec_a.mp3"
    fault = Fault("api", "status", status=429, times=-1, headers={"Retry-After": "1000000000"})
    service.knobs.faults = [fault]
    began = time.monotonic()
    while time.monotonic() - began < 4:
        with pytest.raises(TimeoutError):
            path.read_bytes()
        time.sleep(0.5)
    assert fault.fired == 1
    service.knobs.faults = []
    assert wait_until(lambda: readable(path), 12)
    assert path.read_bytes() == service.audio("rec_a", "mp3")


def readable(path: Path) -> bool:
    """Tell whether a file can be read."""
    try:
        return bool(path.read_bytes())
    except OSError:
        return False


def test_a_reader_that_is_stopped_in_the_queue_spends_nothing(
    service: DemoServer, mount: Callable[..., MountedFolder], tmp_path: Path, player: Player
) -> None:
    """Its place goes to the next."""
    names = added(service, tmp_path / "state", 40, others=1)
    limit(service, 60, 60.0)
    folder = mount()
    script = 'for name; do cat "$name" > /dev/null & done; wait'
    with running("sh", "-c", script, "sh", *(folder.recordings / f"{each}.mp3" for each in names)) as readers:
        assert wait_until(lambda: service.requests.count("api") >= 15, 20)
        began = time.monotonic()
        os.killpg(readers.pid, signal.SIGTERM)
        assert wait_until(lambda: waiting(readers, folder) <= 0, 5)
        assert time.monotonic() - began < 2
    before = service.requests.count("api")
    assert before < 30
    assert player.open(folder.recordings / "rec_p0000.mp3") == "1000"
    # Three or four would have had their turn meanwhile.
    assert not wait_until(lambda: service.requests.count("api") > before + 1, 4)
    assert statuses(service).count(429) == 0
