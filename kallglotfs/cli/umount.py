"""`kallglotfs umount`: unmount, dead mounts included."""

from __future__ import annotations

import click

from kallglotfs.cli.report import FAILED, complain
from kallglotfs.cli.streams import secure_streams
from kallglotfs.errors import MountError
from kallglotfs.mountpoint import KIND, is_dead, mounted_at, resolved
from kallglotfs.unmounting import unmount

PROGRAM = "kallglotfs umount"


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
    try:
        # A dead mount may still have open files, which would keep it busy for ever.
        unmount(path, lazy=lazy or is_dead(path))
    except MountError as error:
        hint = "; close what uses it, or use --lazy" if "busy" in str(error).lower() else ""
        complain(PROGRAM, f"{error}{hint}")
        return FAILED
    return 0
