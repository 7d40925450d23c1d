"""What the service's answers mean for the set-up: key, rate limit, generation, clocks, storage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kallglotfs.doctor.finding import OWN_AUTHORITY, Finding, Level, failure, ok, skipped, warning
from kallglotfs.errors import (
    BadResponse,
    KallglotError,
    KeyRefused,
    NotFound,
    NotPermitted,
    TimedOut,
    Unreachable,
)
from kallglotfs.model import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable

    from kallglotfs.doctor.contact import Heard
    from kallglotfs.model import Recording
    from kallglotfs.remote.witness import Answer

KEY, LIMIT, GENERATION, CLOCK, STORAGE = "API key", "rate limit", "API generation", "clock", "storage"
#: Seconds that clocks may differ before anybody is told, and before webhooks are refused as too old (the
#: API's reference: five minutes).
TOLD, TOO_MUCH = 30.0, 300.0
_UNAUTHORIZED, _PAYMENT, _FORBIDDEN, _TOO_MANY = 401, 402, 403, 429
_SERVER_ERROR = 500
#: What a portal or a wrong address sends in the place of the API's JSON.
_PAGES = ("text/html", "text/plain", "application/xhtml+xml")


def key(heard: Heard, throttle_timeout: float) -> Finding:  # noqa: PLR0911 - one return per cause
    """Return whether the key is accepted.

    Args:
        heard: what the API said.
        throttle_timeout: seconds, the setting.
    """
    if not heard.answers:
        return _unanswered(heard.error)
    last = heard.answers[-1]
    said = str(heard.error) if heard.error is not None else f"the API answers {last.status}"
    if isinstance(heard.error, KeyRefused) or last.status == _UNAUTHORIZED:
        found = "the service refuses it (401): mistyped, expired or revoked"
        return failure(
            KEY, found, "make a new key in the Kallglot console and put it where the key source says"
        )
    if last.status == _TOO_MANY:
        return _throttled(last, throttle_timeout)
    if last.status == _PAYMENT:
        return failure(
            KEY,
            f"accepted, but the account is out of credits (402): {said}",
            "top up the account's API credits",
        )
    if last.status == _FORBIDDEN:
        found = f"accepted, but it may not read recordings (403): {said}"
        return failure(
            KEY, found, "give the key the scope recordings:read, and see whether the account is suspended"
        )
    if last.status >= _SERVER_ERROR:
        return failure(
            KEY, f"the service is in trouble itself: {said}", "wait, and try again: kallglotfs doctor"
        )
    if last.kind in _PAGES or isinstance(heard.error, BadResponse):
        found = f"what answers is not the Kallglot API: {said} ({last.kind or 'no type'})"
        return failure(
            KEY, found, "check api_url, with its /v1, and whether a login page stands before the network"
        )
    if isinstance(heard.error, TimedOut):
        return failure(KEY, f"not answered in time: {heard.error}", "try again: kallglotfs doctor")
    return ok(KEY, "accepted")


def limit(heard: Heard) -> Finding:
    """Return what is left of the service's rate limit."""
    last = heard.answers[-1]
    if not last.limit:
        return ok(LIMIT, "the service tells none")
    found = f"{last.left or '?'} of {last.limit} requests left in this window"
    if last.left == "0":
        return warning(LIMIT, found, "wait for the next window, and see who else uses this key or account")
    return ok(LIMIT, found)


def generation(heard: Heard) -> Finding:
    """Return which generation of the API answers."""
    if heard.recording is None:
        return skipped(GENERATION, "no recording to look at")
    match heard.recording.delivery:
        case Delivery.SIGNED:
            return ok(GENERATION, "1: signed URLs, every format and rate")
        case Delivery.STREAMED:
            return ok(GENERATION, "2: MP3 only, and every fetch costs an API request")
    return ok(GENERATION, "the service does not tell")


def clock(heard: Heard, *, webhooks: bool) -> Finding:
    """Return how far this machine's clock is off.

    Args:
        heard: what the API said.
        webhooks: whether webhooks are received, which are refused when they seem old.
    """
    ahead = next((answer.ahead for answer in heard.answers if answer.ahead is not None), None)
    if ahead is None:
        return skipped(CLOCK, "the service did not tell its time")
    if abs(ahead) < TOLD:
        return ok(CLOCK, f"within {max(1, round(abs(ahead)))} s of the service's")
    found = (
        f"this machine's clock is {_span(abs(ahead))} {'behind' if ahead > 0 else 'ahead of'} the service's"
    )
    mend = "timedatectl set-ntp true   (and look: timedatectl)"
    if webhooks and abs(ahead) > TOO_MUCH:
        return failure(CLOCK, f"{found}: every webhook is refused", mend)
    return warning(CLOCK, f"{found}: certificates, retention and logs go by a wrong time", mend)


def storage(  # noqa: PLR0911 - one return per cause
    recording: Recording, fetch: Callable[[Recording], bool]
) -> Finding:
    """Fetch the first byte of a recording.

    Args:
        recording: as just looked up.
        fetch: asks; returns whether ranges are honoured, raises `KallglotError`.
    """
    try:
        ranged = fetch(recording)
    except NotFound as error:
        return Finding(STORAGE, Level.SKIPPED, f"{error}; name another one: --recording ID")
    except NotPermitted as error:
        mend = "see docs/security.md for where the storage may be"
        if "answers" in str(error):
            mend = "check for a proxy that changes URLs, and the clock: timedatectl"
        return failure(STORAGE, str(error), mend)
    except (Unreachable, TimedOut) as error:
        mend = "open the firewall for that host as well; the API and the storage are two"
        return failure(STORAGE, str(error), mend)
    except BadResponse as error:
        if "TLS" in str(error):
            return failure(STORAGE, str(error), OWN_AUTHORITY)
        return failure(
            STORAGE, str(error), "see what stands between: a proxy (env | grep -i proxy), a portal"
        )
    except KallglotError as error:
        return failure(STORAGE, str(error), "try again: kallglotfs doctor")
    if ranged:
        return ok(STORAGE, "answers, with the range that was asked for")
    if recording.delivery is Delivery.STREAMED:
        return ok(STORAGE, "the API itself, without ranges: each recording is fetched whole, once")
    found = "answers with the whole file when asked for a part: every first read waits for all before it"
    return warning(STORAGE, found, "have the proxy or storage in between pass Range on (env | grep -i proxy)")


def _unanswered(error: KallglotError | None) -> Finding:
    if "TLS" in str(error):
        return failure(KEY, f"not asked: {error}", OWN_AUTHORITY)
    if "proxy" in str(error):
        return failure(KEY, f"not asked: {error}", "check the proxy's address: env | grep -i _proxy")
    return failure(KEY, f"not answered: {error}", "try again: kallglotfs doctor; then ask its support")


def _throttled(last: Answer, throttle_timeout: float) -> Finding:
    pause = last.pause
    wait = f" for {pause:.0f} s" if pause else ""
    found = f"the rate limit is used up (429){wait}: somebody else uses this key or account"
    mend = f"wait{wait}, and see who: another mount, a script; a key of another account has its own limit"
    if pause is not None and pause > throttle_timeout:
        found += f"; reads fail meanwhile, throttle_timeout is {throttle_timeout:g} s"
        return failure(KEY, found, mend)
    return warning(KEY, found, mend)


def _span(seconds: float) -> str:
    for name, unit in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * unit - unit / 60:
            return f"{seconds / unit:.1f}".removesuffix(".0") + f" {name}"
    return f"{seconds:.0f} seconds"
