"""`kallglotfs umount`: unmount, dead mounts included."""

from __future__ import annotations

import click

from kallglotfs.cli.report import FAILED, complain
from kallglotfs.cli.streams import secure_streams
from kallglotfs.errors import MountError
from kallglotfs.mountpoint import KIND, is_dead, mounted_at, resolved
from kallglotfs.unmounting import clear_dead, unmount

PROGRAM = "kallglotfs umount"


@click.command()
@click.argument("mount_point", metavar="MOUNTPOINT")
@click.option("-l", "--lazy", is_flag=True, help="Detach now, end when the last open file is closed.")
@click.option("--dead", is_flag=True, help="Only clear what a daemon that died has left; do nothing else.")
def umount(mount_point: str, lazy: bool, dead: bool) -> int:  # noqa: FBT001 - click passes by name
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
    if dead:
        return _clear(path)
    found = mounted_at(path)
    if found is None:
        complain(PROGRAM, f"{path}: nothing is mounted there")
        return FAILED
    if found.kind != KIND:
        complain(PROGRAM, f"{path}: not ours ({found.kind} is mounted there); use umount")
        return FAILED
    try:
        # A dead mount may still have open files, which would keep it busy for ever.
        unmount(path, lazy=lazy or is_dead(path))
    except MountError as error:
        hint = "; close what uses it, or use --lazy" if "busy" in str(error).lower() else ""
        complain(PROGRAM, f"{error}{hint}")
        return FAILED
    return 0


def _clear(path: str) -> int:
    """Clear what is dead; a mount that lives, and none at all, are left as they are."""
    try:
        clear_dead(path)
    except MountError as error:
        complain(PROGRAM, str(error))
        return FAILED
    return 0
