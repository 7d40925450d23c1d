"""Who else has a say about the program: who could change it, and who keeps root from starting it."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def loose(program: str) -> Path | None:
    """Return what somebody but root can write, on the way to a program that root runs; None where nothing is.

    Args:
        program: its path.

    Raises:
        OSError: it is not there.
    """
    real = Path(os.path.realpath(program))
    for path in (real, *real.parents):
        status = path.stat()
        written = status.st_mode & (stat.S_IWOTH | stat.S_IWGRP) and not status.st_mode & stat.S_ISVTX
        if status.st_uid != 0 or written:
            return path
    return None


def closed(programs: tuple[str, ...]) -> Path | None:
    """Return a directory that root without capabilities, as in our unit, cannot enter; None if there is none.

    Args:
        programs: paths of all that it takes to start: links are followed, and have to be reached themselves.
    """
    for program in programs:
        for path in (Path(program), Path(os.path.realpath(program))):
            # From the top, so that the home is named and not a directory below it.
            for above in reversed(path.parents):
                try:
                    status = above.stat()
                except OSError:
                    # Not there yet, as where the programs will be.
                    break
                if not status.st_mode & _bit(status):
                    return above
    return None


def _bit(status: os.stat_result) -> int:
    """Return what lets root enter a directory as its owner, its group or others."""
    if status.st_uid == 0:
        return stat.S_IXUSR
    return stat.S_IXGRP if status.st_gid == 0 else stat.S_IXOTH
