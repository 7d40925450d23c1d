"""`kallglotfs umount --dead`, which the unit runs after a stop: what is dead goes, what lives stays."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from conftest import environment
from kallglotfs.mountpoint import mounted_at

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import MountedFolder


def clear(path: Path) -> tuple[int, str]:
    """Run the command; its exit code and what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "kallglotfs", "umount", "--dead", str(path)],
        env=environment(None),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_only_what_is_dead_is_cleared(mount: Callable[..., MountedFolder]) -> None:
    """A mount that lives stays, one whose daemon was killed goes, and where nothing is, nothing is said."""
    folder = mount()
    path = str(folder.path)
    assert clear(folder.path) == (0, "")
    assert mounted_at(path) is not None
    folder.process.kill()
    folder.process.wait()
    assert clear(folder.path)[0] == 0
    assert mounted_at(path) is None
    assert clear(folder.path) == (0, "")
