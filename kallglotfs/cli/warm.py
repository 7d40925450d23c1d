"""`kallglotfs warm`: have recordings on the disk before they are needed."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from kallglotfs.background import leave
from kallglotfs.cli import figures, warm_targets
from kallglotfs.cli.report import complain, exit_code
from kallglotfs.cli.streams import say, secure_streams
from kallglotfs.cli.warm_line import Line
from kallglotfs.cli.warm_plan import Plan
from kallglotfs.cli.warm_run import Run
from kallglotfs.errors import KallglotError
from kallglotfs.hardening import harden
from kallglotfs.model import FORMATS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kallglotfs.control.client import Running

PROGRAM = "kallglotfs warm"
#: Exit codes: something is not on the disk; stopped by the user (128 + SIGINT).
INCOMPLETE, STOPPED = 1, 130
#: Seconds between two looks at how far it is, and between two lines where nobody watches.
LOOK, SAY = 0.5, 10.0
#: Seconds an answer may take that costs no request.
PATIENCE = 60.0
#: Failures that are told one by one.
TOLD = 20


@click.command()
@click.argument("things", nargs=-1, metavar="[PATH|ID]...")
@click.option("--session", "sessions", multiple=True, metavar="ID", help="A session: recordings, transcript.")
@click.option("--since", metavar="DATE|AGE", help="Known recordings made since: 2026-11-20 (UTC), 7d, 12h.")
@click.option("--format", "audio_format", type=click.Choice(FORMATS), help="Instead of what is listed.")
@click.option("-m", "--mount", "mount_point", metavar="MOUNTPOINT", help="Which mount, if there are several.")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what it costs.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON at the end, and nothing else.")
def warm(
    things: tuple[str, ...],
    sessions: tuple[str, ...],
    since: str | None,
    audio_format: str | None,
    mount_point: str | None,
    dry_run: bool,  # noqa: FBT001 - click passes by name
    as_json: bool,  # noqa: FBT001
) -> int:
    """Bring recordings to the disk cache of a running mount: before a flight, or a training run.

    PATH is a file or directory below the mount, such as a day of by-date; ID is a recording's or a session's.
    Says first what it costs, then goes on at once. What is on the disk already costs nothing, so who was
    interrupted just runs it again. Programs that play or open files meanwhile go first.

    \b
    Example:
      kallglotfs warm --since 7d --dry-run
      kallglotfs warm /mnt/calls/by-date/2026/11
      kallglotfs warm rec_01HABC987654321 --session sess_01HXYZ
    """  # noqa: D301
    secure_streams()
    harden()
    if not things and not sessions and since is None:
        raise click.UsageError("name paths or ids, --session or --since")
    try:
        moment = None if since is None else warm_targets.moment(since)
    except ValueError as error:
        raise click.UsageError(f"--since: {error}") from None
    try:
        paths = [each for each in things if warm_targets.is_path(each)]
        running = warm_targets.choose(mount_point, paths)
        with Line(running, PATIENCE) as line:
            # Also makes sure that the mount answers, before a directory of it is looked into.
            line.ask("warm.room", {"requests": 0})
            plan = Plan()
            items = _items(line, running, (*things, *sessions), moment, by_id=bool(audio_format))
            plan.ask(line, items, audio_format, use=not dry_run)
            if not (plan.files or plan.sessions):
                say("nothing is known there: nothing to fetch")
                return 0
            room = line.ask("warm.room", {"requests": plan.requests})
            return _Job(running, plan, room, audio_format, line, as_json=as_json).run(dry_run=dry_run)
    except KallglotError as error:
        complain(PROGRAM, str(error))
        return exit_code(error)
    except OSError as error:
        complain(PROGRAM, f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror))
        return INCOMPLETE
    except KeyboardInterrupt:
        complain(PROGRAM, "stopped before anything was fetched")
        leave(STOPPED)


def _items(
    line: Line, running: Running, things: tuple[str, ...], since: float | None, *, by_id: bool
) -> Iterator[str]:
    """Yield, each once, what is wanted."""
    seen: set[str] = set()
    for text in things:
        for item in warm_targets.items_of(text, running.mount_point, by_id=by_id):
            if item not in seen:
                seen.add(item)
                yield item
    start = since
    while start is not None:
        page = line.ask("warm.since", {"since": max(0.0, start), "until": time.time() + 86400.0})
        for item in page["ids"]:
            if item not in seen:
                seen.add(item)
                yield item
        start = page["next"]


class _Job:
    """One run of the command, once it is known what is wanted."""

    def __init__(
        self,
        running: Running,
        plan: Plan,
        room: dict[str, Any],
        audio_format: str | None,
        line: Line,
        *,
        as_json: bool,
    ) -> None:
        self._running = running
        self._plan = plan
        self._room = room
        self._format = audio_format
        self._line = line
        self._json = as_json
        self._before = int(room["api_requests"])
        self._began = time.monotonic()

    def run(self, *, dry_run: bool) -> int:
        """Say what it costs, do it, and say what became of it."""
        plan = self._plan
        if not self._json:
            for line in plan.lines(self._room):
                say(line)
        unfit = plan.unfit(self._room)
        if unfit is not None:
            complain(PROGRAM, unfit)
        if dry_run or unfit is not None:
            self._document()
            return INCOMPLETE if unfit is not None else 0
        passed_over = {each.name: each.state for each in plan.files.values() if each not in plan.wanted}
        run = Run(self._running, plan, self._format, self._room)
        run.start()
        try:
            self._watch(run)
        except KeyboardInterrupt:
            run.stop()
            have, size = run.totals()
            left, count = run.remaining()
            rest = f"{left} of {figures.count(count, 'file')} ({figures.size(size - have)}) remain"
            complain(PROGRAM, f"stopped: {rest}; the same command goes on where it was")
            leave(STOPPED)
        return self._end(run, passed_over)

    def _watch(self, run: Run) -> None:
        if self._json or not sys.stderr.isatty():
            self._in_lines(run)
            return
        columns = (
            TextColumn("warming"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[requests]}"),
        )
        have, size = run.totals()
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("warming", total=size, completed=have, requests="")
            while not run.wait(LOOK):
                have, size = run.totals()
                asked = figures.count(self._requests(), "request")
                bar.update(task, completed=have, total=size, requests=asked)

    def _in_lines(self, run: Run) -> None:
        said = time.monotonic()
        while not run.wait(LOOK):
            if time.monotonic() - said >= SAY and not self._json:
                said = time.monotonic()
                have, size = run.totals()
                rate = run.brought / (said - self._began)
                rest = f", {figures.duration((size - have) / rate)} left" if rate else ""
                so_far = f"{figures.size(have)} of {figures.size(size)}, {figures.size(rate)}/s{rest}"
                say(f"{so_far}, {figures.count(self._requests(), 'API request')}")

    def _requests(self) -> int:
        """Return the API requests that the mount has made meanwhile."""
        return int(self._line.ask("warm.room", {"requests": 0})["api_requests"]) - self._before

    def _end(self, run: Run, passed_over: dict[str, str]) -> int:
        """Make sure of it, and say so."""
        plan, outcome = self._plan, run.outcome
        if outcome.error is not None:
            raise outcome.error
        names = list(plan.files)
        plan.ask(self._line, names, None)
        failed = {**passed_over, **outcome.failed}
        for file in plan.left:
            failed.setdefault(file.name, "not tried" if outcome.stopped else "not all of it is on the disk")
        failed = {name: reason for name, reason in failed.items() if not self._is_there(name)}
        done = [each for each in plan.wanted if each.done]
        if not self._json:
            self._tell(run, failed)
        self._document(failed, brought=run.brought, done=len(done))
        if outcome.stopped:
            complain(PROGRAM, outcome.stopped)
        return INCOMPLETE if failed or outcome.stopped else 0

    def _is_there(self, name: str) -> bool:
        file = self._plan.files.get(name)
        return file is not None and file.done

    def _tell(self, run: Run, failed: dict[str, str]) -> None:
        tried = {name: reason for name, reason in failed.items() if reason != "not tried"}
        for name, reason in list(tried.items())[:TOLD]:
            complain(PROGRAM, f"{name}: {reason}")
        if len(tried) > TOLD:
            complain(PROGRAM, f"… and {len(tried) - TOLD} more")
        still = [each for each, kinds in run.outcome.documents.items() if kinds.get("transcript") == "open"]
        for each in still[:TOLD]:
            say(f"{each}: its transcript may still change, and is not kept on disk yet")
        done = [each for each in self._plan.wanted if each.done]
        size = sum(each.size or 0 for each in done)
        asked = figures.count(self._requests(), "API request")
        spent = f"{asked}, {figures.duration(time.monotonic() - self._began)}"
        rest = f"; {len(failed)} {'is' if len(failed) == 1 else 'are'} not" if failed else ""
        fetched = f"{figures.size(run.brought)} fetched, {spent}"
        are = "is" if len(done) == 1 else "are"
        say(f"{figures.count(len(done), 'file')} ({figures.size(size)}) {are} on disk{rest}; {fetched}")

    def _document(
        self, failed: dict[str, str] | None = None, brought: int = 0, done: int | None = None
    ) -> None:
        if not self._json:
            return
        plan = self._plan
        document = {
            "mount_point": os.fspath(self._running.mount_point),
            "files": len(plan.files),
            "bytes": plan.size,
            "on_disk": plan.have,
            "complete": len(plan.wanted) - len(plan.left) if done is None else done,
            "requests_to_come": plan.requests,
            "fetched": brought,
            "api_requests": self._requests(),
            "failed": failed or {},
        }
        say(json.dumps(document, indent=2))
