"""There is advice for whatever goes wrong."""

from __future__ import annotations

import inspect

import pytest

from kallglotfs import errors
from kallglotfs.advice import ADVICE, advice, notices

KINDS = [
    name
    for name, each in vars(errors).items()
    if inspect.isclass(each) and issubclass(each, errors.KallglotError)
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_failure_has_a_line_of_advice(kind: str) -> None:
    """Its own or its parent's."""
    assert 10 < len(advice(kind)) <= 110
    assert advice(kind).isprintable()


def test_the_table_names_only_what_there_is() -> None:
    """And a kind of another version has that of a fault."""
    assert set(ADVICE) <= set(KINDS)
    assert advice("NothingWeKnow") == ADVICE["KallglotError"]
    assert advice("getattr") == ADVICE["KallglotError"]


def test_a_healthy_state_asks_for_nothing() -> None:
    """Nor does one that lacks a part."""
    assert notices({}) == []
    assert notices({"budget": {"remaining": 0, "waiting": 0}, "disk": {}, "webhooks": {}}) == []
