"""`kallglotfs status`: how the mounts are doing."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import click

from kallglotfs.advice import notices
from kallglotfs.cli.report import FAILED, complain
from kallglotfs.cli.status_text import text
from kallglotfs.cli.streams import say, secure_streams
from kallglotfs.control.survey import Found, State, survey
from kallglotfs.errors import MountError
from kallglotfs.mountpoint import resolved

PROGRAM = "kallglotfs status"


@click.command()
@click.argument("mount_points", nargs=-1, metavar="[MOUNTPOINT]...")
@click.option("--json", "as_json", is_flag=True, help="A list with everything, for programs.")
@click.option(
    "--timeout", default=5.0, show_default=True, metavar="SECONDS", type=click.FloatRange(0.1, 600),
    help="How long a mount may take to answer.",
)  # fmt: skip
def status(mount_points: tuple[str, ...], as_json: bool, timeout: float) -> int:  # noqa: FBT001 - click's way
    """Show how mounts are doing.

    MOUNTPOINT, or all that you may ask; root may ask all. Costs no API request, and waits for no mount
    longer than --timeout. The exit code is 0 when all is well, 32 when a mount is dead or does not answer
    or MOUNTPOINT is none, and 0 when nothing is mounted.

    \b
    Example:
      kallglotfs status
      kallglotfs status --json /mnt/calls | jq '.[0].status.budget'
    """  # noqa: D301
    secure_streams()
    try:
        found = survey([resolved(each) for each in mount_points], timeout)
    except MountError as error:
        complain(PROGRAM, str(error))
        return FAILED
    if as_json:
        say(json.dumps(list(map(_plain, found)), indent=2))
    elif found:
        say("\n\n".join(map(text, found)))
    else:
        say("no mounts; make one with: kallglotfs mount MOUNTPOINT")
    # Somebody else's mount that may not be asked is no failure, unless it was named.
    well = (State.OK,) if mount_points else (State.OK, State.CLOSED)
    return 0 if all(each.state in well for each in found) else FAILED


def _plain(found: Found) -> dict[str, object]:
    try:
        told = _told(found)
        json.dumps(told, indent=2)
    except Exception:  # noqa: BLE001 - whatever a daemon tells, the other mounts are shown
        error, how = "its answer cannot be read", "mount it again with the version that is installed now"
        return _told(replace(found, state=State.ERROR, error=error, advice=how, status=None))
    return told


def _told(found: Found) -> dict[str, object]:
    return {
        **asdict(found),
        "state": found.state.value,
        "error": found.error or None,
        "advice": found.advice or None,
        "notices": notices(found.status) if found.status else [],
    }
