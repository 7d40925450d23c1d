"""Signed URLs as nginx's `secure_link` checks them. Pure."""

from __future__ import annotations

import base64
import hashlib


def sign(base: str, path: str, expires: int, secret: str) -> str:
    """Return a URL that the storage accepts until a time.

    Args:
        base: scheme, host and port, no slash at the end.
        path: as the storage sees it, starting with a slash.
        expires: Unix time.
        secret: what the storage knows too.
    """
    digest = hashlib.md5(f"{expires}{path} {secret}".encode(), usedforsecurity=False).digest()
    signature = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return f"{base}{path}?signature={signature}&expires={expires}"
