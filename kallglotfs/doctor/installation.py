"""The program itself: Python, what it depends on, and the link by which mount(8) finds it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from importlib import metadata
from pathlib import Path

from kallglotfs import __version__
from kallglotfs.doctor.finding import Finding, Level, failure, ok, quoted, skipped, warning

PACKAGE = "kallglotfs"
PROGRAM = "mount.kallglotfs"
#: Where mount(8) looks.
LINK = Path("/sbin/mount.kallglotfs")
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:[^>;]*>=\s*([0-9.]+))?")


def versions() -> Finding:
    """Check Python and the packages that are needed."""
    name = "versions"
    try:
        needed = metadata.requires(PACKAGE) or []
    except metadata.PackageNotFoundError:
        return skipped(name, "the package is not installed but run from its source")
    wrong = []
    for requirement in needed:
        match = _REQUIREMENT.match(requirement)
        if match is None or "extra ==" in requirement:
            continue
        package, least = match[1], match[2] or "0"
        try:
            found = metadata.version(package)
        except metadata.PackageNotFoundError:
            wrong.append(f"{package} is missing")
            continue
        if _numbers(found) < _numbers(least):
            wrong.append(f"{package} {found} is older than {least}")
    if wrong:
        mend = f"{quoted(sys.executable)} -m pip install --upgrade {PACKAGE}"
        return Finding(name, Level.WARNING, ", ".join(wrong), mend)
    return ok(name, f"kallglotfs {__version__}, Python {platform.python_version()}, dependencies as needed")


def helper_link(link: Path = LINK, ours: Path | None = None) -> Finding:
    """Check that `mount -t kallglotfs` and fstab find this program.

    Args:
        link: where mount(8) looks.
        ours: this program's own `mount.kallglotfs`; None to look for it beside Python and on PATH.
    """
    name = str(link)
    program = ours or own_program()
    install = "kallglotfs install-helper   (as root)"
    if not os.path.lexists(link):
        return ok(name, f"not installed; only fstab and mount -t need it: {install}")
    target = Path(os.path.realpath(link))
    if not target.exists():
        return failure(name, f"leads to {target}, which is gone: fstab and mount -t fail", install)
    if not os.access(target, os.X_OK):
        return failure(name, f"{target} cannot be run: fstab and mount -t fail", install)
    if program is None or target == Path(os.path.realpath(program)):
        return ok(name, f"leads to {target}")
    return warning(name, f"leads to another program, {target}, not to {program}", install)


def own_program() -> Path | None:
    """Return the `mount.kallglotfs` that belongs to this program."""
    beside = Path(sys.executable).parent / PROGRAM
    if beside.exists():
        return beside
    found = shutil.which(PROGRAM)
    return Path(found) if found else None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3])
