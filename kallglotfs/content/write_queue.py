"""Blocks on their way to the disk: bounded, found before they arrive, and called off when they must not.

User: `disk.py`. The queue takes `QUEUE` bytes, then whoever offers a block waits for the disk: a block that
is dropped costs an API request one day, and those are scarce. A disk that hangs holds nobody up: once it has
finished no block for `PATIENCE` seconds, blocks are dropped until it moves again.

Threading: one condition, a leaf, guards the queue and is never held while a block is written. Two writers:
one encrypts while the other is in the kernel (ext4, two cores, best of five on a busy machine: 0.56 GB/s with
one, 1.4 with two, 1.3 with four). They start with the first block and sleep when there is none. They are
daemons, since a disk that hangs must not keep the process from ending.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: Bytes of blocks that wait for the disk or are being written: 128 blocks, a quarter of a second at 128 MB/s.
QUEUE = 32 * 1024 * 1024
#: Seconds without a finished block after which the disk is taken to hang.
PATIENCE = 1.0
#: Threads that write.
WRITERS = 2


@dataclass(slots=True, eq=False)
class Job:
    """A block to write.

    Attributes:
        name: of its file.
        identity: what it is sealed as.
        block: its bytes.
        cancelled: its recording was destroyed; set by any thread, never taken back.
    """

    name: bytes
    identity: bytes
    block: bytes
    cancelled: bool = False


class WriteQueue:
    """Hands blocks to the threads that write them.

    Args:
        write: writes one block, whatever happens without raising.
    """

    def __init__(self, write: Callable[[Job], None]) -> None:
        self._write = write
        self._changed = threading.Condition()
        self._waiting: deque[Job] = deque()
        #: Those that wait and those being written, by name.
        self._jobs: dict[bytes, Job] = {}
        self._bytes = 0
        self._unfinished = 0
        self._finished = 0
        self._stalled = False
        self._writers = 0
        self._closed = False

    def offer(self, job: Job) -> bool:
        """Take a block to write, after a wait for room while the disk moves.

        Returns:
            Whether it was taken, or is there already.
        """
        with self._changed:
            if job.name in self._jobs:
                return True
            if not (self._has_room(job) or self._wait_for_room(job)) or self._closed:
                return False
            if job.name in self._jobs:  # while waiting
                return True
            if self._writers < WRITERS:
                with contextlib.suppress(RuntimeError):  # no more threads: those that run have to do
                    threading.Thread(target=self._run, name=f"disk-{self._writers}", daemon=True).start()
                    self._writers += 1
            if not self._writers:
                return False
            self._jobs[job.name] = job
            self._waiting.append(job)
            self._bytes += len(job.block)
            self._unfinished += 1
            self._changed.notify_all()
            return True

    def find(self, name: bytes) -> bytes | None:
        """Return a block that is not written yet."""
        with self._changed:
            job = self._jobs.get(name)
            return None if job is None else job.block

    def cancel(self, folder: bytes) -> None:
        """Call off all blocks whose names begin with `folder`, those being written included."""
        with self._changed:
            for name in [name for name in self._jobs if name.startswith(folder)]:
                self._jobs.pop(name).cancelled = True

    def settle(self, folder: bytes, seconds: float) -> bool:
        """Wait until no block whose name begins with `folder` is to be written; tell whether that is so."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not any(name.startswith(folder) for name in self._jobs), seconds
            )

    def close(self, seconds: float) -> None:
        """Take no more blocks, give those that wait `seconds` to be written, and drop the rest."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._unfinished, seconds)
            self._waiting.clear()
            self._jobs.clear()

    def _has_room(self, job: Job) -> bool:
        # An empty queue takes a block of any size.
        return not self._bytes or self._bytes + len(job.block) <= QUEUE

    def _wait_for_room(self, job: Job) -> bool:
        while not (self._stalled or self._closed or self._has_room(job)):
            before = self._finished
            moved = self._changed.wait_for(lambda: self._closed or self._finished != before, PATIENCE)  # noqa: B023 - called here
            self._stalled = not moved
        return not self._stalled

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                job = self._waiting.popleft()
            try:
                if not job.cancelled:
                    self._write(job)
            finally:
                self._done(job)
                del job  # an idle writer keeps no block

    def _done(self, job: Job) -> None:
        with self._changed:
            if self._jobs.get(job.name) is job:
                del self._jobs[job.name]
            self._bytes -= len(job.block)
            self._unfinished -= 1
            self._finished += 1
            self._stalled = False
            self._changed.notify_all()
