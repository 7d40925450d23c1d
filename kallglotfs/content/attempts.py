"""How long to wait for an extent before another is tried.

User: the block cache. An extent that falls silent is passed over, one that fails is replaced once if it was
another's: whoever joined it late is not to fail with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from kallglotfs.errors import RateLimited, ServiceFault, TimedOut, Unreachable
from kallglotfs.patience import Stalled

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from concurrent.futures import Future

    from kallglotfs.content.extent import Extent
    from kallglotfs.content.sources import Source
    from kallglotfs.errors import KallglotError
    from kallglotfs.model import Rendition
    from kallglotfs.patience import Patience

T = TypeVar("T")


class Attempts:
    """The tries of one caller to get one thing.

    Args:
        patience: how the caller waits.
        source: tells whether another try costs budget.
        condition: guards the extents.
        known: tells, with the condition held, whether the version was found by another way meanwhile.
    """

    def __init__(
        self,
        patience: Patience,
        source: Source,
        condition: threading.Condition,
        known: Callable[[Rendition], bool],
    ) -> None:
        self._patience = patience
        self._source = source
        self._condition = condition
        self._known = known
        # Who has waited so long waits twice as long before the next: a sender that converts first is not
        # asked every two seconds.
        self._times = 1
        self._first: KallglotError | None = None

    def wait(self, extent: Extent, future: Future[T], *, joined: bool) -> T | None:
        """Wait for something of an extent.

        Args:
            extent: which.
            future: what is waited for.
            joined: whether the extent was under way before the caller came.

        Returns:
            What came, None where the caller is to try another extent.

        Raises:
            KallglotError: as the source says; TimedOut, Interrupted as `patience` says.
        """
        try:
            return self._patience.wait(future, extent.deadline, lambda: self._is_passed_over(extent))
        except Stalled:
            self._times *= 2
        except (TimedOut, ServiceFault, Unreachable) as error:
            self._abandon(extent, future)
            if self._first is not None:
                raise self._first from None
            if not (joined and self._is_anothers(error, extent, future)):
                raise
            self._first = error.with_traceback(None)
        return None

    def _is_passed_over(self, extent: Extent) -> bool:
        """Tell whether to stop waiting for an extent: it is silent, or another was faster."""
        if extent.contact.done():
            return extent.stalled(self._times)
        with self._condition:
            return extent.stalled(self._times) or (extent.finding and self._known(extent.rendition))

    def _is_anothers(self, error: KallglotError, extent: Extent, future: Future[T]) -> bool:
        """Tell whether it is the fetch that failed, not our patience, and another one costs no budget."""
        spent = isinstance(error, RateLimited) or self._source.is_metered(extent.rendition)
        return future.done() and not spent

    def _abandon(self, extent: Extent, future: Future[T]) -> None:
        """Let later readers start afresh instead of joining a fetch that is stuck."""
        with self._condition:
            if not future.done():
                extent.cancel()
