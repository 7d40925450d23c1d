"""`kallglotfs forget`: let go of recordings, and of what is cached of them."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

import click

from kallglotfs import logs
from kallglotfs.assembly.stores import open_cache, open_store
from kallglotfs.catalog.forgetting import Forgetter
from kallglotfs.catalog.session_store import SessionStore
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
from kallglotfs.vfs.naming import is_recording_id, is_session_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kallglotfs.config.settings import Settings

PROGRAM = "kallglotfs forget"
#: Exit code when something was not forgotten.
INCOMPLETE = 1


@click.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("-p", "--profile", default="", metavar="PROFILE", help="Whose catalog. [default]")
@click.option("-o", "texts", multiple=True, metavar="OPT[,OPT...]", help="Settings as mount(8) writes them.")
@setting_options("api_url", "api_key_file", "config", "state_dir", "cache_dir", "disk_cache")
def forget(ids: tuple[str, ...], profile: str, texts: tuple[str, ...], **settings: str | None) -> int:
    """Forget recordings: they are listed no more, and what is cached of them is destroyed.

    A session id stands for all of its recordings and its transcript. Works while mounted; a mount lets go of
    what it has in memory within a minute. Nothing is deleted at the service.

    \b
    Example:
      kallglotfs forget rec_01HABC987654321
      kallglotfs forget sess_01HXYZ
    """  # noqa: D301
    secure_streams()
    harden()
    try:
        loaded = load(given(texts, settings), profile_of(profile))
    except ConfigError as error:
        raise usage_error(error) from None
    logs.configure("error", None, sys.stderr)
    try:
        return _run(loaded, profile_of(profile), ids)
    except KallglotError as error:
        complain(PROGRAM, str(error))
        return exit_code(error)


def _run(settings: Settings, profile: str, ids: tuple[str, ...]) -> int:
    clock = Clock()
    store = open_store(settings, profile, clock)
    code = 0
    try:
        with _cache(settings, profile, clock) as destroy:
            forgetter = Forgetter(store, SessionStore(store.database), destroy, is_session_id, clock)
            for text in ids:
                if not (is_recording_id(text) or is_session_id(text)):
                    complain(PROGRAM, f"{text[:80]!r}: not an id")
                    code = INCOMPLETE
                    continue
                known, destroyed = forgetter.forget(text)
                what = f"{figures.count(known, 'recording')} forgotten" if known else "was not known"
                say(f"{text}: {what}")
                if not destroyed:
                    complain(PROGRAM, f"{text}: not everything that is cached on disk could be removed")
                    code = INCOMPLETE
    finally:
        store.close()
    return code


@contextlib.contextmanager
def _cache(settings: Settings, profile: str, clock: Clock) -> Iterator[Callable[[str], bool]]:
    """Give what destroys cached blocks; without a disk tier there are none."""
    if not settings.disk_cache:
        yield lambda _: True
        return
    # The names of the files are derived from the key.
    disk = open_cache(settings, Credentials(settings.api_key_file, profile=profile).read, clock)
    try:
        yield disk.destroy
    finally:
        disk.close()
