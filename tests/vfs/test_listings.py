"""Open directories, read the ways the kernel and its users read them."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

import pytest

from kallglotfs.errors import BadHandle, TimedOut
from kallglotfs.model import Entry, Kind
from kallglotfs.vfs.listings import Listing, Listings

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNT = 100
NAMES = [f"name{number:03}" for number in range(COUNT)]


class Folder:
    """A directory whose stream counts how often it is begun and how far it is taken."""

    def __init__(self, names: list[str] = NAMES) -> None:
        self.names = names
        self.begun = 0
        self.taken = 0
        self.breaks_at: int | None = None

    def stream(self) -> Iterator[Entry]:
        self.begun += 1
        for number, name in enumerate(self.names):
            if number == self.breaks_at:
                self.breaks_at = None
                raise TimedOut("no answer")
            self.taken += 1
            yield Entry(name, Kind.AUDIO)


def fill(listing: Listing, offset: int, room: int) -> tuple[list[str], int]:
    """Read as libfuse does: the entry that finds no room is refused, and asked for again later."""
    names = []
    for entry, behind in listing.read(offset):
        if len(names) == room:
            break
        names.append(entry.name)
        offset = behind
    return names, offset


def whole(listing: Listing, room: int) -> list[str]:
    """Read to the end in answers of `room` entries."""
    found, offset = [], 0
    while True:
        names, offset = fill(listing, offset, room)
        if not names:
            return found
        found += names


@pytest.mark.parametrize("room", [1, 2, 3, 7, 50, 99, 100, 101, 1000])
def test_each_entry_comes_once_however_small_the_answers(room: int) -> None:
    """And the stream is gone through once."""
    folder = Folder()
    assert whole(Listing(folder.stream), room) == NAMES
    assert (folder.begun, folder.taken) == (1, COUNT)


def test_an_empty_directory_is_empty_twice() -> None:
    """At the beginning and at the end of nothing."""
    listing = Listing(Folder([]).stream)
    assert fill(listing, 0, 10) == ([], 0)
    assert fill(listing, 0, 10) == ([], 0)


def test_the_same_answer_can_be_asked_for_again() -> None:
    """An entry refused twice comes a third time, with the stream where it was."""
    folder = Folder()
    listing = Listing(folder.stream)
    for _ in range(3):
        assert fill(listing, 0, 0) == ([], 0)
    assert fill(listing, 0, 1) == (["name000"], 1)
    assert folder.begun == 1


def test_rewinding_begins_anew() -> None:
    """`rewinddir` shows what is there by now."""
    folder = Folder()
    listing = Listing(folder.stream)
    fill(listing, 0, 30)
    folder.names = ["new", *NAMES]
    assert whole(listing, 9) == ["new", *NAMES]
    assert folder.begun == 2


def test_any_place_can_be_sought() -> None:
    """`seekdir` to any offset that was handed out, and behind the end."""
    listing = Listing(Folder().stream)
    chosen = random.Random(1)
    for _ in range(300):
        offset, room = chosen.randrange(COUNT + 20), chosen.randrange(1, 9)
        names, behind = fill(listing, offset, room)
        assert names == NAMES[offset : offset + room]
        assert behind == max(offset, min(offset + room, COUNT)) if names else behind == offset


def test_a_stream_that_broke_is_not_taken_for_the_end() -> None:
    """The next answer goes on where the last good one ended."""
    folder = Folder()
    folder.breaks_at = 40
    listing = Listing(folder.stream)
    names, offset = fill(listing, 0, 30)
    with pytest.raises(TimedOut):
        fill(listing, offset, 30)
    rest = []
    while found := fill(listing, offset, 30)[0]:
        rest += found
        offset += len(found)
    assert names + rest == NAMES


def test_a_stream_that_breaks_while_it_is_passed_over_is_begun_again() -> None:
    """A seek that fails leaves no half of a place behind."""
    folder = Folder()
    listing = Listing(folder.stream)
    fill(listing, 0, 50)
    folder.breaks_at = 5
    with pytest.raises(TimedOut):
        fill(listing, 10, 1)
    assert fill(listing, 10, 1) == (["name010"], 11)


def test_threads_that_share_an_open_directory_each_get_what_they_asked_for() -> None:
    """Forty at once, each at places of its own."""
    listing = Listing(Folder().stream)
    wrong: list[object] = []

    def look(seed: int) -> None:
        chosen = random.Random(seed)
        for _ in range(40):
            offset = chosen.randrange(COUNT)
            names, _ = fill(listing, offset, 5)
            if names != NAMES[offset : offset + 5]:
                wrong.append((offset, names))

    threads = [threading.Thread(target=look, args=(seed,)) for seed in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_directory_that_is_closed_is_not_read() -> None:
    """Closing twice is harmless."""
    listings = Listings()
    number = listings.add(Folder().stream)
    assert fill(listings.get(number), 0, 1) == (["name000"], 1)
    listings.remove(number)
    listings.remove(number)
    with pytest.raises(BadHandle):
        listings.get(number)
    assert listings.add(Folder().stream) != number
