"""Mount points: is something there, and take it away."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path


def is_mounted(path: Path) -> bool:
    """Tell whether a directory is a mount point."""
    wanted = str(path)
    return any(line.split()[4] == wanted for line in Path("/proc/self/mountinfo").read_text().splitlines())


def detach(path: Path) -> None:
    """Unmount a directory, lazily when it is still in use."""
    for attempt in range(3):
        if not is_mounted(path):
            return
        flags = ["-u"] if attempt == 0 else ["-u", "-z"]
        subprocess.run(["fusermount3", *flags, str(path)], capture_output=True, timeout=20, check=False)
        if is_mounted(path):
            time.sleep(0.2)
