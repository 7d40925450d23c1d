"""The files that come with the program, and where the program itself is.

A wheel holds them as `kallglotfs/share/`; a checkout, also one that is installed editable, at its top.
"""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import os
import shutil
import sys
from pathlib import Path

from kallglotfs.errors import SystemFault

PACKAGE = "kallglotfs"


def shipped(kind: str, *endings: str) -> list[Path]:
    """Return the files of one kind, by name.

    Args:
        kind: `systemd`, `man` or `completions`.
        endings: how their names end; none for all.
    """
    package = Path(str(importlib.resources.files(PACKAGE)))
    for folder in (package / "share" / kind, package.parent / kind):
        if folder.is_dir():
            files = (path for path in folder.iterdir() if path.is_file())
            return sorted(path for path in files if not endings or path.name.endswith(endings))
    return []


def program(name: str) -> str:
    """Return the absolute path of an installed program of ours.

    Links are not followed: a name that stays over upgrades is better than the place it points to today.

    Raises:
        SystemFault: it is nowhere, as where the package runs from its source without being installed.
    """
    for candidate in (*_recorded(name), Path(sys.argv[0]).parent / name, Path(shutil.which(name) or "")):
        path = os.path.abspath(candidate)  # noqa: PTH100 - not `resolve`, see above
        if Path(path).name == name and os.access(path, os.X_OK):
            return path
    raise SystemFault(f"the program {name} is not installed; install the package first")


def _recorded(name: str) -> list[Path]:
    """Return where the installer of the package says that it has put a program."""
    try:
        files = importlib.metadata.distribution(PACKAGE).files or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [Path(str(file.locate())) for file in files if file.name == name]
