"""The kernel's own limit on how long a FUSE request may take, and how our waiting is kept below it.

Since Linux 6.14 an administrator can set one (`fs.fuse.default_request_timeout` and `max_request_timeout`,
Documentation/admin-guide/sysctl/fs.rst). A request that takes longer ends the whole connection: every file
of the mount is lost, not one read. Used by `mount.py`; the limit is fixed for a mount when it is made.
"""

from __future__ import annotations

import logging
from pathlib import Path

log = logging.getLogger(__name__)

SYSCTL = Path("/proc/sys/fs/fuse")
#: Seconds a call may take longer than its time: `Patience`'s grace, a turn of waiting, a busy machine.
SLACK = 2.0
#: Where the limit is so short that `SLACK` would leave nothing: this part of it.
LEAST_PART = 0.25


def kernel_limit(sysctl: Path = SYSCTL) -> float | None:
    """Return the seconds a request may take by the kernel, None for any time.

    We ask for none in particular, so that the default counts, cut to the maximum (`process_init_limits` and
    `set_request_timeout` in the kernel's fs/fuse/inode.c).

    Args:
        sysctl: where the two values are.
    """
    limits = [_value(sysctl / f"{name}_request_timeout") for name in ("default", "max")]
    return min((limit for limit in limits if limit > 0), default=None)


def fitted(timeout: float, throttle_timeout: float, limit: float | None) -> tuple[float, float]:
    """Return `timeout` and `throttle_timeout` so that a call, which may use up both, ends within the limit.

    The wait for the rate limit gives way first: a file that is slow because of it can be tried again.

    Args:
        timeout: seconds a call may take, waits for the rate limit not counted.
        throttle_timeout: seconds of those.
        limit: seconds, from `kernel_limit`.
    """
    if limit is None:
        return timeout, throttle_timeout
    room = max(limit - SLACK, limit * LEAST_PART)
    network = min(timeout, room)
    throttle = min(throttle_timeout, room - network)
    if (network, throttle) != (timeout, throttle_timeout):
        log.warning(
            "the kernel ends a mount of which a request takes %g s (fs.fuse.*_request_timeout): "
            "timeout is %g s and throttle_timeout %g s, in place of %g s and %g s",
            limit, network, throttle, timeout, throttle_timeout,
        )  # fmt: skip
    return network, throttle


def _value(path: Path) -> float:
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        return 0.0
