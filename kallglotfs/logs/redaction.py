"""The last guard against secrets and forged lines in what we write. Pure.

Nothing in this package formats a key or a signed URL. What looks like one is blanked all the same, since
libraries' texts pass through here as well. And whoever names a file or sends an answer gets no say in what
the log looks like: control characters, line ends and marks that turn the direction of writing are shown as
escapes.
"""

from __future__ import annotations

import re

# As such or with percent signs, as a URL inside another URL has them.
_EQUALS, _BETWEEN = r"(?:=|%3d)", r"(?:[?&;]|%3f|%26|%3b)"
_SECRETS = re.compile(
    rf"(?i)(\bsk_(?:live|test)_|\b(?:bearer|basic)(?:\s+|%20|\+)|x-api-key\\*['\"]?\s*[:=,]\s*\\*['\"]?"
    rf"|{_BETWEEN}[\w-]*?(?:sig|signature|token|credential|expires|policy|key)[\w-]*?{_EQUALS})"
    r"[^\s&'\"<>)\]}]+"
)


def escaped(text: str) -> str:
    """Return `text` with everything escaped that does not show as itself: control characters, bidi marks."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def redact(text: str) -> str:
    """Return `text` with keys and signatures blanked."""
    return _SECRETS.sub(r"\1****", text)


def lines_of(text: str) -> list[str]:
    """Return the lines of a traceback, each of which shows as one and holds no secret."""
    # Not `splitlines`, which also splits at characters that no log is split at.
    return [redact(escaped(line)) for line in text.split("\n")]
