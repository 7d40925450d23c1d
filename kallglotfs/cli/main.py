"""`kallglotfs`: the command with verbs."""

from __future__ import annotations

import sys
from importlib import import_module

import click

from kallglotfs import __version__
from kallglotfs.cli.report import USAGE, complain

PROGRAM = "kallglotfs"
#: Each is a command of the same name, underscores for dashes, in a module of the same name.
VERBS = (
    "add", "cache", "demo", "doctor", "forget", "install-helper", "mount", "status", "top", "umount", "warm"
)  # fmt: skip


class _Verbs(click.Group):
    """Imports the verb that is called and no other: together they take most of a second."""

    def list_commands(self, _: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, _: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        module = name.replace("-", "_")
        command = getattr(import_module(f"kallglotfs.cli.{module}"), module)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name=PROGRAM, message="%(prog)s %(version)s")
def kallglotfs() -> None:
    """Mount Kallglot call recordings as a read-only folder.

    \b
    Example:
      kallglotfs mount /mnt/calls
      mpv /mnt/calls/recordings/rec_01HABC987654321.mp3
      kallglotfs umount /mnt/calls
    """  # noqa: D301 - \b is click's mark for a paragraph that is not re-wrapped


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
        verb = _named(error)
        complain(verb, f"{error.format_message()} (try: {verb} --help)")
        return USAGE
    except click.Abort:
        complain(PROGRAM, "stopped")
        return 130
    return code if isinstance(code, int) else 0


def _named(error: click.ClickException) -> str:
    """Return the command with the verb that an error is of."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    return PROGRAM if context is None else context.command_path


if __name__ == "__main__":
    sys.exit(main())
