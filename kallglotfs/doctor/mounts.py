"""The mounts there are: those whose daemon has died, and those that do not answer.

Called before any thread is started, since each is asked by a process of its own.
"""

from __future__ import annotations

import os
import time

from kallglotfs.doctor.finding import Finding, failure, ok, quoted, skipped
from kallglotfs.mountpoint import DEAD, KIND, Mounted, all_mounts, probe

NAME = "mounts"
#: Seconds that one mount gets to answer, and all of them together.
ANSWER, ALTOGETHER = 2.0, 4.0


def mounts() -> list[Finding]:
    """Ask every mount of ours for an answer."""
    found = {mount.path: mount for mount in all_mounts() if mount.kind == KIND}
    ends = time.monotonic() + ALTOGETHER
    bad: list[Finding] = []
    good = 0
    for path, mount in found.items():
        left = ends - time.monotonic()
        if _is_closed_to_us(mount):
            bad.append(skipped(NAME, f"{path} is another user's, who alone can ask it"))
        elif left <= 0:
            bad.append(skipped(NAME, f"{path}: others took too long"))
        elif (finding := _asked(path, min(ANSWER, left))) is not None:
            bad.append(finding)
        else:
            good += 1
    if good or not bad:
        bad.append(ok(NAME, f"{good} answering" if good else "none"))
    return bad


def _asked(path: str, seconds: float) -> Finding | None:
    """Return what is wrong with a mount, None when it answers."""
    answer = probe(path, seconds)
    if answer is None:
        found = f"{path} does not answer: its daemon is stopped or hangs"
        return failure(NAME, found, f"kallglotfs umount --lazy {quoted(path)}")
    if answer in DEAD:
        found = f"{path} is dead: its daemon was killed or has crashed"
        return failure(NAME, found, f"kallglotfs umount {quoted(path)}   (or mount it again)")
    if answer:
        return failure(NAME, f"{path}: {os.strerror(answer)}", f"kallglotfs umount {quoted(path)}")
    return None


def _is_closed_to_us(mount: Mounted) -> bool:
    """Tell whether the kernel answers in the place of a mount that is for its owner alone."""
    return "allow_other" not in mount.options and mount.uid != os.geteuid()
