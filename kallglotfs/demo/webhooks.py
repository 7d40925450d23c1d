"""Signed webhook deliveries, sent on command."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from datetime import UTC, datetime
from typing import Any

import requests

_API_VERSION = "2026-03-01"


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """Return the value of `Kallglot-Signature`.

    Args:
        secret: the endpoint's signing secret.
        timestamp: Unix time of the delivery.
        body: the raw body.
    """
    mac = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256)
    return f"t={timestamp},v1={mac.hexdigest()}"


def send(
    url: str,
    event_type: str,
    subject: dict[str, Any],
    secret: str,
    *,
    timestamp: int | None = None,
    event_id: str | None = None,
) -> int:
    """Deliver one event and return the status that was answered.

    Args:
        url: where to.
        event_type: such as `recording.ready`.
        subject: the object the event is about (`data`).
        secret: the endpoint's signing secret.
        timestamp: Unix time to sign; None for now.
        event_id: None for a new one; the same twice is a repeated delivery.

    Raises:
        requests.RequestException: nobody answered.
    """
    moment = int(time.time()) if timestamp is None else timestamp
    body = json.dumps(
        {
            "id": event_id or f"evt_{secrets.token_hex(12)}",
            "type": event_type,
            "api_version": _API_VERSION,
            "created_at": datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z"),
            "data": subject,
        }
    ).encode()
    headers = {"Content-Type": "application/json", "Kallglot-Signature": signature(secret, moment, body)}
    return requests.post(url, data=body, headers=headers, timeout=10, allow_redirects=False).status_code
