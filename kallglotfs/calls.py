"""The calls from the kernel that are under way: how many, and since when.

Told by `operations.py`, asked by `self_check.py`.

Threading: without a lock, so that nothing here can be what a call hangs in. A thread touches its own entry
alone, and each step is one that the interpreter does in one go.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Calls:
    """Knows the calls under way.

    Args:
        now: a clock in seconds. Not one that goes on while the machine sleeps: no call does then.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._began: dict[int, float] = {}

    @contextlib.contextmanager
    def under_way(self) -> Iterator[None]:
        """Count a call, on its own thread, until the block ends."""
        thread = threading.get_ident()
        self._began[thread] = self._now()
        try:
            yield
        finally:
            del self._began[thread]

    def count(self) -> int:
        """Return how many are under way."""
        return len(self._began)

    def oldest(self) -> float:
        """Return since how many seconds the oldest one is under way; 0.0 for none."""
        began = list(self._began.values())
        return self._now() - min(began) if began else 0.0
