"""When a lease ends: what the URL says, corrected by the service's own clock."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from fakes import FakeClock
from kallglotfs.model import Secret
from kallglotfs.remote.expiry import LIFETIME, MARGIN, lease_end


def lifetime(query: str, skew: float = 0.0, *, date: bool = True) -> float:
    """Return the seconds a lease lasts when the service's clock is `skew` seconds ahead."""
    clock = FakeClock()
    header = formatdate(clock.wall() + skew, usegmt=True) if date else None
    return lease_end(Secret(f"https://s/x?{query}"), header, clock) - clock.now()


def at(seconds: float) -> str:
    """Return the Unix time in so many seconds."""
    return str(int(FakeClock().wall() + seconds))


def test_expires_is_a_unix_time() -> None:
    """The contract's form."""
    assert lifetime(f"signature=x&expires={at(600)}") == 600 - MARGIN


@pytest.mark.parametrize("skew", [-86400, -3600, 3600, 86400])
def test_a_wrong_clock_on_either_side_does_no_harm(skew: float) -> None:
    """Only the difference to the service's Date counts."""
    assert lifetime(f"expires={at(600 + skew)}", skew) == 600 - MARGIN


@pytest.mark.parametrize(
    "query", ["", "expires=", "expires=soon", "expires=1", "expires=9e99", "x=%ff;;&&=="]
)
def test_without_a_usable_time_it_is_an_hour_from_receipt(query: str) -> None:
    """As the reference says."""
    assert lifetime(query) == LIFETIME - MARGIN


def test_storages_own_way_of_saying_it_is_understood() -> None:
    """Seconds from the signing."""
    assert lifetime("X-Amz-Date=20260301T000000Z&X-Amz-Expires=900&X-Amz-Signature=x") == 900 - MARGIN


def test_a_short_life_has_a_short_margin() -> None:
    """Two seconds are not over before they begin."""
    assert lifetime(f"expires={at(2)}") == pytest.approx(1.8)


def test_without_a_date_this_machines_clock_has_to_do() -> None:
    """Some proxies drop Date."""
    assert lifetime(f"expires={at(600)}", date=False) == 600 - MARGIN
