"""Names: the grammar, and nothing outside it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kallglotfs.model import FORMATS, RATES, Rendition
from kallglotfs.vfs.naming import format_name, inode_of, parse_name

IDS = st.from_regex(r"rec_[A-Za-z0-9]{1,64}", fullmatch=True)


@given(IDS, st.sampled_from(FORMATS), st.sampled_from((0, *RATES)))
def test_a_name_and_its_rendition_are_one(recording_id: str, name: str, rate: int) -> None:
    """Formatting and parsing are inverse."""
    rendition = Rendition(recording_id, name, rate)
    assert parse_name(format_name(rendition)) == rendition


@given(st.text())
def test_whatever_parses_formats_to_itself(name: str) -> None:
    """No two names for one file."""
    rendition = parse_name(name)
    assert rendition is None or format_name(rendition) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "rec_.mp3",
        "rec_1",
        "rec_1.",
        "rec_1.MP3",
        "REC_1.mp3",
        "rec_1@.mp3",
        "rec_1@44099.mp3",
        "rec_1@08000.mp3",
        "rec_1@0.mp3",
        "rec_1@16000@8000.mp3",
        "rec_1.mp3.part",
        ".rec_1.mp3.x",
        "rec_1.mp3\n",
        "rec_1\x00.mp3",
        "rec_٣.mp3",
        "rec_1/../x.mp3",
        "..",
        "rec_" + "a" * 300 + ".mp3",
        "sess_1.mp3",
        "rec_1‮3pm.mp3",
    ],
)
def test_a_name_outside_the_grammar_is_none(name: str) -> None:
    """It costs no request."""
    assert parse_name(name) is None


def test_inode_numbers_are_stable_and_differ() -> None:
    """The same at every mount: a second rsync relies on it."""
    assert inode_of("/recordings/rec_1.mp3") == inode_of("/recordings/rec_1.mp3")
    numbers = {inode_of(f"/recordings/rec_{index}.mp3") for index in range(10_000)}
    assert len(numbers) == 10_000
    assert all(1 < number < 2**63 for number in numbers)
