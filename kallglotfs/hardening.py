"""What the process takes from itself before it holds a secret: core dumps, and being looked into.

Used by the commands, before the API key is read. All of it is inherited by a fork; an exec makes the program
that is started dumpable again (prctl(2)), which is right: fusermount3 gets no key from us.
"""

from __future__ import annotations

import ctypes
import logging
import resource
from typing import Any

log = logging.getLogger(__name__)

#: prctl(2).
_PR_SET_DUMPABLE = 4


def harden() -> None:
    """Allow no core dump of this process, and no tracing of it by others of the same user.

    `/proc/<pid>/mem`, `environ` and `fd` then belong to root (proc(5), `/proc/pid`); what we read of
    ourselves there can be read all the same. Root may still look in: root can read the key file as well.
    """
    # The limit alone does not hold: the kernel ignores it where cores are piped to a program (core(5)).
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc: Any = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        log.warning("core dumps cannot be switched off by prctl; the limit on their size is 0")


def raise_descriptors() -> None:
    """Allow as many open descriptors as the hard limit lets us: each connection and cached block is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
