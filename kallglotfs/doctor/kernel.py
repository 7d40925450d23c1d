"""What the kernel allows: reading ahead, how long a request may take, requests at one time, descriptors."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from kallglotfs.doctor.finding import Finding, ok, warning
from kallglotfs.negotiation import MAX_BACKGROUND
from kallglotfs.request_limit import SYSCTL, fitted, kernel_limit

SYSFS = Path("/sys")
#: Of the kernel's module: requests that an ordinary user's mount may have under way in the background.
BACKGROUND = Path("/sys/module/fuse/parameters/max_user_bgreq")
#: Descriptors below which a busy mount runs short: 128 threads, 64 streams, connections of the API, blocks.
DESCRIPTORS = 1024


def read_ahead() -> Finding:
    """Check who can have the kernel read further ahead, and say what it costs otherwise."""
    name = "read-ahead"
    cost = "128 KiB at a time in place of 1 MiB: 1.1 GB/s from the cache in place of 1.9"
    if os.geteuid() != 0:
        return ok(name, f"stays as it is for ordinary users: {cost}")
    try:
        closed = bool(os.statvfs(SYSFS).f_flag & os.ST_RDONLY)
    except OSError:
        closed = True
    if closed:
        return ok(name, f"cannot be raised, {SYSFS} is read-only: {cost}")
    return ok(name, "can be raised to 1 MiB")


def request_limit(timeout: float, throttle_timeout: float, sysctl: Path = SYSCTL) -> Finding:
    """Check that a call may take as long as the settings allow.

    Args:
        timeout: seconds, the setting.
        throttle_timeout: seconds, the setting.
        sysctl: where the kernel's limits are.
    """
    name = "request limit"
    limit = kernel_limit(sysctl)
    if limit is None:
        return ok(name, "the kernel sets none")
    if fitted(timeout, throttle_timeout, limit) == (timeout, throttle_timeout):
        return ok(name, f"{limit:g} s by the kernel, which suffices")
    found = (
        f"the kernel ends a mount of which a request takes {limit:g} s, so that waits are cut short: "
        f"timeout {timeout:g} s and throttle_timeout {throttle_timeout:g} s do not fit"
    )
    mend = "sysctl fs.fuse.default_request_timeout=0 fs.fuse.max_request_timeout=0   (as root)"
    return warning(name, found, mend)


def background(parameter: Path = BACKGROUND) -> Finding:
    """Check how many requests may be under way at one time."""
    name = "background requests"
    if os.geteuid() == 0:
        return ok(name, f"{MAX_BACKGROUND}, root's mounts have no limit")
    try:
        most = int(parameter.read_text())
    except (OSError, ValueError):
        return ok(name, "the kernel tells no limit")
    if most >= MAX_BACKGROUND:
        return ok(name, f"{MAX_BACKGROUND} of at most {most}")
    found = f"the kernel allows {most} in place of {MAX_BACKGROUND}: reads of many files hold each other up"
    return warning(name, found, f"echo {MAX_BACKGROUND} | sudo tee {parameter}")


def descriptors() -> Finding:
    """Check how many files may be open; a mount raises the limit as far as it may."""
    name = "open files"
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard >= DESCRIPTORS:
        return ok(name, "no limit" if hard == resource.RLIM_INFINITY else f"at most {hard}")
    found = f"at most {hard} may be open; a busy mount needs {DESCRIPTORS}"
    return warning(name, found, f"set LimitNOFILE={DESCRIPTORS}:524288 in the unit, or: ulimit -Hn 524288")
