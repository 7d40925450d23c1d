"""How urgent a piece of work is: whose API requests go first when there are not enough for all."""

from __future__ import annotations

import enum
from typing import Protocol


class Urgency(enum.IntEnum):
    """The classes in which the budget is served, the least urgent first."""

    #: Nobody waits, and nobody will soon: filling up lists, `kallglotfs add`.
    BACKGROUND = 0
    #: Nobody waits yet: what a walk or a reader is expected to want.
    PREFETCH = 1
    #: A program that opens one recording after the other.
    BULK = 2
    #: A person's open or stat.
    INTERACTIVE = 3


class Caller(Protocol):
    """Who waits for a piece of work."""

    def claim(self) -> Urgency:
        """Return how urgent a request on this caller's behalf is, and count it as one more of theirs."""


class Bulk:
    """A caller who is known to be in bulk."""

    def claim(self) -> Urgency:
        """Return so."""
        return Urgency.BULK
