"""Sealing: a block opens only as the block it was sealed as, under the key it was sealed under."""

from __future__ import annotations

import os

import pytest

from kallglotfs.content.sealing import NAME, OVERHEAD, SALT, Sealer, identify
from kallglotfs.model import Rendition, Secret, Validator

SECRET = Secret("sk_test_canary_of_the_key")
SALT_A, SALT_B = bytes(SALT), bytes([1]) * SALT
RENDITION = Rendition("rec_1", "mp3")
VALIDATOR = Validator(1000, '"a"')
IDENTITY = identify(RENDITION, VALIDATOR, 0)
BLOCK = os.urandom(1000)
#: Every block that is nearly the one above, in one respect each.
NEIGHBOURS = {
    "recording": (Rendition("rec_2", "mp3"), VALIDATOR, 0),
    "format": (Rendition("rec_1", "wav"), VALIDATOR, 0),
    "rate": (Rendition("rec_1", "mp3", 8000), VALIDATOR, 0),
    "size": (RENDITION, Validator(1001, '"a"'), 0),
    "etag": (RENDITION, Validator(1000, '"b"'), 0),
    "no etag": (RENDITION, Validator(1000, None), 0),
    "empty etag": (RENDITION, Validator(1000, ""), 0),
    "etag None": (RENDITION, Validator(1000, "None"), 0),
    "index": (RENDITION, VALIDATOR, 1),
}


@pytest.fixture
def sealer() -> Sealer:
    """A sealer."""
    return Sealer(SECRET, SALT_A)


def sealed(sealer: Sealer, block: bytes = BLOCK) -> bytes:
    return b"".join(sealer.seal(IDENTITY, block))


def opened(sealer: Sealer, identity: bytes, whole: bytes) -> bytes | None:
    """Return what a sealed block opens as."""
    target = memoryview(bytearray(max(0, len(whole) - OVERHEAD)))
    return bytes(target) if sealer.open(identity, memoryview(whole), target) else None


def test_a_block_of_another_length_than_wanted_does_not_open(sealer: Sealer) -> None:
    """The reader knows how long it is."""
    whole = memoryview(sealed(sealer))
    for length in (0, len(BLOCK) - 1, len(BLOCK) + 1):
        assert not sealer.open(IDENTITY, whole, memoryview(bytearray(length)))


@pytest.mark.parametrize("size", [0, 1, 1000, 256 * 1024])
def test_a_sealed_block_opens_as_what_it_was(sealer: Sealer, size: int) -> None:
    """Sealing and opening give the same bytes, and `OVERHEAD` says what sealing adds."""
    block = os.urandom(size)
    whole = sealed(sealer, block)
    assert len(whole) == size + OVERHEAD
    assert opened(sealer, IDENTITY, whole) == block


def test_every_single_bit_counts(sealer: Sealer) -> None:
    """A flipped bit anywhere, in the header, the block or the tag, and the block does not open."""
    whole = sealed(sealer, BLOCK[:40])
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        assert opened(sealer, IDENTITY, bytes(damaged)) is None, bit


def test_every_length_but_the_right_one_is_refused(sealer: Sealer) -> None:
    """A block that was cut anywhere or grew does not open."""
    whole = sealed(sealer)
    for length in range(len(whole)):
        assert opened(sealer, IDENTITY, whole[:length]) is None, length
    assert opened(sealer, IDENTITY, whole + b"\0") is None
    assert opened(sealer, IDENTITY, bytes(len(whole))) is None


@pytest.mark.parametrize("neighbour", NEIGHBOURS.values(), ids=NEIGHBOURS.keys())
def test_a_block_is_no_other_block(sealer: Sealer, neighbour: tuple[Rendition, Validator, int]) -> None:
    """A block does not open in the place of another recording, format, rate, version or index."""
    other = identify(*neighbour)
    assert opened(sealer, other, sealed(sealer)) is None
    assert sealer.name(neighbour[0], other) != sealer.name(RENDITION, IDENTITY)


@pytest.mark.parametrize(
    "other", [Sealer(Secret("sk_test_other"), SALT_A), Sealer(SECRET, SALT_B)], ids=["key", "salt"]
)
def test_keys_are_of_one_api_key_and_one_directory(sealer: Sealer, other: Sealer) -> None:
    """Another API key or another directory's salt opens nothing and gives other names."""
    assert opened(other, IDENTITY, sealed(sealer)) is None
    assert other.name(RENDITION, IDENTITY) != sealer.name(RENDITION, IDENTITY)
    assert other.folder("rec_1") != sealer.folder("rec_1")


def test_the_same_block_is_sealed_differently_each_time(sealer: Sealer) -> None:
    """A nonce is never used twice."""
    assert len({sealed(sealer)[:28] for _ in range(1000)}) == 1000


def test_names_are_stable_and_begin_with_the_recording_s_folder(sealer: Sealer) -> None:
    """All blocks of a recording share a folder, and a new sealer gives the same names."""
    again = Sealer(SECRET, SALT_A)
    for rendition, validator, index in NEIGHBOURS.values():
        name = sealer.name(rendition, identify(rendition, validator, index))
        assert len(name) == 2 * NAME
        assert name.startswith(sealer.folder(rendition.recording_id))
        assert name == again.name(rendition, identify(rendition, validator, index))


@pytest.mark.parametrize("text", ["\udc80", "naïve", "a\0b", "', 'mp3', 0, 1000, 'x', 0)", "\N{BELL}"])
def test_any_text_makes_a_name(sealer: Sealer, text: str) -> None:
    """Ids and ETags from hell are told apart and break nothing."""
    odd = identify(Rendition(text, "mp3"), Validator(1, text), 0)
    assert opened(sealer, odd, b"".join(sealer.seal(odd, BLOCK))) == BLOCK
    assert odd != identify(Rendition(text, "mp3"), Validator(1, text + " "), 0)


def test_a_sealer_shows_no_key(sealer: Sealer) -> None:
    """Neither the API key nor what is derived from it is in the representation."""
    shown = repr(sealer) + str(sealer)
    assert "canary" not in shown
    assert sealer._names.hex() not in shown
    assert repr(sealer._names) not in shown
