"""A key that is refused, replaced, and read while it is being replaced."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from fakes import FakeClock
from kallglotfs.errors import CredentialError, KeyRefused
from kallglotfs.model import Secret
from kallglotfs.remote.keys import ApiKey


class Place:
    """Where the key is kept."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.content = "sk_old"
        self.looks = 0
        self.key = ApiKey(self.read, self.clock)

    def read(self) -> Secret:
        self.looks += 1
        if not self.content:
            raise CredentialError("is empty")
        return Secret(self.content)

    def refuse(self) -> None:
        with pytest.raises(KeyRefused):
            self.key.refused(Secret("sk_old"))


def test_a_refused_key_is_offered_once_in_half_a_minute() -> None:
    """By one thread for all."""
    place = Place()
    place.refuse()
    offered = 0
    for _ in range(120):
        try:
            place.key.check()
            place.key.current()
        except KeyRefused:
            pass
        else:
            offered += 1
        place.clock.time += 1
    assert 3 <= offered <= 4
    assert place.looks <= 122


def test_a_key_that_is_accepted_again_is_used_again() -> None:
    """An account that was put in order."""
    place = Place()
    place.refuse()
    place.clock.time += 31
    key = place.key.current()
    with pytest.raises(KeyRefused):
        place.key.current()
    place.key.accepted(key)
    assert place.key.current() == key


def test_an_answer_that_was_under_way_when_the_key_was_refused_proves_nothing() -> None:
    """It says what was before."""
    place = Place()
    place.refuse()
    place.key.accepted(Secret("sk_old"))
    with pytest.raises(KeyRefused):
        place.key.check()


def test_a_new_key_is_found_at_once() -> None:
    """When the old one is refused, or within a second after."""
    place = Place()
    place.content = "sk_new"
    place.key.refused(Secret("sk_old"))
    assert place.key.current() == Secret("sk_new")
    # The others, who were refused at the same time.
    place.key.refused(Secret("sk_old"))
    assert place.key.current() == Secret("sk_new")
    assert place.looks == 2


def test_a_source_that_cannot_be_read_for_a_moment_is_looked_at_again() -> None:
    """While a key is being replaced."""
    place = Place()
    place.content = ""
    assert place.key.current() == Secret("sk_old")
    place.refuse()
    place.clock.time += 1
    with pytest.raises(KeyRefused):
        place.key.check()
    place.content = "sk_new"
    with pytest.raises(KeyRefused):
        place.key.check()
    place.clock.time += 1
    assert place.key.current() == Secret("sk_new")


def test_who_read_the_old_key_late_does_not_bring_it_back() -> None:
    """A thread that was reading while another found the new one."""
    place = Place()
    place.content = "sk_new"
    place.key.refused(Secret("sk_old"))
    place.content = "sk_old"
    place.key._look()
    assert place.key.current() == Secret("sk_new")


def test_who_comes_while_a_rotated_key_is_being_found_waits_for_it() -> None:
    """The key of whoever was refused first is read outside the lock; nobody is refused meanwhile."""
    place = Place()
    reading, others = threading.Event(), threading.Event()

    def slow() -> Secret:
        reading.set()
        assert others.wait(10)
        return Secret("sk_new")

    place.key._read = slow
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(place.key.refused, Secret("sk_old"))
        assert reading.wait(10)
        asked = [pool.submit(place.key.current) for _ in range(8)]
        wait(asked, timeout=0.1)
        others.set()
        first.result()
        assert {each.result().reveal() for each in asked} == {"sk_new"}
