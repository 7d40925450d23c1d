"""Writes one block to the disk tier: room is made for it, it is sealed, and given up where it is not wanted.

User: `disk.py`, on the threads of its queue.

Threading: any number of writers at one time; no lock is held while a file is touched or a block sealed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kallglotfs.content.outage import reason
from kallglotfs.content.sealing import OVERHEAD
from kallglotfs.errors import ConfigError

if TYPE_CHECKING:
    from kallglotfs.content.block_files import BlockFiles
    from kallglotfs.content.block_index import BlockIndex
    from kallglotfs.content.cache_directory import CacheDirectory
    from kallglotfs.content.outage import Outage
    from kallglotfs.content.sealing import Sealer
    from kallglotfs.content.write_queue import Job

#: Bytes that a file may take more than it holds: the rest of its last page.
_PAGE = 4096


class BlockWriter:
    """Writes blocks.

    Args:
        directory: where; made anew where it was removed.
        files: touches the files.
        index: counts the blocks, and chooses which to evict.
        sealer: seals them.
        salt: is kept beside them.
        outage: is told whether writing works.
    """

    def __init__(
        self,
        directory: CacheDirectory,
        files: BlockFiles,
        index: BlockIndex,
        sealer: Sealer,
        salt: bytes,
        outage: Outage,
    ) -> None:
        self._directory = directory
        self._files = files
        self._index = index
        self._sealer = sealer
        self._salt = salt
        self._outage = outage

    def write(self, job: Job) -> bool:
        """Write a block and tell whether it is there now; never raises."""
        try:
            return self._outage.may_try() and self._keep(job)
        except (OSError, ConfigError) as error:
            self._outage.failed(reason(error))
        except Exception as error:  # noqa: BLE001 - a writer goes on, whatever one block does to it
            self._outage.failed(type(error).__name__)
        return False

    def _keep(self, job: Job) -> bool:
        if self._outage.active:
            if self._directory.restore():
                self._index.clear()
            # It is missing where it could not be written at the start, or the directory was removed.
            self._directory.keep_salt(self._salt, replace=False)
        if not self._directory.has_room():
            self._outage.failed("too little space is left on the filesystem")
            return False
        room = room_for(len(job.block))
        try:
            for victim in self._index.reserve(room):
                self._files.remove(victim)
            sealed = self._sealer.seal(job.identity, job.block)
            taken = self._files.write(job.name, sealed, lambda: not job.cancelled)
        finally:
            self._index.release(room)
        self._outage.worked()
        if taken is None:
            return False
        for victim in self._index.add(job.name, taken):
            self._files.remove(victim)
        if job.cancelled:
            self._index.forget(job.name)
            self._files.remove(job.name)
            return False
        return True


def room_for(length: int) -> int:
    """Return the bytes that a block of `length` bytes takes on the disk at the most."""
    return -(-(length + OVERHEAD) // _PAGE) * _PAGE
