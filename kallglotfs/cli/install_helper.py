"""`kallglotfs install-helper`: mount(8)'s link, units, man pages and completions, to where they belong."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

import kallglotfs
from kallglotfs.cli.report import SYSTEM, complain, exit_code
from kallglotfs.cli.streams import say, secure_streams
from kallglotfs.errors import KallglotError, UsageError
from kallglotfs.install.access import closed, loose
from kallglotfs.install.plan import (
    COMMAND,
    HELPER,
    UNIT_PREFIXES,
    Places,
    Plan,
    helper_directory,
    system_places,
    user_places,
)
from kallglotfs.install.shipped import program
from kallglotfs.install.work import Did, Installation, Step

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PROGRAM = "kallglotfs install-helper"
#: Exit code when something was left.
INCOMPLETE = 1
#: Is there where a package of the distribution has brought everything; its text says which.
PACKAGED = "/usr/share/kallglotfs/packaged"
#: Is there while systemd runs (sd_booted(3)).
SYSTEMD = "/run/systemd/system"
#: Seconds systemd may take to read its units again.
RELOAD = 60.0


@click.command("install-helper")
@click.option("--uninstall", is_flag=True, help="Remove what was installed, and nothing else.")
@click.option("--user", is_flag=True, help="For you alone, below your home; without mount(8)'s link.")
@click.option("--prefix", metavar="DIR", help="Where files for everybody go. [/usr/local]")
@click.option("--destdir", metavar="DIR", help="Stage below this directory, for a package.")
@click.option("--bindir", metavar="DIR", help="Where the programs will be. [where they are]")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be done.")
def install_helper(
    uninstall: bool,  # noqa: FBT001 - click passes by name
    user: bool,  # noqa: FBT001
    prefix: str | None,
    destdir: str | None,
    bindir: str | None,
    dry_run: bool,  # noqa: FBT001
) -> int:
    """Make the system know kallglotfs.

    Links /sbin/mount.kallglotfs, so that `mount -t kallglotfs` and /etc/fstab work, and installs systemd
    units, man pages and completions for bash, zsh and fish. Says what it does, does nothing twice, and
    replaces nothing that it has not installed itself.

    \b
    Example:
      sudo kallglotfs install-helper
      kallglotfs install-helper --user
      sudo kallglotfs install-helper --uninstall
    """  # noqa: D301
    secure_streams()
    try:
        root = Path(os.path.abspath(destdir or "/"))  # noqa: PTH100 - the user's own name of it
        places = _places(root, prefix=prefix, user=user, mine=destdir is not None or dry_run)
        names = {name: f"{bindir}/{name}" if bindir else program(name) for name in (COMMAND, HELPER)}
        if not (user or destdir) and names[COMMAND] == f"/usr/bin/{COMMAND}" and Path(PACKAGED).exists():
            say(f"already there: everything, by {Path(PACKAGED).read_text().strip()}")
            return 0
        plan = Plan(places, names)
        work = Installation(plan, root, dry=dry_run)
        steps = _told(work.uninstall() if uninstall else work.install(), root, dry=dry_run)
        if not (user or destdir or dry_run or uninstall):
            _warn(names, own=bindir is None)
    except OSError as error:
        complain(PROGRAM, f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror))
        return SYSTEM
    except KallglotError as error:
        complain(PROGRAM, str(error))
        return exit_code(error)
    if uninstall and not steps:
        say("nothing is installed")
    if destdir is None and not dry_run:
        _follow(plan, steps, user=user, uninstall=uninstall)
    return INCOMPLETE if any(step.did is Did.LEFT for step in steps) else 0


def _places(root: Path, *, prefix: str | None, user: bool, mine: bool) -> Places:
    """Return the directories to use.

    Args:
        root: of the system, or of the tree that is being staged.
        prefix: as given.
        user: whether it is for one user alone.
        mine: whether it can be done without root: it is staged, or nothing is done.

    Raises:
        UsageError: what is asked for cannot be had.
    """
    if user:
        if prefix:
            raise UsageError("--user and --prefix exclude each other")
        # Not Path.home(): that fails in words of its own where there is none.
        home = os.path.expanduser("~")  # noqa: PTH111
        if not home.startswith("/"):
            raise UsageError("your home directory is not known; set HOME")
        return user_places(home, os.environ)
    if os.geteuid() != 0 and not mine:
        raise UsageError(f"only root can install for everybody; use {_sudo()}, or --user for you alone")
    chosen = (prefix or "/usr/local").rstrip("/")
    if not chosen.startswith("/"):
        raise UsageError("--prefix must be an absolute path below /")
    return system_places(chosen, helper_directory(root))


def _sudo() -> str:
    """Return the command for root, whose path does not have what a user has installed for themselves."""
    return f"sudo {shlex.quote(program(COMMAND))} install-helper"


def _told(steps: Iterator[Step], root: Path, *, dry: bool) -> list[Step]:
    """Say each step as it is done."""
    done = []
    for step in steps:
        say(_line(step, root, dry=dry))
        done.append(step)
    return done


def _line(step: Step, root: Path, *, dry: bool) -> str:
    would = {
        Did.INSTALLED: "would install",
        Did.UPDATED: "would update",
        Did.REMOVED: "would remove",
        Did.LEFT: "would leave, changed since it was installed",
    }
    words = would.get(step.did, step.did.value) if dry else step.did.value
    return f"{words}: {root / step.path.lstrip('/')}"


def _warn(programs: Mapping[str, str], *, own: bool) -> None:
    """Tell if somebody but root could change what root is going to run, or keeps root from running it.

    Args:
        programs: their paths, by name.
        own: whether they are those of this process, which knows their interpreter.
    """
    path = loose(programs[HELPER])
    if path is not None:
        complain(PROGRAM, f"warning: who can write {path} decides what root runs at `mount -t kallglotfs`")
    path = closed((*programs.values(), *((sys.executable, kallglotfs.__file__) if own else ())))
    if path is not None:
        complain(
            PROGRAM,
            f"warning: the system's units cannot start it, they may not enter {path}; install it for "
            "everybody: the Debian package, `sudo pipx install --global`, or a venv below /opt",
        )


def _follow(plan: Plan, steps: list[Step], *, user: bool, uninstall: bool) -> None:
    """Do what follows where it can be done, and say what the user has to do."""
    changed = {step.path for step in steps if step.did not in (Did.THERE, Did.LEFT)}
    if any(path.endswith(".service") for path in changed):
        _reload(user=user)
    if uninstall:
        return
    units = plan.places.system_units
    if units and not units.startswith(tuple(f"{prefix}/lib/" for prefix in UNIT_PREFIXES)):
        say(f"systemd does not look for units in {units}")
    if user:
        say(f"for `mount -t kallglotfs` and /etc/fstab: {_sudo()}")
        say(f"zsh looks there once you add to ~/.zshrc: fpath+=({shlex.quote(plan.places.zsh)})")


def _reload(*, user: bool) -> None:
    """Have systemd read its units again, where it runs."""
    if not Path(SYSTEMD).exists():
        return
    command = ["systemctl", *(["--user"] if user else []), "daemon-reload"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=RELOAD, check=False)  # noqa: S603
        worked = done.returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        worked = False
    say(f"{'done' if worked else 'please run'}: {' '.join(command)}")
