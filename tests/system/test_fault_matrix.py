"""Every fault of the network under a real mount: with the disk tier off and on, with one reader and sixteen.

The faults are told apart by the recording they strike, so many run side by side on the same mounts: all cases
are run once, in waves, and then judged one by one.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import logging
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Self, TypeVar
from urllib.parse import urlsplit

import pytest

from conftest import MountedFolder, mounted, wait_until
from fault_proxy import IN_HEADERS, FaultProxy, Trouble
from kallglotfs.demo.knobs import Fault
from kallglotfs.demo.server import DemoServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

#: `timeout` of the mounts, and what a call may take beyond it.
TIMEOUT, GRACE = 3.0, 1.0
#: Seconds after which everything is well again when a fault is over.
RECOVERY = 2.0
#: The first request is for 1 MiB; a second one is needed for the rest.
SIZE = 1_150_000
FIRST = 1_048_576
#: Readers that run at the same time, and how many a run counts for besides: more, and it is this machine that
#: is tested.
SIDE_BY_SIDE, OVERHEAD = 64, 5


@dataclass(frozen=True)
class Case:
    """One fault.

    Args:
        name: for the test's id.
        make: from a recording's id to what goes wrong with it.
        error: the errno readers get; None for the right bytes.
        midway: the fault comes when the file is open and its beginning is read.
        spent: API requests that one file may cost altogether, recovery included.
        generation: of the service.
    """

    name: str
    make: Callable[[str], list[Fault | Trouble]]
    error: int | None = None
    midway: bool = False
    spent: int = 1
    generation: Literal[1, 2] = 1


def fault(
    kind: Literal["api", "storage"], action: str, **how: object
) -> Callable[[str], list[Fault | Trouble]]:
    """Return what makes the demo service misbehave for a recording."""
    return lambda name: [Fault(kind, action, match=rf"/{name}\b", **how)]  # type: ignore[arg-type]


def trouble(action: str, path: str = "", **how: object) -> Callable[[str], list[Fault | Trouble]]:
    """Return what makes a proxy misbehave for a recording; a path tells which of them."""
    return lambda name: [Trouble(action, match=rf"{path}/{name}\b", **how)]  # type: ignore[arg-type]


def both(*makers: Callable[[str], list[Fault | Trouble]]) -> Callable[[str], list[Fault | Trouble]]:
    """Return several faults at once."""
    return lambda name: [each for make in makers for each in make(name)]


API, STORAGE = "/v1/recordings", r" /recordings"
LASTING = {"times": -1}
MENDED = [
    *(Case(f"reset-at-{at}", trouble("reset", STORAGE, at=at)) for at in (0, 1, FIRST // 2, FIRST - 1)),
    Case("reset-in-headers", trouble("reset", STORAGE, at=IN_HEADERS)),
    Case("cut-at-300000", trouble("truncate", STORAGE, at=300_000, times=3)),
    Case("cut-chunked", fault("storage", "truncate_chunked", after_bytes=300_000)),
    Case("cut-undeclared", fault("storage", "truncate_undeclared", after_bytes=300_000)),
    Case("too-long", fault("storage", "too_long", after_bytes=777, times=2)),
    Case("too-long-undeclared", fault("storage", "too_long_undeclared", after_bytes=777, times=2)),
    Case("in-crumbs", trouble("slice", STORAGE, value=97, times=2)),
    Case("late", trouble("latency", STORAGE, value=1.0, times=2)),
    Case("whole-file", fault("storage", "ignore_range")),
    Case("503-twice", fault("storage", "status", status=503, times=2)),
    Case("wrong-range-once", fault("storage", "wrong_content_range")),
    Case("compressed-once", fault("storage", "gzip")),
    Case("503-midway", fault("storage", "status", status=503, times=2), midway=True),
    Case("reset-midway", trouble("reset", STORAGE, at=100_000), midway=True),
    Case("expired-midway", fault("storage", "status", status=403), midway=True, spent=2),
    Case("404-once-midway", fault("storage", "status", status=404), midway=True, spent=2),
    Case("410-once-midway", fault("storage", "status", status=410), midway=True, spent=2),
    Case("api-503-twice", fault("api", "status", status=503, times=2), spent=3),
    Case("api-reset", trouble("reset", API, at=10), spent=2),
    Case("api-in-crumbs", trouble("slice", API, value=1)),
]
LOST = [
    Case("storage-403", fault("storage", "status", status=403, **LASTING), errno.EACCES, spent=4),
    Case("storage-404", fault("storage", "status", status=404, **LASTING), errno.ENOENT, spent=4),
    Case("storage-410", fault("storage", "status", status=410, **LASTING), errno.ENOENT, spent=4),
    Case(
        "storage-404-midway",
        fault("storage", "status", status=404, **LASTING),
        errno.ESTALE,
        midway=True,
        spent=4,
    ),
    Case(
        "storage-403-midway",
        fault("storage", "status", status=403, **LASTING),
        errno.EACCES,
        midway=True,
        spent=4,
    ),
    Case(
        "same-url",
        both(fault("storage", "status", status=403, **LASTING), fault("api", "same_url", **LASTING)),
        errno.EACCES,
        midway=True,
        spent=4,
    ),
    Case("412-midway", fault("storage", "status", status=412, **LASTING), errno.ESTALE, midway=True),
    Case("416-midway", fault("storage", "status", status=416, **LASTING), errno.ESTALE, midway=True),
    Case("other-etag-midway", fault("storage", "other_etag", **LASTING), errno.ESTALE, midway=True),
    Case("other-size-midway", fault("storage", "other_size", **LASTING), errno.ESTALE, midway=True),
    Case("api-402", fault("api", "status", status=402, **LASTING), errno.EACCES, spent=3),
    Case("api-403", fault("api", "status", status=403, **LASTING), errno.EACCES, spent=3),
    *(
        Case(name, fault("storage", name, **LASTING), errno.EIO)
        for name in (
            "gzip",
            "wrong_content_range",
            "missing_content_range",
            "star_content_range",
            "unknown_total",
            "multipart",
            "html_body",
        )
    ),
    Case("html-midway", fault("storage", "html_body", **LASTING), errno.EIO, midway=True),
    # These last as long as `timeout`.
    Case("storage-500", fault("storage", "status", status=500, **LASTING), errno.EIO),
    Case("storage-500-midway", fault("storage", "status", status=500, **LASTING), errno.EIO, midway=True),
    Case("reset-for-ever", trouble("reset", STORAGE, at=1000, **LASTING), errno.EIO),
    Case("stall-in-headers", trouble("stall", STORAGE, at=IN_HEADERS, **LASTING), errno.ETIMEDOUT),
    Case("stall-before-body", trouble("stall", STORAGE, at=0, **LASTING), errno.ETIMEDOUT),
    Case("stall-in-body", trouble("stall", STORAGE, at=1000, **LASTING), errno.ETIMEDOUT),
    Case("stall-midway", trouble("stall", STORAGE, at=1000, **LASTING), errno.ETIMEDOUT, midway=True),
    Case("a-byte-a-second", trouble("bandwidth", STORAGE, value=1, **LASTING), errno.ETIMEDOUT),
    Case("headers-a-byte-a-second", trouble("drip", STORAGE, value=1, **LASTING), errno.ETIMEDOUT),
    Case("api-500", fault("api", "status", status=500, **LASTING), errno.EIO, spent=20),
    Case("api-stall", trouble("stall", API, at=IN_HEADERS, **LASTING), errno.ETIMEDOUT, spent=5),
    Case("api-stall-in-body", trouble("stall", API, at=5, **LASTING), errno.ETIMEDOUT, spent=5),
    Case(
        "slow-api-then-stall",
        both(trouble("latency", API, value=2.0), trouble("stall", STORAGE, at=0, **LASTING)),
        errno.ETIMEDOUT,
    ),
]


def audio(action: str, **how: object) -> Callable[[str], list[Fault | Trouble]]:
    """Return what makes the API misbehave when it streams a recording itself."""
    return lambda name: [Trouble(action, match=rf"{API}/{name}/audio", **how)]  # type: ignore[arg-type]


#: Generation 2: metadata and audio are two requests, and every further one is a request too.
SECOND = [
    Case("gen2-late", audio("latency", value=1.0), spent=2, generation=2),
    Case("gen2-in-crumbs", audio("slice", value=997), spent=2, generation=2),
    Case("gen2-reset", audio("reset", at=500_000), spent=3, generation=2),
    Case("gen2-cut-midway", audio("truncate", at=500_000), spent=3, generation=2),
    Case("gen2-reset-in-headers", audio("reset", at=IN_HEADERS), spent=3, generation=2),
    Case("gen2-stall", audio("stall", at=500_000, **LASTING), errno.ETIMEDOUT, spent=4, generation=2),
    Case(
        "gen2-stall-in-headers",
        audio("stall", at=IN_HEADERS, **LASTING),
        errno.ETIMEDOUT,
        spent=4,
        generation=2,
    ),
    Case(
        "gen2-500",
        lambda name: [Fault("api", "status", status=500, match=f"/{name}/audio", **LASTING)],
        errno.EIO,
        spent=20,
        generation=2,
    ),
]


@dataclass
class Outcome:
    """What one reader saw.

    Attributes:
        error: the errno it ended with, None if it read to the end.
        wrong: whether a byte was not what it should be.
        longest: seconds its longest call took.
        slowest: which call that was.
    """

    error: int | None = None
    wrong: bool = False
    longest: float = 0.0
    slowest: str = ""


@dataclass
class Verdict:
    """What a run of a case has shown."""

    outcomes: list[Outcome] = field(default_factory=list)
    struck: list[int] = field(default_factory=list)
    lasted: float = 0.0
    recovered: float = 0.0
    exact: bool = True
    spent: dict[str, int] = field(default_factory=dict)
    others: list[Outcome] = field(default_factory=list)
    on_disk: dict[str, bool] = field(default_factory=dict)


def read(path: Path, expected: bytes, descriptor: int | None = None) -> Outcome:
    """Read a file to its end as `cp` does, with a clock on every call."""
    found = Outcome()

    def timed(name: str, call: Callable[[], T]) -> T:
        began = time.monotonic()
        try:
            return call()
        finally:
            took = time.monotonic() - began
            if took > found.longest:
                found.longest, found.slowest = took, name

    own = None
    try:
        if descriptor is None:
            descriptor = own = timed("open", lambda: os.open(path, os.O_RDONLY))
        assert descriptor is not None
        at = 0
        while piece := timed(f"read at {at}", lambda at=at: os.pread(descriptor, 131_072, at)):
            found.wrong |= expected[at : at + len(piece)] != piece
            at += len(piece)
        found.wrong |= at != len(expected)
    except OSError as error:
        found.error = error.errno
    finally:
        if own is not None:
            os.close(own)
    return found


class World:
    """A service of one generation behind two proxies, mounted without and with a disk tier."""

    def __init__(self, generation: Literal[1, 2], directory: Path, stack: contextlib.ExitStack) -> None:
        self.server = stack.enter_context(DemoServer())
        self.server.knobs.generation = generation
        self.directory = directory
        addresses = (urlsplit(url) for url in (self.server.api_url, self.server.storage_url))
        self.api, self.storage = (
            stack.enter_context(FaultProxy(("127.0.0.1", each.port or 0))) for each in addresses
        )
        self.server.public_storage_url = self.storage.origin
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._stack = stack
        self.mounts = {tier: self.mount(tier, tier) for tier in ("memory", "disk")}

    def mount(self, name: str, tier: str) -> MountedFolder:
        """Mount it; mounts of one tier share catalog and cache."""
        options: dict[str, object] = {
            "api_url": f"{self.api.origin}/v1",
            "timeout": f"{TIMEOUT:g}s",
            "memory_cache": "512M",
        }
        if tier == "disk":
            options |= {"disk_cache": "2G", "cache_dir": self.directory / "cache"}
        state = self.directory / f"state-{tier}"
        return self._stack.enter_context(
            mounted(self.server, self.directory / f"mnt-{name}", state, None, options)
        )

    def add(self, size: int = SIZE) -> str:
        """Add a recording; return its id."""
        # No two that are used together are neighbours in the listing: a walk would have them fetched ahead.
        name = f"rec_{hashlib.sha256(str(next(self._numbers)).encode()).hexdigest()[:12]}"
        with self._lock:
            self.server.add_recording(name, size=size)
        return name

    def set(self, faults: list[Fault | Trouble]) -> None:
        """Let things go wrong."""
        with self._lock:
            self.server.knobs.faults = [
                *self.server.knobs.faults,
                *(each for each in faults if isinstance(each, Fault)),
            ]
        for proxy in (self.api, self.storage):
            proxy.set(each for each in faults if isinstance(each, Trouble))

    def lift(self, faults: list[Fault | Trouble]) -> None:
        """Let them be well again."""
        gone = {id(each) for each in faults}
        with self._lock:
            self.server.knobs.faults = [each for each in self.server.knobs.faults if id(each) not in gone]
        for proxy in (self.api, self.storage):
            proxy.lift(each for each in faults if isinstance(each, Trouble))


class Run:
    """One case on one mount with one number of readers."""

    def __init__(self, world: World, case: Case, tier: str, readers: int) -> None:
        self.world = world
        self.case = case
        self.tier = tier
        self.readers = readers
        self.folder = world.mounts[tier]
        # Of many readers nine share one file, and the others have one each or two.
        names = [world.add() for _ in range(1 if readers == 1 else 5)]
        self.names = names
        self.reading = [names[max(0, index - 8) % 5] for index in range(readers)]
        self.content = {name: world.server.audio(name) for name in names}
        self.verdict = Verdict()

    def path(self, name: str) -> Path:
        """Return where a recording is."""
        return self.folder.recordings / f"{name}.mp3"

    def __call__(self) -> Verdict:
        """Go through the case: fault, end of the fault, recovery, a second look."""
        faults = {name: self.case.make(name) for name in self.names}
        everything = [each for some in faults.values() for each in some]
        with ThreadPoolExecutor(self.readers) as pool:
            descriptors: list[int | None] = [None] * self.readers
            if self.case.midway:
                descriptors = [os.open(self.path(name), os.O_RDONLY) for name in self.reading]
                for name, descriptor in zip(self.reading, descriptors, strict=True):
                    assert descriptor is not None
                    assert os.pread(descriptor, 4096, 0) == self.content[name][:4096]
            self.world.set(everything)
            began = time.monotonic()
            self.verdict.outcomes = list(
                pool.map(
                    lambda name, descriptor: read(self.path(name), self.content[name], descriptor),
                    self.reading,
                    descriptors,
                )
            )
            self.world.lift(everything)
            lifted = time.monotonic()
            self.verdict.lasted = lifted - began
            for name in self.names:
                wait_until(lambda name=name: self.is_back(name), 20)
            self.verdict.recovered = time.monotonic() - lifted
            for name, descriptor in zip(self.reading, descriptors, strict=True):
                if descriptor is not None:
                    self.verdict.exact &= self.is_right_or_stale(name, descriptor)
                    os.close(descriptor)
            for name in self.names:
                self.drop_pages(name)
                self.verdict.exact &= self.is_right(name)
        self.verdict.struck = [
            sum(each.fired if isinstance(each, Fault) else each.struck for each in some)
            for some in faults.values()
        ]
        self.verdict.spent = {name: self.world.server.requests.count("api", name) for name in self.names}
        return self.verdict

    def is_back(self, name: str) -> bool:
        """Tell whether a recording can be opened, and its first and last byte be read."""
        try:
            descriptor = os.open(self.path(name), os.O_RDONLY)
        except OSError:
            return False
        try:
            ends = os.pread(descriptor, 1, 0) + os.pread(descriptor, 1, SIZE - 1)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        self.verdict.exact &= ends == self.content[name][:1] + self.content[name][-1:]
        return True

    def is_right(self, name: str) -> bool:
        """Tell whether a recording can be opened and read, noting every byte that is wrong."""
        found = read(self.path(name), self.content[name])
        self.verdict.exact &= not found.wrong
        return found.error is None and not found.wrong

    def is_right_or_stale(self, name: str, descriptor: int) -> bool:
        """Tell the same of a file that was open all the time."""
        found = read(self.path(name), self.content[name], descriptor)
        return not found.wrong and found.error in (None, self.case.error)

    def drop_pages(self, name: str) -> None:
        """Let the kernel forget a file, so that our own memory is read."""
        descriptor = os.open(self.path(name), os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


class Bystander:
    """Somebody who reads other files of a mount all the time, known ones and new ones."""

    def __init__(self, world: World, tier: str) -> None:
        self._world = world
        self._folder = world.mounts[tier]
        self._known = world.add(300_000)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read)
        #: What was read, and when that ended.
        self.outcomes: list[tuple[float, Outcome]] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._ended.set()
        self._thread.join(30)

    def _read(self) -> None:
        while not self._ended.wait(0.2):
            for name in (self._known, self._world.add(100_000)):
                path = self._folder.recordings / f"{name}.mp3"
                found = read(path, self._world.server.audio(name))
                self.outcomes.append((time.monotonic(), found))


def run_all(world: World, wanted: list[tuple[Case, str, int]]) -> dict[tuple[str, str, int], Verdict]:
    """Run cases side by side, as many as make so many readers; those that take long first."""
    wanted.reverse()
    wanted.sort(key=lambda each: -each[2])
    runs = [Run(world, *each) for each in wanted]
    room = threading.Semaphore(SIDE_BY_SIDE)

    def go(run: Run) -> None:
        began = time.monotonic()
        try:
            run()
        finally:
            room.release(run.readers + OVERHEAD)
        ended = time.monotonic()
        seen = bystanders[run.tier].outcomes
        # The last one before it ended may have begun before it did.
        run.verdict.others = [outcome for at, outcome in list(seen) if began < at <= ended] or [seen[-1][1]]

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool, contextlib.ExitStack() as stack:
        bystanders = {tier: stack.enter_context(Bystander(world, tier)) for tier in world.mounts}
        assert wait_until(lambda: all(each.outcomes for each in bystanders.values()), 20)
        going = []
        for run in runs:
            for _ in range(run.readers + OVERHEAD):
                room.acquire()
            going.append(pool.submit(go, run))
        for each in going:
            each.result()
    assert world.mounts["disk"].unmount() == 0
    world.api.refuse()
    world.storage.refuse()
    again = world.mount("again", "disk")
    for run in runs:
        if run.tier == "disk":
            for name in run.names:
                seen = read(again.recordings / f"{name}.mp3", run.content[name])
                run.verdict.on_disk[name] = seen.error is None and not seen.wrong
    return {(run.case.name, run.tier, run.readers): run.verdict for run in runs}


@pytest.fixture(scope="module")
def verdicts(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str, int], Verdict]:
    """All runs that tests of this session ask for, each made once."""
    wanted = [
        (each.callspec.params["case"], each.callspec.params["tier"], each.callspec.params["readers"])
        for each in request.session.items
        if isinstance(each, pytest.Function) and each.fspath == request.fspath and "case" in each.fixturenames
    ]
    found = {}
    for generation in {case.generation for case, _, _ in wanted}:
        with contextlib.ExitStack() as stack:
            world = World(generation, tmp_path_factory.mktemp("matrix"), stack)
            found |= run_all(world, [each for each in wanted if each[0].generation == generation])
    return found


def judge(found: Verdict, case: Case, tier: str, readers: int) -> None:
    """Hold a run against what is promised."""
    assert all(found.struck), found.struck
    assert [each.error for each in found.outcomes] == [case.error] * readers
    assert max(each.longest for each in found.outcomes) <= TIMEOUT + GRACE
    # What is refused again and again is asked for ever more rarely: for no longer than it has been refused.
    refused = case.error in (errno.EACCES, errno.ENOENT, errno.ESTALE) and found.lasted > 1
    assert found.recovered <= RECOVERY + (found.lasted if refused else 0)
    assert max(found.spent.values()) <= case.spent, found.spent
    assert found.others
    assert {(each.error, each.wrong) for each in found.others} == {(None, False)}
    assert max(each.longest for each in found.others) <= TIMEOUT / 2
    assert all(found.on_disk.values()), found.on_disk
    assert bool(found.on_disk) == (tier == "disk")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("readers", [1, 16])
@pytest.mark.parametrize("tier", ["memory", "disk"])
@pytest.mark.parametrize("case", MENDED + LOST + SECOND, ids=lambda case: case.name)
def test_a_fault_is_mended_or_told_in_time_and_leaves_no_trace(
    case: Case,
    tier: str,
    readers: int,
    verdicts: dict[tuple[str, str, int], Verdict],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """The promised errno within `timeout` and a second, no wrong byte, recovery within two seconds."""
    found = verdicts[case.name, tier, readers]
    # Never a matter of how busy the machine is.
    assert found.exact
    assert not any(each.wrong for each in found.outcomes)
    try:
        judge(found, case, tier, readers)
    except AssertionError as late:
        # A hundred readers at a time are much for two cores: the bounds are for a run by itself.
        logging.getLogger(__name__).warning("%s is run again by itself: %s", case.name, late)
        with contextlib.ExitStack() as stack:
            world = World(case.generation, tmp_path_factory.mktemp("alone"), stack)
            alone = run_all(world, [(case, tier, readers)])[case.name, tier, readers]
        assert alone.exact
        assert not any(each.wrong for each in alone.outcomes)
        judge(alone, case, tier, readers)
