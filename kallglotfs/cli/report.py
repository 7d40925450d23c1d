"""What the commands say: one clear line on standard error, and mount(8)'s exit codes."""

from __future__ import annotations

import sys

from kallglotfs.errors import KallglotError, SystemFault, UsageError
from kallglotfs.logs import redact

#: mount(8): incorrect invocation; system error; mount failed.
USAGE, SYSTEM, FAILED = 1, 2, 32


def exit_code(error: KallglotError) -> int:
    """Return mount(8)'s exit code for a failure."""
    if isinstance(error, UsageError):
        return USAGE
    if isinstance(error, SystemFault):
        return SYSTEM
    return FAILED


def complain(program: str, message: str) -> None:
    """Print one line to standard error, without secrets and control characters."""
    text = redact(" ".join(message.split()))
    printable = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    print(f"{program}: {printable}", file=sys.stderr)
