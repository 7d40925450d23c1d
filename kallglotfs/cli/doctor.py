"""`kallglotfs doctor`: what is wrong, and what mends it."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, NoReturn

import click

from kallglotfs import __version__, logs
from kallglotfs.background import leave
from kallglotfs.cli.mounting import profile_of
from kallglotfs.cli.options import given, setting_options, usage_error
from kallglotfs.cli.streams import say, secure_streams
from kallglotfs.clock import Clock
from kallglotfs.doctor.examination import examine
from kallglotfs.doctor.finding import Finding, Level
from kallglotfs.errors import ConfigError
from kallglotfs.hardening import harden
from kallglotfs.logs import escaped, redact
from kallglotfs.vfs.naming import is_recording_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kallglotfs.doctor.examination import Report

#: Exit code when something does not work.
BROKEN = 1
#: Columns: no more than these, so that it can be quoted anywhere.
WIDTH = 80
MARKS = {Level.FAILURE: "FAILURE", Level.WARNING: "warning", Level.SKIPPED: "not checked", Level.OK: "ok"}
COLOURS = {Level.FAILURE: "31;1", Level.WARNING: "33", Level.SKIPPED: "2", Level.OK: "32"}
INDENT = " " * 9


@click.command()
@click.argument("profile", default="", metavar="[PROFILE]")
@click.option("-o", "texts", multiple=True, metavar="OPT[,OPT...]", help="Settings as mount(8) writes them.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--offline", is_flag=True, help="Leave the network alone.")
@click.option("-v", "--verbose", is_flag=True, help="Show what is all right, too.")
@click.option(
    "--recording", metavar="ID", default="", help="Try the storage with this one. [one that is known]"
)
@setting_options("api_url", "api_key_file", "config", "state_dir", "cache_dir", "disk_cache", "allow_other")
def doctor(
    profile: str,
    texts: tuple[str, ...],
    as_json: bool,  # noqa: FBT001 - click passes by name
    offline: bool,  # noqa: FBT001
    verbose: bool,  # noqa: FBT001
    recording: str,
    **settings: str | None,
) -> NoReturn:
    """Check everything a mount of PROFILE needs, and say what mends what is wrong.

    Failures come first, each with its mend. Nothing is changed; no mount or daemon is needed; it takes 20
    seconds at the most and costs one API request as a rule, three at the most. Run it as the user who mounts.

    \b
    Exit code:
      0  nothing fails; there may be warnings
      1  something does not work

    \b
    Example:
      kallglotfs doctor
      kallglotfs doctor acme -o allow_other --verbose
      kallglotfs doctor --json | jq -r '.checks[].mend'
    """  # noqa: D301
    secure_streams()
    harden()
    try:
        options = given(texts, settings)
    except ConfigError as error:
        raise usage_error(error) from None
    if recording and not is_recording_id(recording):
        raise click.UsageError("--recording: not a recording's id")
    logs.configure("error", None, sys.stderr)
    report = examine(profile_of(profile), options, Clock(), offline=offline, recording=recording)
    if as_json:
        say(json.dumps(_as_json(report), indent=2))
    else:
        for line in shown(report, verbose=verbose, coloured=_coloured()):
            say(line)
    # Not the ordinary way: a check that hangs is not waited for.
    leave(BROKEN if report.of(Level.FAILURE) else 0)


def shown(report: Report, *, verbose: bool, coloured: bool) -> Iterator[str]:
    """Yield the lines of a report: a summary, failures, warnings, and what was not checked.

    Args:
        report: what was found.
        verbose: show what is all right, too.
        coloured: colour the levels.
    """
    counts = {level: len(report.of(level)) for level in Level}
    failures, warnings = counts[Level.FAILURE], counts[Level.WARNING]
    words = (
        f"{_count(failures, 'failure')}, {_count(warnings, 'warning')}, {counts[Level.OK]} ok, "
        f"{counts[Level.SKIPPED]} not checked ({_count(report.requests, 'API request')})"
    )
    yield from _wrapped(f"profile {_clean(report.profile)}: {words}", "", INDENT)
    for level in (Level.FAILURE, Level.WARNING):
        for finding in report.of(level):
            yield from _marked(finding, coloured=coloured)
            yield from _mend(finding)
    reasons: dict[str, list[str]] = {}
    for finding in report.of(Level.SKIPPED):
        reasons.setdefault(finding.found, []).append(finding.name)
    for reason, names in reasons.items():
        yield from _wrapped(_clean(f"{', '.join(names)} ({reason})"), "not checked: ", " " * 13)
    if verbose:
        for finding in report.of(Level.OK):
            yield from _marked(finding, coloured=coloured)
    elif not failures and not warnings:
        yield "everything that was checked is all right (--verbose shows it)"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _marked(finding: Finding, *, coloured: bool) -> Iterator[str]:
    """Yield the lines of one finding, its level in front."""
    mark = MARKS[finding.level]
    lines = _wrapped(_clean(f"{finding.name}: {finding.found}"), mark.ljust(len(INDENT)), INDENT)
    if coloured:
        # Behind the wrapping, which would count it.
        lines[0] = f"\x1b[{COLOURS[finding.level]}m{mark}\x1b[0m{lines[0][len(mark) :]}"
    yield from lines


def _mend(finding: Finding) -> Iterator[str]:
    """Yield what to do. A command stays on its line however long it is: in two it cannot be copied."""
    first, rest = f"{INDENT}mend: ", f"{INDENT}      "
    command, note = finding.command
    lines = _wrapped(_clean(finding.mend), first, rest) if finding.mend else []
    if not command or len(lines) == 1:
        yield from lines
        return
    yield first + _clean(command)
    if note:
        yield from _wrapped(_clean(note), rest, rest)


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    """Return `text` in lines; words stay whole, since a path or command that is cut cannot be copied.

    Args:
        text: one paragraph.
        first: before the first line.
        rest: before the others.
    """
    width = max(40, min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns))
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [first]


def _coloured() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _clean(text: str) -> str:
    """Return a text on one line, without secrets and control characters, whoever has written it."""
    return escaped(redact(text))


def _as_json(report: Report) -> dict[str, object]:
    return {
        "version": __version__,
        "profile": report.profile,
        "api_url": redact(report.api_url),
        "failures": len(report.of(Level.FAILURE)),
        "warnings": len(report.of(Level.WARNING)),
        "api_requests": report.requests,
        "checks": [
            {
                "name": finding.name,
                "level": finding.level.value,
                "found": redact(finding.found),
                "mend": redact(finding.mend),
            }
            for finding in report.findings
        ],
    }
