"""When a signed URL runs out. Pure but for the clock.

The service says so in the URL (`expires=`, a Unix time by its own clock) or, as storages do, in
`X-Amz-Expires` and its kin (seconds from `X-Amz-Date`); else it is one hour from receipt. What counts is the
difference to the service's `Date`, so that a wrong clock on either side does no harm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from kallglotfs.remote.retry import parse_date

if TYPE_CHECKING:
    from kallglotfs.clock import Clock
    from kallglotfs.model import Secret

#: Seconds a signed URL is valid when it does not say (the API's reference).
LIFETIME = 3600.0
#: Longest lifetime believed, seconds: signed storage URLs end after a week at the most.
LONGEST = 7 * 86400.0
#: Seconds before the end at which a lease is renewed: a request must still arrive in time.
MARGIN = 30.0
#: For short lifetimes the margin is this part of them.
MARGIN_PART = 0.1


def lease_end(url: Secret, date: str | None, clock: Clock) -> float:
    """Return when to stop using a signed URL, on `clock.now()`.

    Args:
        url: just received.
        date: the `Date` header that came with it.
        clock: what tells the time.
    """
    their_now = parse_date(date)
    lifetime = _lifetime(url, clock.wall() if their_now is None else their_now)
    return clock.now() + lifetime - min(MARGIN, lifetime * MARGIN_PART)


def _lifetime(url: Secret, now: float) -> float:
    try:
        query = {name.lower(): value for name, value in parse_qsl(urlsplit(url.reveal()).query)}
    except ValueError:
        return LIFETIME
    for name in ("x-amz-expires", "x-goog-expires"):
        seconds = _seconds(query.get(name))
        if seconds is not None and 0 < seconds <= LONGEST:
            return seconds
    expires = _seconds(query.get("expires"))
    if expires is None:
        return LIFETIME
    # A time that is past, or years off, says more of a clock than of the URL: use it until it is refused.
    return expires - now if 0 < expires - now <= LONGEST else LIFETIME


def _seconds(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
