"""The signature of a delivery. Pure.

`Kallglot-Signature: t=<unix time>,v1=<hex>`, where `v1` is the HMAC-SHA256 of `<t>.<raw body>` under the
endpoint's secret. While a secret is changed, a delivery may carry a `v1` of each, and we may know both.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kallglotfs.model import Secret

#: The header.
HEADER = "Kallglot-Signature"
#: Seconds that the time of a signature may differ from ours, either way (the service's rule).
WINDOW = 300.0

_TIME = re.compile(r"[0-9]{1,12}")
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")


class Verdict(enum.StrEnum):
    """What a signature is worth; all but the first are refusals."""

    GOOD = "good"
    MISSING = "missing"
    MALFORMED = "malformed"
    STALE = "stale"
    FORGED = "forged"


def judge(header: str | None, body: bytes, secrets: Iterable[Secret], now: float) -> Verdict:
    """Tell what a delivery's signature is worth.

    Args:
        header: the value of `HEADER`; None where it was not sent.
        body: as it was received, byte by byte.
        secrets: that may have signed it.
        now: seconds since the epoch.
    """
    if not header:
        return Verdict.MISSING
    moment, digests = _parts(header)
    if moment is None or not digests:
        return Verdict.MALFORMED
    if abs(now - int(moment)) > WINDOW:
        return Verdict.STALE
    good = False
    for secret in secrets:
        # The time as it was written: that is what was signed.
        mac = hmac.new(secret.reveal().encode(), f"{moment}.".encode() + body, hashlib.sha256).digest()
        for digest in digests:
            good |= hmac.compare_digest(mac, digest)
    return Verdict.GOOD if good else Verdict.FORGED


def _parts(header: str) -> tuple[str | None, list[bytes]]:
    """Return the time and the digests; no time where it is not told exactly once."""
    moments: list[str] = []
    digests: list[bytes] = []
    for part in header.split(","):
        scheme, _, value = part.strip(" \t").partition("=")
        if scheme == "t":
            moments.append(value)
        elif scheme == "v1" and _DIGEST.fullmatch(value):
            digests.append(bytes.fromhex(value))
    if len(moments) != 1 or _TIME.fullmatch(moments[0]) is None:
        return None, digests
    return moments[0], digests
