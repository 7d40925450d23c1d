"""What one answer of the API says about the rate limit. Pure.

Be liberal: services send all of these headers, some or none, the reset as a Unix time or as seconds to go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kallglotfs.remote.retry import parse_date, parse_retry_after

if TYPE_CHECKING:
    from collections.abc import Mapping

#: A reset or a Retry-After further off than this (seconds) is nonsense: the known windows last a minute.
LONGEST_WINDOW = 3600.0
#: The same for a date where no Date header tells how far the sender's clock is from ours.
LONGEST_GUESS = 120.0


@dataclass(frozen=True, slots=True)
class Quota:
    """The rate limit's headers of one answer; None for what they do not tell.

    Attributes:
        limit: requests per window.
        remaining: requests left in this window.
        reset: the moment of the next window on the sender's clock, which also names this one.
        left: seconds until then, in whole seconds and so up to one too few.
        dated: whether `left` is by the sender's own clock. Else it is by ours, and as wrong as that.
        pause: seconds that `Retry-After` asks for, zero for a moment that is past.
        credible: whether somebody can mean that.
    """

    limit: float | None = None
    remaining: float | None = None
    reset: float | None = None
    left: float | None = None
    dated: bool = True
    pause: float | None = None
    credible: bool = True


def quota_of(headers: Mapping[str, str], wall: float) -> Quota:
    """Return what the headers of an answer say.

    Args:
        headers: with names in any case.
        wall: our idea of now, seconds since the epoch, for senders that do not tell theirs.
    """
    date = parse_date(headers.get("Date"))
    theirs = wall if date is None else date
    limit = _number(headers.get("X-RateLimit-Limit"))
    remaining = _number(headers.get("X-RateLimit-Remaining"))
    reset = _number(headers.get("X-RateLimit-Reset"))
    dated = date is not None
    left = None
    if reset is not None and 0 <= reset <= LONGEST_WINDOW:
        left, reset, dated = reset, None, True
    elif reset is not None:
        left = reset - theirs
    text = headers.get("Retry-After")
    pause = parse_retry_after(text, theirs)
    by_guess = date is None and pause is not None and not (text or "").strip()[:1].isdigit()
    return Quota(
        limit=limit if limit is not None and limit >= 1 else None,
        remaining=None if remaining is None else max(0.0, remaining),
        reset=reset,
        left=left,
        dated=dated,
        pause=pause,
        credible=pause is None or pause <= (LONGEST_GUESS if by_guess else LONGEST_WINDOW),
    )


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text else None
    except ValueError:
        return None
    return number if number is None or abs(number) < 1e12 else None  # noqa: PLR2004 - beyond any time
