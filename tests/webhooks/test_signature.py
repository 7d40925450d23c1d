"""What a delivery's signature is worth."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kallglotfs.demo import webhooks as sender
from kallglotfs.model import Secret
from kallglotfs.webhooks.signature import Verdict, judge

NOW = 1_711_454_400
SECRET = Secret("whsec_one")
OTHER = Secret("whsec_two")
BODY = b'{"id": "evt_1"}'


def signed(secret: Secret = SECRET, moment: int | str = NOW, body: bytes = BODY) -> str:
    """Return the digest that belongs to a delivery, computed without our code."""
    return hmac.new(secret.reveal().encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()


def verdict(header: str | None, body: bytes = BODY, *secrets: Secret, now: float = NOW) -> Verdict:
    return judge(header, body, secrets or (SECRET,), now)


def test_the_right_signature_is_good() -> None:
    """Also in capitals, among spaces, in any order, and beside schemes that are not known."""
    digest = signed()
    assert sender.signature("whsec_one", NOW, BODY) == f"t={NOW},v1={digest}"
    for header in (
        f"t={NOW},v1={digest}",
        f"t={NOW}, v1={digest}",
        f"v1={digest},t={NOW}",
        f"t={NOW},v1={digest.upper()}",
        f"t={NOW},v0={'0' * 64},v2=x,v1={digest},,",
        f"t={NOW},v1={'0' * 64},v1={digest}",
        f"t={NOW},v1=short,v1={digest}",
    ):
        assert verdict(header) is Verdict.GOOD, header


def test_either_of_two_secrets_is_good_while_they_change() -> None:
    """The sender may sign with the old one, the new one or both; we may know either or both."""
    old, new = signed(SECRET), signed(OTHER)
    for digests in (f"v1={old}", f"v1={new}", f"v1={new},v1={old}"):
        assert verdict(f"t={NOW},{digests}", BODY, SECRET, OTHER) is Verdict.GOOD
    assert verdict(f"t={NOW},v1={new},v1={old}", BODY, OTHER) is Verdict.GOOD
    assert verdict(f"t={NOW},v1={old}", BODY, OTHER) is Verdict.FORGED


@pytest.mark.parametrize(("seconds", "worth"), [(0, Verdict.GOOD), (300, Verdict.GOOD), (301, Verdict.STALE)])
def test_five_minutes_off_either_way_are_the_limit(seconds: int, worth: Verdict) -> None:
    """A delivery of too long ago may be a replay, and one of the future was not signed now."""
    assert verdict(f"t={NOW},v1={signed()}", now=NOW + seconds) is worth
    assert verdict(f"t={NOW},v1={signed()}", now=NOW - seconds) is worth


@pytest.mark.parametrize(
    ("header", "worth"),
    [
        (None, Verdict.MISSING),
        ("", Verdict.MISSING),
        ("nonsense", Verdict.MALFORMED),
        (f"t={NOW}", Verdict.MALFORMED),
        (f"v1={signed()}", Verdict.MALFORMED),
        (f"t=,v1={signed()}", Verdict.MALFORMED),
        (f"t=-{NOW},v1={signed()}", Verdict.MALFORMED),
        (f"t={NOW}.0,v1={signed()}", Verdict.MALFORMED),
        (f"t=+{NOW},v1={signed()}", Verdict.MALFORMED),
        (f"t=\u0661\u0667,v1={signed()}", Verdict.MALFORMED),
        (f"t={'9' * 5000},v1={signed()}", Verdict.MALFORMED),
        (f"t={NOW},t={NOW},v1={signed()}", Verdict.MALFORMED),
        (f"t={NOW},v1={signed()}00", Verdict.MALFORMED),
        (f"t={NOW},v1={'é' * 64}", Verdict.MALFORMED),
        (f"t={NOW},v0={signed()}", Verdict.MALFORMED),
        (f"T={NOW},V1={signed()}", Verdict.MALFORMED),
        (f"t={NOW},v1={'0' * 64}", Verdict.FORGED),
        (f"t={NOW},v1={signed(moment=NOW - 1)}", Verdict.FORGED),
        (f"t=0{NOW},v1={signed()}", Verdict.FORGED),
        (f"t={NOW},v1={signed(body=BODY + b' ')}", Verdict.FORGED),
        (f"t={NOW},v1={signed(OTHER)}", Verdict.FORGED),
        (f"t=0,v1={signed(moment=0)}", Verdict.STALE),
    ],
)
def test_anything_off_is_refused(header: str | None, worth: Verdict) -> None:
    """Missing, malformed, stale and forged are told apart."""
    assert verdict(header) is worth


def test_without_secrets_nothing_is_good() -> None:
    """No secret never means any signature."""
    assert judge(f"t={NOW},v1={signed()}", BODY, (), NOW) is Verdict.FORGED


@given(header=st.text(max_size=200), body=st.binary(max_size=50))
def test_no_header_is_good_by_chance(header: str, body: bytes) -> None:
    """Whatever is sent, it is refused without an exception."""
    assert judge(header, body, (SECRET, OTHER), NOW) is not Verdict.GOOD
    assert judge(f"t={NOW},v1={header}", body, (SECRET, OTHER), NOW) is not Verdict.GOOD


@given(body=st.binary(max_size=300), at=st.integers(0, 299), bit=st.integers(0, 7))
def test_every_bit_of_the_body_counts(body: bytes, at: int, bit: int) -> None:
    """The body is signed as it was sent, byte by byte."""
    header = f"t={NOW},v1={signed(body=body)}"
    assert verdict(header, body) is Verdict.GOOD
    changed = bytearray(body or b"x")
    changed[at % len(changed)] ^= 1 << bit
    assert verdict(header, bytes(changed)) is Verdict.FORGED
