"""Standard streams that may not be there: cron jobs, `2>&-`, a full disk behind a redirection."""

from __future__ import annotations

import contextlib
import os
import sys


def secure_streams() -> None:
    """Make sure that descriptors 0 to 2 are open, so that no file of ours becomes one of them."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free one, which is this.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def say(text: str) -> None:
    """Print a line for whoever is interested; nobody's ability to read it is worth a failure."""
    try:
        print(text, flush=True)
    except OSError:
        # What could not be written is tried again at the end, by an interpreter that complains.
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
