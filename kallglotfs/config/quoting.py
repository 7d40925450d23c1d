"""How a user's own text appears in an error: on one line, short, and never a key.

Used by the other modules of `config` for every value they echo.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

#: The most characters of a value that an error repeats.
LIMIT = 60

# What the service's keys look like: pasted into the wrong place they must not come back in a message.
_KEY = re.compile(r"(sk_(?:live|test)_)[^\s,/]+", re.IGNORECASE)


def without_keys(text: str) -> str:
    """Return `text` with everything that looks like an API key masked."""
    return _KEY.sub(r"\1****", text)


def shown(value: object) -> str:
    """Return `value` for an error message: quoted, escaped, masked and at most `LIMIT` characters."""
    quoted = repr(without_keys(value if isinstance(value, str) else str(value)))
    if len(quoted) <= LIMIT:
        return quoted
    return quoted[: LIMIT - 2] + "…" + quoted[0]


def shown_path(path: str | os.PathLike[str]) -> str:
    """Return a path for an error message: whole, as it is when printable, else escaped."""
    text = without_keys(str(path))
    return text if text.isprintable() else repr(text)
