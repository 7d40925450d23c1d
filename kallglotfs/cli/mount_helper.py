"""`mount.kallglotfs`: the helper that mount(8) calls, and the command people type.

The calling convention is mount(8)'s, EXTERNAL HELPERS: `mount.kallglotfs SOURCE MOUNTPOINT [-sfnv]
[-N NS] [-o OPTIONS] [-t TYPE]`. A parser of options that knows `-o` a hundred times and `-f` as "fake" is
what this needs; click would make the same of it in more lines.
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from typing import NoReturn

from kallglotfs import __version__
from kallglotfs.cli import mounting
from kallglotfs.cli.report import USAGE, complain
from kallglotfs.config.mount_options import parse_options, split_options
from kallglotfs.config.reference import reference
from kallglotfs.errors import ConfigError

PROGRAM = "mount.kallglotfs"
INDENT = " " * len(f"usage: {PROGRAM} ")

_LINES = textwrap.TextWrapper(
    79, initial_indent=" " * 6, subsequent_indent=" " * 6, break_long_words=False, break_on_hyphens=False
)
# A list that is joined by + also ends a line there, so that its parts are a value when put together.
_LINES.wordsep_simple_re = re.compile(r"(\s+|(?<=\+))")

EXAMPLES = """\
examples:
  mount.kallglotfs /mnt/calls                      the default profile
  mount.kallglotfs acme /mnt/acme -o formats=all   another, every format listed
  mount -t kallglotfs kallglot /mnt/calls \\
    -o api_key_file=/etc/kallglotfs/api_key,allow_other
  umount /mnt/calls
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        complain(PROGRAM, f"{message} (try: {PROGRAM} --help)")
        raise SystemExit(USAGE)


def main(arguments: list[str] | None = None) -> int:
    """Mount as the command line says.

    Args:
        arguments: without the program's name; None for the process's own.

    Returns:
        mount(8)'s exit code.
    """
    given = parser().parse_intermixed_args(arguments)
    try:
        items = [item for text in given.options for item in parse_options(text)]
        options = split_options(items, sloppy=given.sloppy)
    except ConfigError as error:
        complain(PROGRAM, str(error))
        return USAGE
    if not given.paths:
        complain(PROGRAM, f"no MOUNTPOINT given (try: {PROGRAM} --help)")
        return USAGE
    *source, mount_point = given.paths
    if len(source) > 1:
        complain(PROGRAM, f"too many arguments (try: {PROGRAM} --help)")
        return USAGE
    return mounting.run(
        mounting.Request(
            program=PROGRAM,
            source=source[0] if source else "",
            mount_point=mount_point,
            options=options.settings,
            foreground=given.foreground,
            fake=given.fake,
            verbose=given.verbose,
        )
    )


def options_help() -> str:
    """Return the list of `-o` options, from the settings table."""
    lines = ["options for -o:"]
    for setting in reference():
        lines += [f"  {setting.name}={setting.type}", *_LINES.wrap(f"{setting.help} [{setting.default}]")]
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line; completions are made from it too."""
    made = _Parser(
        prog=PROGRAM,
        usage=f"{PROGRAM} [SOURCE] MOUNTPOINT [-fnsv] [-o OPTION[,OPTION...]]\n{INDENT}[--foreground]",
        description="Mount Kallglot call recordings as a read-only folder.",
        epilog=f"{options_help()}\n\n{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument(
        # One is needed, but an option that is not known is to be told first.
        "paths",
        nargs="*",
        metavar="[SOURCE] MOUNTPOINT",
        help="profile (default: default), directory",
    )
    made.add_argument("-o", dest="options", action="append", default=[], metavar="OPTIONS", help="see below")
    made.add_argument(
        "--foreground", action="store_true", help="stay in the foreground, log to standard error"
    )
    made.add_argument("-f", dest="fake", action="store_true", help="fake: check everything, mount nothing")
    made.add_argument("-s", dest="sloppy", action="store_true", help="ignore options that are not known")
    made.add_argument("-v", dest="verbose", action="store_true", help="say what is done")
    made.add_argument("-n", dest="no_mtab", action="store_true", help="accepted for mount(8), does nothing")
    made.add_argument("-N", dest="namespace", metavar="NS", help="accepted for mount(8), does nothing")
    made.add_argument("-t", dest="type", metavar="TYPE", help="accepted for mount(8), does nothing")
    made.add_argument("-V", "--version", action="version", version=f"kallglotfs {__version__}")
    return made


if __name__ == "__main__":
    sys.exit(main())
