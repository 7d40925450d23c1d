"""Secrets that must not turn up anywhere, and how to look for them: plain, and in their usual disguises."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

#: What looks like a secret, whoever's it is, and is not blanked.
SUSPECTS = re.compile(
    rb"(?i)\bsk_(?:live|test)_(?!\*{4})[a-z0-9]|\bbearer (?!\*{4})\S|signature(?:=|%3d)(?!\*{4})[^\s&'\"]"
)
#: Files that tests let the program write: logs, its output, its catalog and what SQLite puts beside it.
WRITTEN = re.compile(r"(?:.*\.)?log|.*\.sqlite.*")
#: Bytes of a file that are looked at.
MOST = 200_000_000


def forms(secret: str) -> set[bytes]:
    """Return a secret as it may be found: plain, percent-encoded, as hex, and in base64 at any offset."""
    plain = secret.encode()
    found = {plain, plain.hex().encode(), quote(secret, safe="").encode(), quote_plus(secret).encode()}
    for shift in range(3):
        # The characters at the ends depend on what is before and behind.
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            found.add(encode(bytes(shift) + plain)[shift and 4 : -4])
    return {each.lower() for each in found if len(each) > 6}


def leaks(content: bytes, canaries: Iterable[str]) -> list[str]:
    """Return the canaries that are in a content, in whatever form and case."""
    lower = content.lower()
    return [canary for canary in canaries if any(form in lower for form in forms(canary))]


def written(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder that the program has written."""
    for path in folder.rglob("*"):
        if WRITTEN.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            yield path


def suspects(folder: Path, canaries: Iterable[str]) -> list[str]:
    """Return what is in the files that the program has written below a folder and must not be there."""
    known = list(canaries)
    found = []
    for path in written(folder):
        content = path.read_bytes()[:MOST]
        found += [f"{path}: {canary[:6]}..." for canary in leaks(content, known)]
        found += [f"{path}: {match[0]!r}" for match in SUSPECTS.finditer(content)]
    return found
