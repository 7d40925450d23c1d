"""Trying again, with pauses that grow and differ, until the time is over."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeVar

from kallglotfs.backoff import Backoff
from kallglotfs.errors import RateLimited, ServiceFault, TimedOut, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from kallglotfs.clock import Clock, Deadline

T = TypeVar("T")


def with_retries(attempt: Callable[[], T], clock: Clock, deadline: Deadline) -> T:
    """Return `attempt()`, tried again while the service fails or cannot be reached.

    Raises:
        KallglotError: the last try's, or any that another try cannot mend. A last try that the time does not
            suffice for is not told: why it had to be made is.
    """
    backoff = Backoff(clock, deadline)
    while True:
        try:
            result = attempt()
        except (ServiceFault, Unreachable) as error:
            backoff.wait(error)
        except RateLimited:
            raise
        except TimedOut as error:
            raise deadline.reason(error) from None
        else:
            deadline.trouble = None
            return result


def parse_retry_after(header: str | None, wall: float) -> float | None:
    """Return the seconds a `Retry-After` header asks for (RFC 9110, 10.2.3).

    Args:
        header: seconds or an HTTP date.
        wall: the sender's idea of now, seconds since the epoch.

    Returns:
        Seconds, zero for a moment that is past; None for a header that is missing or makes no sense.
    """
    text = (header or "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - wall
        except (ValueError, OverflowError):
            return None
        return max(0.0, seconds)
    return seconds if 0 <= seconds < float("inf") else None


def parse_date(header: str | None) -> float | None:
    """Return an HTTP date as seconds since the epoch, None when missing or malformed."""
    try:
        return parsedate_to_datetime(header).timestamp() if header else None
    except (ValueError, OverflowError):
        return None
