"""What the commands say: one clear line on standard error, and mount(8)'s exit codes."""

from __future__ import annotations

import logging
import os
import sys

from kallglotfs.errors import KallglotError, SystemFault, UsageError
from kallglotfs.logs import escaped, redact
from kallglotfs.logs.destination import is_journal
from kallglotfs.logs.formats import priority

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
    """Print one line to standard error, without secrets and control characters; an error to the journal."""
    line = f"{program}: {escaped(redact(' '.join(message.split())))}"
    print(
        f"<{priority(logging.ERROR)}>{line}" if is_journal(sys.stderr, os.environ) else line, file=sys.stderr
    )
