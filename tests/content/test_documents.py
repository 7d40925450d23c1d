"""Transcripts are kept: all of them, or not at all."""

from __future__ import annotations

import pytest

from kallglotfs.content.arena import BLOCK
from kallglotfs.content.documents import Documents
from kallglotfs.model import Rendition, Validator


class Disk:
    """A disk tier as a dictionary."""

    def __init__(self) -> None:
        self.blocks: dict[tuple[Rendition, Validator, int], bytes] = {}

    def get(self, rendition: Rendition, validator: Validator, index: int, target: memoryview) -> bool:
        block = self.blocks.get((rendition, validator, index))
        if block is not None:
            target[:] = block
        return block is not None

    def put(self, rendition: Rendition, validator: Validator, index: int, block: bytes) -> None:
        self.blocks[rendition, validator, index] = block

    def destroy(self, recording_id: str) -> bool:
        self.blocks = {
            key: block for key, block in self.blocks.items() if key[0].recording_id != recording_id
        }
        return True


def content(size: int) -> bytes:
    """Return bytes that differ from place to place."""
    return bytes(number % 251 for number in range(size))


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK])
def test_a_lasting_document_outlives_the_memory(size: int) -> None:
    """From the disk, byte by byte."""
    disk = Disk()
    Documents(disk).put("sess_a", "transcript", content(size), lasting=True)
    assert Documents(disk).get("sess_a", "transcript", size) == content(size)
    assert Documents(disk).get("sess_b", "transcript", size) == (b"" if size == 0 else None)


def test_what_may_change_stays_off_the_disk() -> None:
    """It is in memory only."""
    disk = Disk()
    documents = Documents(disk)
    documents.put("sess_a", "transcript", content(10), lasting=False)
    assert documents.get("sess_a", "transcript", 10) == content(10)
    assert disk.blocks == {}


def test_a_document_with_a_block_missing_is_not_there() -> None:
    """Half a conversation is none."""
    disk = Disk()
    Documents(disk).put("sess_a", "transcript", content(3 * BLOCK), lasting=True)
    del disk.blocks[Rendition("sess_a", "transcript"), Validator(3 * BLOCK), 1]
    assert Documents(disk).get("sess_a", "transcript", 3 * BLOCK) is None


def test_another_size_is_another_version() -> None:
    """One in memory does not hide the right one on disk."""
    disk = Disk()
    documents = Documents(disk, capacity=100)
    documents.put("sess_a", "transcript", content(50), lasting=False)
    assert documents.get("sess_a", "transcript", 51) is None
    documents.put("sess_a", "transcript", content(200), lasting=True)
    assert documents.get("sess_a", "transcript", 200) == content(200)


def test_memory_is_bounded() -> None:
    """The least recent goes."""
    documents = Documents(None, capacity=100)
    for number in range(20):
        documents.put(f"sess_{number}", "transcript", content(30), lasting=True)
    kept = [number for number in range(20) if documents.get(f"sess_{number}", "transcript", 30)]
    assert kept == [17, 18, 19]
    documents.put("sess_big", "transcript", content(101), lasting=True)
    assert documents.get("sess_big", "transcript", 101) is None


def test_destroying_takes_all_of_a_session_and_nothing_else() -> None:
    """From memory; the block cache destroys what is on disk under the same id."""
    disk = Disk()
    documents = Documents(disk)
    for session in ("sess_a", "sess_b"):
        for kind in ("session", "transcript"):
            documents.put(session, kind, content(10), lasting=True)
    documents.forget("sess_a")
    disk.destroy("sess_a")
    assert documents.get("sess_a", "transcript", 10) is None
    assert documents.get("sess_b", "session", 10) == content(10)
    assert {key[0].recording_id for key in disk.blocks} == {"sess_b"}
