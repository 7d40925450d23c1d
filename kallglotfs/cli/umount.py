"""`kallglotfs umount`: unmount, dead mounts included."""

from __future__ import annotations

import os
import shutil
import subprocess

import click

from kallglotfs.cli.report import FAILED, complain
from kallglotfs.cli.streams import secure_streams
from kallglotfs.errors import MountError
from kallglotfs.mountpoint import is_dead, mounted_at, resolved

PROGRAM = "kallglotfs umount"
KIND = "fuse.kallglotfs"


@click.command()
@click.argument("mount_point", metavar="MOUNTPOINT")
@click.option("-l", "--lazy", is_flag=True, help="Detach now, end when the last open file is closed.")
def umount(mount_point: str, lazy: bool) -> int:  # noqa: FBT001 - click passes by name
    """Unmount MOUNTPOINT. A mount whose daemon has died is cleared as well.

    \b
    Example:
      kallglotfs umount /mnt/calls
    """  # noqa: D301
    secure_streams()
    try:
        path = resolved(mount_point)
    except MountError as error:
        complain(PROGRAM, str(error))
        return FAILED
    found = mounted_at(path)
    if found is None:
        complain(PROGRAM, f"{path}: nothing is mounted there")
        return FAILED
    if found.kind != KIND:
        complain(PROGRAM, f"{path}: not ours ({found.kind} is mounted there); use umount")
        return FAILED
    # A dead mount may still have open files, which would keep it busy for ever.
    command = _command(path, lazy=lazy or is_dead(path))
    result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
    if result.returncode == 0:
        return 0
    said = (result.stderr.strip().splitlines() or ["failed"])[-1].strip()
    hint = "; close what uses it, or use --lazy" if "busy" in said.lower() else ""
    complain(PROGRAM, f"{said}{hint}")
    return FAILED


def _command(path: str, *, lazy: bool) -> list[str]:
    if os.geteuid() == 0:
        return ["umount", *(["-l"] if lazy else []), "--", path]
    program = shutil.which("fusermount3") or shutil.which("fusermount") or "fusermount3"
    return [program, "-u", *(["-z"] if lazy else []), "--", path]
