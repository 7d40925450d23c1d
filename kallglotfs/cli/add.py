"""`kallglotfs add`: name recordings, so that the mount lists them."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from kallglotfs import logs
from kallglotfs.assembly.remote import build_remote
from kallglotfs.assembly.stores import open_store
from kallglotfs.catalog.adding import Adder, Outcome, Result
from kallglotfs.catalog.id_lists import Entry, read_ids
from kallglotfs.cli import figures
from kallglotfs.cli.mounting import profile_of
from kallglotfs.cli.options import given, setting_options, usage_error
from kallglotfs.cli.report import complain, exit_code
from kallglotfs.cli.streams import say, secure_streams
from kallglotfs.clock import Clock
from kallglotfs.config.credentials import Credentials
from kallglotfs.config.settings import load
from kallglotfs.errors import ConfigError, KallglotError
from kallglotfs.hardening import harden
from kallglotfs.tally import Tally
from kallglotfs.vfs.naming import is_recording_id, is_session_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kallglotfs.catalog.store import CatalogStore
    from kallglotfs.config.settings import Settings

PROGRAM = "kallglotfs add"
#: What `remote.api` counts items of lists as that it has passed over.
ITEMS = "items of lists"
#: Exit code when something was not added.
INCOMPLETE = 1
#: Ids from which a progress bar is worth its lines.
LONG = 10
#: Seconds `add` waits for the rate limit: nobody is kept waiting by it but its own user.
PATIENCE = 3600.0


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option(
    "-F", "--file", "files", multiple=True, metavar="FILE", help="File with ids; - is standard input."
)
@click.option("-p", "--profile", default="", metavar="PROFILE", help="Whose catalog. [default]")
@click.option("-o", "texts", multiple=True, metavar="OPT[,OPT...]", help="Settings as mount(8) writes them.")
@setting_options("api_url", "api_key_file", "config", "state_dir", "timeout")
def add(
    ids: tuple[str, ...], files: tuple[str, ...], profile: str, texts: tuple[str, ...], **settings: str | None
) -> int:
    """Add recordings to what the mount lists: recording ids, or session ids for all of theirs.

    Files hold one id a line, or CSV or JSON lines with a column "id". Ids that are known already cost no
    API request, so an interrupted run is simply repeated. Works while mounted.

    \b
    Example:
      kallglotfs add rec_01HABC987654321 sess_01HXYZ
      kallglotfs add --file calls.csv
      cut -f2 report.tsv | kallglotfs add -
    """  # noqa: D301
    secure_streams()
    harden()
    try:
        loaded = load(given(texts, settings), profile_of(profile))
    except ConfigError as error:
        raise usage_error(error) from None
    try:
        entries = list(_entries(ids, files))
        logs.configure("error", None, sys.stderr)
        return _run(loaded, profile_of(profile), entries)
    except OSError as error:
        complain(PROGRAM, f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror))
        return INCOMPLETE
    except KallglotError as error:
        complain(PROGRAM, str(error))
        return exit_code(error)


def _entries(ids: Iterable[str], files: Iterable[str]) -> Iterator[tuple[str, Entry]]:
    """Yield every id with the words that tell where it stands."""
    for text in ids:
        if text == "-":
            yield from _from_file("-")
        else:
            yield "", Entry(0, text)
    for name in files:
        yield from _from_file(name)


def _from_file(name: str) -> Iterator[tuple[str, Entry]]:
    if name == "-":
        sys.stdin.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr] # a real stream
        yield from ((f"line {entry.line}: ", entry) for entry in read_ids(sys.stdin))
        return
    with Path(name).open(encoding="utf-8", errors="replace") as lines:
        yield from ((f"{name}:{entry.line}: ", entry) for entry in read_ids(lines))


def _run(settings: Settings, profile: str, entries: list[tuple[str, Entry]]) -> int:
    if not entries:
        raise click.UsageError("no ids given: name some, or a --file, or - for standard input")
    clock = Clock()
    credentials = Credentials(settings.api_key_file, profile=profile)
    store = open_store(settings, profile, clock)
    try:
        adder, passed_over = _adder(settings, credentials, store, clock)
        return _add_all(adder, entries, passed_over)
    finally:
        store.close()


def _adder(
    settings: Settings, credentials: Credentials, store: CatalogStore, clock: Clock
) -> tuple[Adder, Callable[[], int]]:
    """Return who adds, and who tells how many items of the service's lists were none."""
    patient = settings.model_copy(update={"throttle_timeout": PATIENCE})
    remote = build_remote(patient, credentials.read, store, clock, Tally())
    adder = Adder(store, remote.service, is_recording_id, is_session_id, clock, settings.timeout)
    return adder, lambda: remote.api.oddities.counts().get(ITEMS, 0)


def _add_all(adder: Adder, entries: list[tuple[str, Entry]], passed_over: Callable[[], int]) -> int:
    results: Counter[Result] = Counter()
    new = done = skipped = 0
    seen: set[str] = set()
    with _progress(len(entries)) as advance:
        try:
            for where, entry in entries:
                outcome = _add_one(adder, entry, seen)
                results[outcome.result] += 1
                new += outcome.added
                skipped += outcome.skipped
                if outcome.result not in (Result.ADDED, Result.KNOWN):
                    reason = f" ({outcome.reason})" if outcome.reason else ""
                    complain(PROGRAM, f"{where}{outcome.text[:80]!r}: {outcome.result.value}{reason}")
                done += 1
                advance(1)
        except KallglotError as error:
            ids = figures.count(len(entries), "id")
            complain(PROGRAM, f"{error}; {len(entries) - done} of {ids} not tried")
            return exit_code(error)
        finally:
            counts = ", ".join(f"{count} {result.value}" for result, count in results.items() if count)
            say(f"{figures.count(new, 'recording')} added (ids: {counts or 'none tried'})")
            if skipped := skipped + passed_over():
                items = figures.count(skipped, "item")
                are = "is no recording" if skipped == 1 else "are no recordings"
                complain(PROGRAM, f"{items} of the service's lists {are}: passed over")
    bad = results[Result.UNKNOWN] + results[Result.BAD] + results[Result.FAILED]
    return INCOMPLETE if bad else 0


def _add_one(adder: Adder, entry: Entry, seen: set[str]) -> Outcome:
    if entry.text is None:
        return Outcome("", Result.BAD, reason="no id in this line")
    if entry.text in seen:
        return Outcome(entry.text, Result.KNOWN)
    seen.add(entry.text)
    return adder.add(entry.text)


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on standard error, where somebody looks and it takes long enough."""
    if total < LONG or not sys.stderr.isatty():
        yield lambda _: None
        return
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("adding", total=total)
        yield lambda count: bar.advance(task, count)
