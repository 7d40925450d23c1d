"""`kallglotfs cache`: what is cached on disk; whether it is whole; away with it."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from kallglotfs import logs
from kallglotfs.assembly.cached import Cached, open_cached
from kallglotfs.cli import cache_views, figures
from kallglotfs.cli.cache_mounts import Sharing
from kallglotfs.cli.moments import age_seconds
from kallglotfs.cli.mounting import profile_of
from kallglotfs.cli.options import given, setting_options, usage_error
from kallglotfs.cli.report import complain, exit_code
from kallglotfs.cli.streams import say, secure_streams
from kallglotfs.clock import Clock
from kallglotfs.config.settings import load
from kallglotfs.errors import ConfigError, KallglotError
from kallglotfs.hardening import harden
from kallglotfs.vfs.naming import is_recording_id, is_session_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kallglotfs.assembly.cached import Broken, Survey
    from kallglotfs.config.settings import Settings

PROGRAM = "kallglotfs cache"
#: Exit code when something is broken, or could not be removed.
WRONG = 1
#: Broken blocks that are told one by one.
TOLD = 20

F = TypeVar("F", bound="Callable[..., Any]")


def _options(verb: F) -> F:
    """Give a verb the options that say which cache and whose."""
    verb = setting_options("api_url", "api_key_file", "config", "state_dir", "cache_dir", "disk_cache")(verb)
    verb = click.option(
        "-o", "texts", multiple=True, metavar="OPT[,OPT...]", help="Settings as mount(8) writes them."
    )(verb)
    return click.option("-p", "--profile", default="", metavar="PROFILE", help="Whose catalog. [default]")(
        verb
    )


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cache() -> None:
    """See, check and empty the disk cache. Works while mounted, and asks no service.

    \b
    Example:
      kallglotfs cache list
      kallglotfs cache verify --repair
      kallglotfs cache purge --older-than 30d
    """  # noqa: D301


@cache.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_options
def list_cached(profile: str, texts: tuple[str, ...], as_json: bool, **settings: str | None) -> int:  # noqa: FBT001
    """List what is cached, the last used first: bytes, how much of the file is there, when it was used.

    \b
    Example:
      kallglotfs cache list
      kallglotfs cache list --json | jq .used
    """  # noqa: D301

    def work(loaded: Settings, cached: Cached | None) -> int:
        survey = None if cached is None else cached.survey()
        cache_views.show(survey, loaded, as_json=as_json)
        return 0

    return _run(profile, texts, settings, work)


@cache.command()
@click.option("--repair", is_flag=True, help="Remove what is broken; it is fetched again when it is read.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_options
def verify(
    profile: str,
    texts: tuple[str, ...],
    repair: bool,  # noqa: FBT001 - click passes by name
    as_json: bool,  # noqa: FBT001
    **settings: str | None,
) -> int:
    """Open every block's seal: damage, tampering and files that do not belong there are found.

    A broken block is never read as audio, verified or not: it is noticed and fetched again. Exit code 1 when
    something is broken and still there.

    \b
    Example:
      kallglotfs cache verify
      kallglotfs cache verify --repair
    """  # noqa: D301

    def work(loaded: Settings, cached: Cached | None) -> int:
        if cached is None:
            say("nothing is cached")
            return 0
        with _progress(as_json=as_json) as (begin, advance):
            survey, broken = cached.check(begin, advance)
        wrong = len(broken) + len(survey.leftovers)
        if repair and wrong:
            cached.repair(broken)
            Sharing(loaded.cache_dir).recount()
        if as_json:
            cache_views.show_check(survey, broken, repaired=repair)
        else:
            _tell(survey, broken, repair=repair)
        return WRONG if survey.strays or (wrong and not repair) else 0

    return _run(profile, texts, settings, work)


@cache.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="Everything in the directory, other profiles' too.")
@click.option("--older-than", metavar="AGE", help="What was not used for so long: 30d, 12h.")
@_options
def purge(
    ids: tuple[str, ...],
    profile: str,
    texts: tuple[str, ...],
    everything: bool,  # noqa: FBT001
    older_than: str | None,
    **settings: str | None,
) -> int:
    """Destroy what is cached on disk: of recordings or sessions, of everything, or of what is old.

    What a mount has in memory goes on to be read. What is purged is known and listed as before; to let go of
    that too, see `kallglotfs forget`.

    \b
    Example:
      kallglotfs cache purge rec_01HABC987654321
      kallglotfs cache purge --older-than 30d
      kallglotfs cache purge --all
    """  # noqa: D301
    if bool(ids) + everything + (older_than is not None) != 1:
        raise click.UsageError("name ids, or --all, or --older-than")
    for each in ids:
        if not (is_recording_id(each) or is_session_id(each)):
            raise click.UsageError(f"{each[:80]!r}: not an id")
    try:
        age = None if older_than is None else age_seconds(older_than)
    except ValueError as error:
        raise click.UsageError(f"--older-than: {error}") from None

    def work(loaded: Settings, cached: Cached | None) -> int:
        folders = [] if cached is None else cached.chosen(ids, age)
        taken = sum(each.taken for each in folders)
        left = Sharing(loaded.cache_dir).destroy([each.name for each in folders])
        left += 0 if cached is None else cached.destroy(folders)
        subjects = figures.count(len(folders), "recording", "session")
        say(f"{subjects} purged ({figures.size(taken)})")
        if left:
            complain(PROGRAM, "not everything could be removed")
        return WRONG if left else 0

    # Without names there is no need for the key from which they are derived.
    return _run(profile, texts, settings, work, named=bool(ids))


def _run(
    profile: str,
    texts: tuple[str, ...],
    settings: dict[str, str | None],
    work: Callable[[Settings, Cached | None], int],
    *,
    named: bool = True,
) -> int:
    secure_streams()
    harden()
    try:
        loaded = load(given(texts, settings), profile_of(profile))
    except ConfigError as error:
        raise usage_error(error) from None
    logs.configure("error", None, sys.stderr)
    try:
        with open_cached(loaded, profile_of(profile), Clock(), named=named) as cached:
            return work(loaded, cached)
    except KallglotError as error:
        complain(PROGRAM, str(error))
        return exit_code(error)
    except OSError as error:
        complain(PROGRAM, f"cache_dir: {loaded.cache_dir}: {error.strerror}")
        return WRONG


def _tell(survey: Survey, broken: list[Broken], *, repair: bool) -> None:
    for each in broken[:TOLD]:
        complain(PROGRAM, f"{each.what}: {each.reason}{'; removed' if repair else ''}")
    if len(broken) > TOLD:
        complain(PROGRAM, f"… and {figures.count(len(broken) - TOLD, 'more block')}")
    for path in survey.strays[:TOLD]:
        complain(PROGRAM, f"{path}: does not belong there; left alone, remove it yourself")
    if survey.leftovers:
        gone = "; removed" if repair else ""
        complain(PROGRAM, f"given up half-written: {figures.count(len(survey.leftovers), 'file')}{gone}")
    checked = sum(len(each.folder.blocks) for each in survey.holdings)
    wrong = f"{len(broken)} broken" if broken else "all whole"
    hint = "" if repair or not (broken or survey.leftovers) else "; to remove them: --repair"
    subjects = figures.count(len(survey.holdings), "recording", "session")
    say(f"{figures.count(checked, 'block')} of {subjects} checked: {wrong}{hint}")
    if survey.others:
        blocks = sum(len(each.blocks) for each in survey.others)
        say(f"{figures.count(blocks, 'block')} of what this catalog and key do not know: cannot be checked")


@contextlib.contextmanager
def _progress(*, as_json: bool) -> Iterator[tuple[Callable[[int], None], Callable[[int], None]]]:
    """Show a progress bar on standard error, where somebody looks."""
    if as_json or not sys.stderr.isatty():
        yield (lambda _: None), (lambda _: None)
        return
    columns = (TextColumn("checking"), BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("checking", total=None)
        yield (lambda total: bar.update(task, total=total)), (lambda count: bar.advance(task, count))
