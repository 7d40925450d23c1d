"""The memory tier and its arena: bounded, and never a slot that somebody still reads from."""

from __future__ import annotations

import threading

import pytest

from kallglotfs.content.arena import BLOCK, Arena, Block
from kallglotfs.content.memory import MemoryTier
from kallglotfs.model import Rendition, Validator

FILE = Rendition("rec_1", "mp3")
VERSION = Validator(10**9)
SLOTS = 16


@pytest.fixture
def tier() -> MemoryTier:
    """Sixteen slots."""
    return MemoryTier(SLOTS * BLOCK, threading.Condition())


def put(tier: MemoryTier, index: int) -> None:
    """Keep a block that is told by its bytes."""
    block = tier.room(BLOCK)
    block.view[:8] = index.to_bytes(8)
    tier.keep((FILE, VERSION, index), block)


def kept(tier: MemoryTier) -> list[int]:
    """Return the indices of what is kept, having compared the bytes."""
    found = []
    for index in range(100):
        if (FILE, VERSION, index) in tier:
            block = tier._blocks[FILE, VERSION, index]
            assert int.from_bytes(block.view[:8]) == index
            found.append(index)
    return found


def test_a_slot_is_used_again_only_when_nobody_refers_to_it() -> None:
    """Whoever reads from a block reads what was put in."""
    arena = Arena(2 * BLOCK)
    first, second = arena.take(BLOCK), arena.take(10)
    assert first is not None
    assert second is not None
    assert (len(first), len(second)) == (BLOCK, 10)
    first.view[:3] = b"one"
    assert arena.take(1) is None
    other = first
    del first
    assert arena.take(1) is None
    assert bytes(other.view[:3]) == b"one"
    del other
    again = arena.take(3)
    assert again is not None
    assert bytes(again.view) == b"one"


def test_memory_that_was_never_used_can_be_spared() -> None:
    """A slot that is free comes first."""
    arena = Arena(4 * BLOCK)
    assert arena.take(1, fresh=False) is None
    block = arena.take(1)
    assert arena.touched == 1
    del block
    assert arena.take(1, fresh=False) is not None
    assert arena.touched == 1


def test_no_more_is_kept_than_there_is_room_for(tier: MemoryTier) -> None:
    """The least recently used goes."""
    for index in range(SLOTS):
        put(tier, index)
    assert tier.get((FILE, VERSION, 0)) is not None
    for index in range(SLOTS, SLOTS + 4):
        put(tier, index)
    assert len(tier) == SLOTS
    assert kept(tier) == [0, *range(5, SLOTS + 4)]


def test_what_was_passed_by_goes_before_what_nobody_has_read_yet(tier: MemoryTier) -> None:
    """A copy does not push out what others have had fetched ahead."""
    for index in range(SLOTS):
        put(tier, index)
    for index in (10, 11, 12):
        tier.passed((FILE, VERSION, index))
    assert tier.get((FILE, VERSION, 11)) is not None
    for index in range(50, 52):
        put(tier, index)
    assert [index for index in range(SLOTS) if index not in kept(tier)] == [10, 12]


def test_a_copy_goes_round_in_a_part_of_the_memory(tier: MemoryTier) -> None:
    """The rest is not even touched."""
    for index in range(60):
        put(tier, index)
        tier.passed((FILE, VERSION, index))
    assert tier._arena.touched <= SLOTS // 4 + 1


def test_where_all_slots_are_being_read_from_a_block_gets_memory_of_its_own(tier: MemoryTier) -> None:
    """Nobody waits, and nobody's bytes change."""
    held = []
    for index in range(SLOTS):
        put(tier, index)
        held.append(tier.get((FILE, VERSION, index)))
    extra = tier.room(BLOCK)
    assert isinstance(extra, Block)
    assert len(extra) == BLOCK
    extra.view[:8] = b"\xff" * 8
    assert [int.from_bytes(block.view[:8]) for block in held if block is not None] == list(range(SLOTS))


def test_a_recording_that_is_forgotten_leaves_nothing(tier: MemoryTier) -> None:
    """And the others stay."""
    put(tier, 1)
    other = tier.room(5)
    tier.keep((Rendition("rec_2", "mp3"), VERSION, 1), other)
    tier.forget("rec_1")
    assert kept(tier) == []
    assert (Rendition("rec_2", "mp3"), VERSION, 1) in tier
