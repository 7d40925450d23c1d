"""A real mount against a model: whatever is opened, changed, evicted and remounted, a read is of one version.

The model knows what docs/SEMANTICS.md promises, and no more. An open file is pinned to one of the versions
that could be shown when it was opened: not older than any that was shown before, not newer than the
service's. Each read narrows that down, and must leave one. A read may fail with ESTALE only where the pinned
version is not the current one, and a recording that was shown to be deleted stays so.
"""

from __future__ import annotations

import errno
import itertools
import os
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import MountedFolder
    from kallglotfs.demo.server import DemoServer

pytestmark = [pytest.mark.load, pytest.mark.timeout(3600)]

KIB = 1024
BLOCK = 256 * KIB
SIZES = st.sampled_from([0, 1, 5000, BLOCK - 1, BLOCK, BLOCK + 1, 700_000, 1_048_577, 3_000_017])
#: A recording that is read to push everything else out of a memory cache of 8 MiB.
FILLER, FILLER_SIZE = "rec_filler", 12_000_000

#: Recordings of one example: few, so that much happens to each.
MOST = 3


@dataclass
class Recording:
    """What the model knows of one recording.

    Attributes:
        name: its file's.
        versions: every content it had, oldest first.
        floor: the oldest version that a new open may still show.
        deleted: the service has it no more.
        gone: and the mount has shown so.
    """

    id: str
    versions: list[bytes]
    floor: int = 0
    deleted: bool = False
    gone: bool = False

    @property
    def current(self) -> int | None:
        """The version the service has."""
        return None if self.deleted else len(self.versions) - 1


@dataclass
class Handle:
    """An open file.

    Attributes:
        descriptor: -1 where opening failed: what Hypothesis chooses from must not depend on that.
        candidates: the versions it may be pinned to.
    """

    recording: Recording
    descriptor: int
    candidates: set[int] = field(default_factory=set)


class Versions(RuleBasedStateMachine):
    """The machine; the mount outlives each example, its recordings do not."""

    service: ClassVar[DemoServer]
    remount: ClassVar[Callable[[], MountedFolder]]
    folder: ClassVar[MountedFolder]
    seen: ClassVar[dict[str, int]]
    _numbers: ClassVar[itertools.count[int]] = itertools.count()

    recordings: Bundle[Recording] = Bundle("recordings")
    handles: Bundle[Handle] = Bundle("handles")

    def __init__(self) -> None:
        super().__init__()
        self._open: list[Handle] = []
        self._random = random.Random(7)
        self._created = 0

    def teardown(self) -> None:
        """Close what the example left open."""
        for handle in self._open:
            os.close(handle.descriptor)

    def _content(self, size: int) -> bytes:
        return self._random.randbytes(size)

    def _path(self, recording: Recording) -> str:
        return str(self.folder.recordings / f"{recording.id}.mp3")

    @initialize(target=recordings, size=SIZES)
    def begin(self, size: int) -> Recording:
        """There is one recording from the start."""
        return self._create(size)

    @precondition(lambda self: self._created < MOST)
    @rule(target=recordings, size=SIZES)
    def create(self, size: int) -> Recording:
        """A new recording appears."""
        return self._create(size)

    def _create(self, size: int) -> Recording:
        self._created += 1
        recording = Recording(f"rec_v{next(self._numbers):06}", [self._content(size)])
        self.service.add_recording(recording.id, size)
        self.service.replace_content(recording.id, recording.versions[0])
        return recording

    @rule(recording=recordings, size=SIZES, same=st.booleans())
    def mutate(self, recording: Recording, size: int, same: bool) -> None:  # noqa: FBT001 - Hypothesis calls
        """The service has other bytes from now on, of another size or of the same."""
        if recording.deleted:
            return
        content = self._content(len(recording.versions[-1]) if same else size)
        if content in recording.versions:  # of no or one byte: could not be told apart
            return
        recording.versions.append(content)
        self.service.replace_content(recording.id, content)

    @rule(recording=recordings)
    def delete(self, recording: Recording) -> None:
        """The service has it no more."""
        if not recording.deleted:
            self.service.remove_recording(recording.id)
            recording.deleted = True

    @rule()
    def look_too_late(self) -> None:
        """What was deleted before anybody looked is not there."""
        recording = Recording(f"rec_v{next(self._numbers):06}", [b""])
        self.service.add_recording(recording.id, 1000)
        self.service.remove_recording(recording.id)
        with pytest.raises(FileNotFoundError):
            os.open(self._path(recording), os.O_RDONLY)
        self._count("ENOENT")

    @rule()
    def expire(self) -> None:
        """All signed URLs are refused from now on."""
        self.service.revoke_urls()

    @rule(target=handles, recording=recordings)
    def open(self, recording: Recording) -> Handle:
        """A new open shows a version that is not older than one already shown."""
        try:
            descriptor = os.open(self._path(recording), os.O_RDONLY)
        except FileNotFoundError:
            assert recording.deleted, "an existing recording was not found"
            recording.gone = True
            self._count("ENOENT")
            return Handle(recording, -1)
        handle = Handle(recording, descriptor)
        self._open.append(handle)
        assert not recording.gone, "a deleted recording came back"
        size = os.fstat(descriptor).st_size
        possible = range(recording.floor, len(recording.versions))
        handle.candidates = {index for index in possible if len(recording.versions[index]) == size}
        assert handle.candidates, f"{size} bytes: of none of the versions {list(possible)}"
        recording.floor = max(recording.floor, min(handle.candidates))
        self._count("open")
        return handle

    @rule(
        handle=handles,
        place=st.floats(0, 1),
        near=st.integers(-5, 5),
        length=st.sampled_from([0, 1, 4096, 70_000, 2**20]),
    )
    def pread(self, handle: Handle, place: float, near: int, length: int) -> None:
        """Anywhere in the file, and a little beyond."""
        size = len(handle.recording.versions[max(handle.candidates, default=0)])
        offset = max(0, int(place * size) + near)
        self._read(handle, offset, length, lambda: os.pread(handle.descriptor, length, offset))

    @rule(
        handle=handles,
        block=st.integers(0, 13),
        before=st.integers(0, 9),
        length=st.sampled_from([20, BLOCK, 2**20]),
    )
    def seek_and_read(self, handle: Handle, block: int, before: int, length: int) -> None:
        """Across a block's border."""
        offset = max(0, block * BLOCK - before)

        def call() -> bytes:
            os.lseek(handle.descriptor, offset, os.SEEK_SET)
            return os.read(handle.descriptor, length)

        self._read(handle, offset, length, call)

    @rule(handle=handles, size=SIZES, changed=st.booleans())
    def read_all_anew(self, handle: Handle, size: int, changed: bool) -> None:  # noqa: FBT001 - Hypothesis calls
        """From the first byte to the last, when memory has none of them; the service may have others."""
        if changed:
            self.mutate(handle.recording, size, same=False)
        self._evict()
        self._read(handle, 0, 4_000_000, lambda: os.pread(handle.descriptor, 4_000_000, 0))

    @rule(handle=consumes(handles))
    def close(self, handle: Handle) -> None:
        """Closing never fails."""
        self._close(handle)

    @rule()
    def evict(self) -> None:
        """Another file pushes everything out of memory, and the kernel forgets the pages of what is open."""
        self._evict()

    def _evict(self) -> None:
        with open(self.folder.recordings / f"{FILLER}.mp3", "rb", buffering=0) as file:  # noqa: PTH123
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            # Backwards: of what is read in order, only what was passed by is evicted.
            for block in reversed(range(FILLER_SIZE // BLOCK)):
                os.pread(file.fileno(), 1, block * BLOCK)
        for handle in self._open:
            os.posix_fadvise(handle.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    @rule(turn=st.integers(0, 5))
    def restart(self, turn: int) -> None:
        """The mount ends and begins anew, with the same catalog and disk tier; which takes long."""
        if turn < 5:
            return
        for handle in list(self._open):
            self._close(handle)
        assert self.folder.unmount() == 0
        type(self).folder = type(self).remount()
        self._count("restart")

    def _close(self, handle: Handle) -> None:
        if handle in self._open:
            self._open.remove(handle)
            os.close(handle.descriptor)

    def _read(self, handle: Handle, offset: int, length: int, call: Callable[[], bytes]) -> None:
        if handle not in self._open:
            return
        recording = handle.recording
        refused: OSError | None = None
        try:
            got = call()
        except OSError as error:
            refused = error
        if refused is not None:
            assert refused.errno == errno.ESTALE, f"{refused} instead of bytes or ESTALE"
            self._stale(handle)
            return
        wanted = {index: recording.versions[index][offset : offset + length] for index in handle.candidates}
        fitting = {index for index, content in wanted.items() if content == got}
        if got and not fitting:
            # Where a later page fails, the kernel returns what lies before it; the next read tells the error.
            handle.candidates = {index for index, content in wanted.items() if content.startswith(got)}
            assert handle.candidates, f"{len(got)} bytes at {offset} are of none of {set(wanted)}"
            with pytest.raises(OSError, match="Stale file handle"):
                os.pread(handle.descriptor, length - len(got), offset + len(got))
            self._stale(handle)
            return
        assert fitting, f"{len(got)} bytes at {offset} of {length} asked are of none of {handle.candidates}"
        handle.candidates = fitting
        recording.floor = max(recording.floor, min(fitting))
        self._count("read")

    def _stale(self, handle: Handle) -> None:
        """Only a version that is no more may be refused; a new open shows a newer one, or none."""
        recording = handle.recording
        old = {index for index in handle.candidates if index != recording.current}
        assert old, "ESTALE for the version that the service has"
        handle.candidates = old
        newest = len(recording.versions) - 1
        if min(old) < newest:
            recording.floor = max(recording.floor, min(old) + 1)
        elif recording.deleted:
            recording.gone = True
        self._count("ESTALE")

    def _count(self, what: str) -> None:
        self.seen[what] = self.seen.get(what, 0) + 1


@pytest.mark.parametrize("disk", ["0", "64M"])
def test_every_read_is_of_one_version(
    disk: str,
    service: DemoServer,
    mount: Callable[..., MountedFolder],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """Opened, changed, deleted, expired, evicted, remounted in any order that Hypothesis finds."""
    service.add_recording(FILLER, FILLER_SIZE)
    Versions.service = service
    Versions.remount = lambda: mount(
        memory_cache="8M", disk_cache=disk, cache_dir=tmp_path / "cache", log_level="info"
    )
    Versions.folder = Versions.remount()
    Versions.seen = {}
    profile = settings.get_profile(request.config.getoption("--hypothesis-profile") or "brief")
    run_state_machine_as_test(
        Versions, settings=settings(profile, deadline=None, suppress_health_check=list(HealthCheck))
    )
    wanted = {"read", "open", "ENOENT", "restart"} | ({"ESTALE"} if disk == "0" else set())
    assert wanted <= Versions.seen.keys()
    assert service.requests.count("api") > 0
