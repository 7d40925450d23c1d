"""`kallglotfs mount`: the same as `mount.kallglotfs`, with long options."""

from __future__ import annotations

import click

from kallglotfs.cli import mounting
from kallglotfs.cli.options import given, setting_options, usage_error
from kallglotfs.errors import ConfigError


@click.command(context_settings={"show_default": False})
@click.argument("paths", nargs=-1, required=True, metavar="[PROFILE] MOUNTPOINT")
@click.option("-o", "texts", multiple=True, metavar="OPT[,OPT...]", help="Settings as mount(8) writes them.")
@click.option("-f", "--foreground", is_flag=True, help="Stay, and log to standard error.")
@click.option("--fake", is_flag=True, help="Check everything, mount nothing.")
@click.option("-v", "--verbose", is_flag=True, help="Say what is done.")
@setting_options()
def mount(
    paths: tuple[str, ...],
    texts: tuple[str, ...],
    foreground: bool,  # noqa: FBT001 - click passes by name
    fake: bool,  # noqa: FBT001
    verbose: bool,  # noqa: FBT001
    **settings: str | None,
) -> int:
    """Mount a profile's recordings on a directory.

    Goes to the background and returns once the mount answers.

    \b
    Example:
      kallglotfs mount /mnt/calls --formats all --memory-cache 1G
    """  # noqa: D301
    *source, mount_point = paths
    if len(source) > 1:
        raise click.UsageError("too many arguments: give a profile and a mount point")
    try:
        options = given(texts, settings)
    except ConfigError as error:
        raise usage_error(error) from None
    return mounting.run(
        mounting.Request(
            program="kallglotfs mount",
            source=source[0] if source else "",
            mount_point=mount_point,
            options=options,
            foreground=foreground,
            fake=fake,
            verbose=verbose,
        )
    )
