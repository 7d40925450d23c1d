"""Transcripts and other documents of sessions: in memory, and sealed on disk where the disk tier is.

To the disk tier a document is a rendition like any other, in blocks, under the session's id; so it counts
against `disk_cache`, is sealed with its key and destroyed with it.

Threading: a lock for the memory's table; the disk tier has its own.
"""

from __future__ import annotations

import threading
from typing import Protocol

from cachetools import LRUCache

from kallglotfs.content.arena import BLOCK
from kallglotfs.content.ranges import block_count, block_range
from kallglotfs.model import Rendition, Validator

#: Bytes of documents kept in memory: an hour of talk is about 100 KB.
CAPACITY = 16 * 1024 * 1024


class Tier(Protocol):
    """The disk tier."""

    def get(self, rendition: Rendition, validator: Validator, index: int, target: memoryview) -> bool:
        """Fill a buffer with a block; tell whether it was there."""

    def put(self, rendition: Rendition, validator: Validator, index: int, block: bytes) -> None:
        """Keep a block."""


class Documents:
    """Keeps the documents of sessions.

    Args:
        disk: the disk tier, None for none.
        capacity: bytes kept in memory.
    """

    def __init__(self, disk: Tier | None, capacity: int = CAPACITY) -> None:
        self._disk = disk
        self._lock = threading.Lock()
        self._memory: LRUCache[tuple[str, str], bytes] = LRUCache(capacity, getsizeof=len)

    def get(self, session_id: str, kind: str, size: int) -> bytes | None:
        """Return a document.

        Args:
            session_id: whose.
            kind: which.
            size: bytes it must have.

        Returns:
            None when it is not kept.
        """
        with self._lock:
            kept = self._memory.get((session_id, kind))
        if kept is not None and len(kept) != size:
            kept = None
        if kept is None and self._disk is not None:
            kept = self._from(self._disk, Rendition(session_id, kind), Validator(size))
            if kept is not None:
                self._remember(session_id, kind, kept)
        return kept

    def put(self, session_id: str, kind: str, body: bytes, *, lasting: bool) -> None:
        """Keep a document.

        Args:
            session_id: whose.
            kind: which.
            body: all of it.
            lasting: whether it will not change any more; what may change stays off the disk.
        """
        self._remember(session_id, kind, body)
        if self._disk is not None and lasting:
            validator = Validator(len(body))
            for index in range(block_count(len(body), BLOCK)):
                part = block_range(index, BLOCK, len(body))
                self._disk.put(Rendition(session_id, kind), validator, index, body[part.start : part.stop])

    def forget(self, session_id: str) -> None:
        """Let go of a session's documents in memory; those on disk go with everything else under its id."""
        with self._lock:
            for key in [key for key in self._memory if key[0] == session_id]:
                del self._memory[key]

    def _remember(self, session_id: str, kind: str, body: bytes) -> None:
        with self._lock:
            if len(body) <= self._memory.maxsize:
                self._memory[session_id, kind] = body

    @staticmethod
    def _from(disk: Tier, rendition: Rendition, validator: Validator) -> bytes | None:
        body = bytearray(validator.size)
        for index in range(block_count(validator.size, BLOCK)):
            part = block_range(index, BLOCK, validator.size)
            if not disk.get(rendition, validator, index, memoryview(body)[part.start : part.stop]):
                return None
        return bytes(body)
