"""Signed storage URLs: whoever has one may fetch that path until it expires.

Threading: replacing the secret is one assignment; checks in progress use the old or the new one.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from urllib.parse import urlencode

_NONCE = 16
_ENDS = 12


class Refused(Exception):
    """The storage does not accept this URL; the message says why."""


class Signer:
    """Signs paths and checks signatures, with a secret of its own that dies with the process.

    The token is `nonce, end in ms, HMAC-SHA256`: the end is in it, so that URLs without `expires=` end too,
    and every URL is unlike every other.
    """

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)

    def sign(self, path: str, lifetime: float, *, shown_skew: float = 0.0, show_expires: bool = True) -> str:
        """Return `path` with a query that opens it.

        Args:
            path: the path on the storage.
            lifetime: seconds from now.
            shown_skew: seconds to add to the `expires=` that is shown, for a service whose clock is off.
            show_expires: False leaves `expires=` out.
        """
        ends = time.time() + lifetime
        shown = str(int(ends + shown_skew)) if show_expires else None
        nonce = secrets.token_hex(_NONCE // 2)
        millis = f"{max(0, int(ends * 1000)):0{_ENDS}x}"
        query = {"signature": nonce + millis + self._mac(path, nonce, millis, shown)}
        if shown is not None:
            query["expires"] = shown
        return f"{path}?{urlencode(query)}"

    def check(self, path: str, signature: str, expires: str | None) -> None:
        """Accept a URL.

        Args:
            path: the path that was asked for.
            signature: `signature=` of the query.
            expires: `expires=` of the query, if any.

        Raises:
            Refused: forged, expired or revoked.
        """
        nonce, millis = signature[:_NONCE], signature[_NONCE : _NONCE + _ENDS]
        wanted = self._mac(path, nonce, millis, expires)
        if not hmac.compare_digest(wanted.encode(), signature[_NONCE + _ENDS :].encode()):
            raise Refused("The request signature we calculated does not match the signature you provided.")
        if int(millis, 16) <= time.time() * 1000:
            raise Refused("Request has expired.")

    def revoke(self) -> None:
        """Refuse every URL signed so far."""
        self._secret = secrets.token_bytes(32)

    def _mac(self, path: str, nonce: str, millis: str, expires: str | None) -> str:
        text = "\n".join((path, nonce, millis, expires or ""))
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()
