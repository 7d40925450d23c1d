"""All checks in one go: which depend on which, side by side where they do not, none without an end.

A check that hangs is left behind on its thread and told as one; what depends on it is not checked. Whoever
calls this should end the process without waiting for threads.

Threading: the network's checks run on one thread beside the others, of which each has one of its own.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from kallglotfs.catalog.store import catalog_path
from kallglotfs.config.credentials import Credentials
from kallglotfs.doctor import catalog, configured, fuse, installation, kernel, mounts, places
from kallglotfs.doctor.finding import Finding, Level, failed, failure, skipped
from kallglotfs.doctor.talk import OF_NETWORK, OF_SERVICE, Talk
from kallglotfs.errors import KallglotError
from kallglotfs.model import Recording

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kallglotfs.clock import Clock
    from kallglotfs.config.settings import Settings

T = TypeVar("T")

#: Seconds that a check of this machine may take.
LOCAL = 3.0
#: Seconds after which the network's checks are left as they are: counted from the start, and at least these.
ALTOGETHER, LEAST = 20.0, 5.0
_OF_SETTINGS = ("key source", "state_dir", "catalog", "cache_dir", "log_file", "webhooks")


@dataclass
class Report:
    """What all checks have found.

    Attributes:
        profile: whose set-up it is.
        api_url: of the profile, empty where the settings cannot be read.
        findings: in the order of the checks.
        requests: API requests spent.
    """

    profile: str
    api_url: str = ""
    findings: list[Finding] = field(default_factory=list)
    requests: int = 0

    def of(self, level: Level) -> list[Finding]:
        """Return the findings of one level."""
        return [finding for finding in self.findings if finding.level is level]


def examine(
    profile: str, options: Mapping[str, str], clock: Clock, *, offline: bool = False, recording: str = ""
) -> Report:
    """Look at everything a mount needs; nothing is changed.

    Args:
        profile: whose.
        options: settings by name, as for a mount.
        clock: what tells the time.
        offline: leave the network alone.
        recording: id of one to try the storage with; empty to take one that is known.
    """
    report = Report(profile)
    add, began = report.findings.extend, clock.now()
    # First, and without threads: each mount is asked by a fork of this process.
    standing = mounts.mounts()
    settings, finding = configured.settings(options, profile)
    add([finding])
    if settings is None:
        add(_machine(None))
        add(standing)
        because = "the settings cannot be read"
        add(skipped(name, because) for name in (*_OF_SETTINGS, *OF_NETWORK, *OF_SERVICE))
        return report
    report.api_url = settings.api_url
    credentials = Credentials(settings.api_key_file, profile=profile)
    key = limited("key source", lambda: configured.key(credentials, settings.api_key_file))
    add([key, configured.api_url(settings)])
    local = _files(settings, profile)
    known = Recording(recording) if recording else None
    if known is None and any(each.name == catalog.NAME and each.level is Level.OK for each in local):
        path = catalog_path(settings.state_dir, profile, settings.api_url)
        known = _timed(lambda: catalog.example(path, clock), LOCAL)
    talk = Talk(settings, credentials, clock, key, known)
    if offline:
        remote = [skipped(name, "--offline") for name in (*OF_NETWORK, *OF_SERVICE)]
        working = None
    else:
        working = threading.Thread(target=talk.run, daemon=True)
        working.start()
    add(_machine(settings))
    add(standing)
    add(local)
    mounted = any(each.level is Level.OK and each.found != "none" for each in standing)
    add([limited("webhooks", lambda: configured.webhooks(settings, mounted=mounted))])
    if working is not None:
        working.join(max(LEAST, ALTOGETHER - (clock.now() - began)))
        remote = talk.outcome(after=ALTOGETHER if working.is_alive() else None)
    add(remote)
    report.requests = talk.requests
    return report


def limited(name: str, check: Callable[[], Finding], seconds: float = LOCAL) -> Finding:
    """Return what a check finds, or that it did not end in time."""
    found = _timed(lambda: _guarded(name, check), seconds)
    return found or failure(
        name, f"no answer within {seconds:g} s", "see what hangs there: a network filesystem?"
    )


def _guarded(name: str, check: Callable[[], Finding]) -> Finding:
    """Return what a check finds; that it fails itself must not keep the others from telling."""
    try:
        return check()
    except KallglotError as error:
        return failed(name, error, "mend what it says")
    except Exception as error:  # noqa: BLE001 - the machine may be broken in any way
        reason = getattr(error, "strerror", None) or type(error).__name__
        return skipped(name, f"the check itself failed ({reason})")


def _timed(work: Callable[[], T], seconds: float) -> T | None:
    """Return what `work` returns, None when it takes too long; it is left behind then."""
    found: list[T] = []
    thread = threading.Thread(target=lambda: found.append(work()), daemon=True)
    thread.start()
    thread.join(seconds)
    return found[0] if found else None


def _machine(settings: Settings | None) -> list[Finding]:
    """Return what was found of this machine; without settings, what depends on none."""
    wanted = settings is not None and settings.allow_other
    checks: list[tuple[str, Callable[[], Finding]]] = [
        ("/dev/fuse", fuse.device),
        ("libfuse", fuse.library),
        (fuse.PROGRAM, fuse.fusermount),
        ("user_allow_other", lambda: fuse.permission_for_others(wanted=wanted)),
        (str(installation.LINK), installation.helper_link),
        ("versions", installation.versions),
        ("read-ahead", kernel.read_ahead),
        ("background requests", kernel.background),
        ("open files", kernel.descriptors),
    ]
    if settings is not None:
        times = settings.timeout, settings.throttle_timeout
        checks.append(("request limit", lambda: kernel.request_limit(*times)))
    return [limited(name, check) for name, check in checks]


def _files(settings: Settings, profile: str) -> list[Finding]:
    state = limited("state_dir", lambda: places.state(settings.state_dir))
    path = catalog_path(settings.state_dir, profile, settings.api_url)
    kept = (
        skipped(catalog.NAME, "state_dir cannot be used")
        if state.level is Level.FAILURE
        else limited(catalog.NAME, lambda: catalog.catalog(path))
    )
    cache = limited("cache_dir", lambda: places.cache(settings.cache_dir, settings.disk_cache))
    log = limited("log_file", lambda: places.log(settings.log_file))
    return [state, kept, cache, log]
