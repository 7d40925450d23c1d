"""`kallglotfs`: the command with verbs."""

from __future__ import annotations

import sys

import click

from kallglotfs import __version__
from kallglotfs.cli.add import add
from kallglotfs.cli.cache import cache
from kallglotfs.cli.demo import demo
from kallglotfs.cli.doctor import doctor
from kallglotfs.cli.forget import forget
from kallglotfs.cli.install_helper import install_helper
from kallglotfs.cli.mount import mount
from kallglotfs.cli.report import USAGE, complain
from kallglotfs.cli.status import status
from kallglotfs.cli.top import top
from kallglotfs.cli.umount import umount
from kallglotfs.cli.warm import warm

PROGRAM = "kallglotfs"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name=PROGRAM, message="%(prog)s %(version)s")
def kallglotfs() -> None:
    """Mount Kallglot call recordings as a read-only folder.

    \b
    Example:
      kallglotfs mount /mnt/calls
      mpv /mnt/calls/recordings/rec_01HABC987654321.mp3
      kallglotfs umount /mnt/calls
    """  # noqa: D301 - \b is click's mark for a paragraph that is not re-wrapped


for _verb in (mount, umount, status, top, add, warm, cache, forget, doctor, install_helper, demo):
    kallglotfs.add_command(_verb)


def main(arguments: list[str] | None = None) -> int:
    """Run a verb.

    Args:
        arguments: without the program's name; None for the process's own.

    Returns:
        The exit code.
    """
    try:
        code = kallglotfs.main(args=arguments, prog_name=PROGRAM, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as wanted:
        wanted.show()
        return USAGE
    except click.ClickException as error:
        complain(PROGRAM, f"{error.format_message()} (try: {PROGRAM} --help)")
        return USAGE
    except click.Abort:
        complain(PROGRAM, "stopped")
        return 130
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    sys.exit(main())
