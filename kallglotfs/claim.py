"""One at a time: two programs that mount at the same place would each find it free.

Used by the commands, from before they look at the mount point until their mount is there.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time

log = logging.getLogger(__name__)

#: Seconds to wait for somebody who mounts beside us; a mount takes less than one.
PATIENCE = 10.0
#: Seconds between two tries.
TURN = 0.05


class Claim:
    """A lock on the directory that holds the mount point.

    On the mount point itself it would be of no use: a dead mount covers it. Whoever cannot have it in time
    goes on without, since anybody who may read the directory can hold it; `mount.py` looks for company.

    Args:
        mount_point: absolute path.
    """

    def __init__(self, mount_point: str) -> None:
        self._folder = os.path.dirname(mount_point)  # noqa: PTH120 - a path as the kernel names it
        self._descriptor: int | None = None

    def take(self) -> None:
        """Wait for the lock, for a while."""
        try:
            self._descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return
        ends = time.monotonic() + PATIENCE
        while time.monotonic() < ends:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(TURN)
            except OSError:
                # A filesystem without locks.
                return
            else:
                return
        log.info("%s is locked by somebody else, mounting all the same", self._folder)

    def release(self) -> None:
        """Let others go on; may be called again."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(descriptor)
