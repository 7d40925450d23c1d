"""Questions to the service: each is asked once at a time, and a refusal answers for a moment.

Users: `sessions.py` and `session_documents.py`.

Threading: called on many threads. The lock is a leaf.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

from cachetools import TTLCache

from kallglotfs.errors import KallglotError
from kallglotfs.single_flight import SingleFlight

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from kallglotfs.clock import Clock, Deadline
    from kallglotfs.patience import Executor, Patience

T = TypeVar("T")

#: What the log counts as one kind of event: while the service is away, each session of thousands is one.
STALE = {"kind": "shown as it was"}

#: Seconds a refusal answers for its question. Where something is known to show meanwhile, the service is let
#: alone for longer: whoever looks would wait for all of `timeout` each time.
REFUSED_FOR, SHOWN_FOR = 2.0, 15.0
#: Refusals remembered.
MOST = 10_000


class Asking:
    """Asks the service.

    Args:
        executor: runs the asking, so that its caller can give up.
        clock: what tells the time.
    """

    def __init__(self, executor: Executor, clock: Clock) -> None:
        self._executor = executor
        self._lock = threading.Lock()
        self._refused: TTLCache[Hashable, KallglotError] = TTLCache(MOST, REFUSED_FOR, timer=clock.now)
        self._failed: TTLCache[Hashable, None] = TTLCache(MOST, SHOWN_FOR, timer=clock.now)
        self._flights: SingleFlight[object] = SingleFlight()

    def ask(self, key: Hashable, work: Callable[[Deadline], T], deadline: Deadline, patience: Patience) -> T:
        """Return what `work` returns, on another thread.

        Args:
            key: what is asked for; one key has one kind of answer.
            work: asks.
            deadline: of the asking.
            patience: how to wait.

        Raises:
            KallglotError: as `work` says, or has said a moment ago.
        """
        with self._lock:
            refused = self._refused.get(key)
        if refused is not None:
            raise refused.with_traceback(None)

        def lead() -> object:
            try:
                return work(deadline)
            except KallglotError as error:
                with self._lock:
                    self._refused[key] = error
                    self._failed[key] = None
                raise

        future = self._executor.submit(lambda: self._flights.run(key, lead, deadline))
        return patience.wait(future, deadline)  # type: ignore[return-value] # one key, one kind of answer

    def ask_here(self, key: Hashable, work: Callable[[Deadline], object], deadline: Deadline) -> None:
        """Run `work` on this thread, whatever was refused before.

        Raises:
            KallglotError: as `work` says.
        """
        self._flights.run(key, lambda: work(deadline), deadline)

    def has_failed(self, key: Hashable) -> bool:
        """Tell whether the service could not answer a moment ago."""
        with self._lock:
            return key in self._failed
