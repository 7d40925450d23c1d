"""All checks in one go: which depend on which, side by side where they do not, none without an end.

A check that hangs is left behind on its thread and told as one; what depends on it is not checked. Whoever
calls this should end the process without waiting for threads.

Threading: the network's checks run on a thread of their own, each check with a limit on a thread below it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from kallglotfs.catalog.store import catalog_path
from kallglotfs.config.credentials import Credentials
from kallglotfs.doctor import (
    catalog,
    configured,
    fuse,
    installation,
    kernel,
    mounts,
    network,
    places,
    service,
)
from kallglotfs.doctor.contact import Contact
from kallglotfs.doctor.finding import Finding, Level, failed, failure, skipped
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
_OF_NETWORK = ("name of the API", "connection to the API", "TLS")
_OF_SERVICE = (service.KEY, service.LIMIT, service.GENERATION, service.CLOCK, service.STORAGE)


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
        names = (
            "key source",
            "state_dir",
            "catalog",
            "cache_dir",
            "log_file",
            "webhooks",
            *_OF_NETWORK,
            *_OF_SERVICE,
        )
        add(skipped(name, because) for name in names)
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
    talk = _Talk(settings, credentials, clock, key, known)
    if offline:
        remote = [skipped(name, "--offline") for name in (*_OF_NETWORK, *_OF_SERVICE)]
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
        remote = talk.outcome(finished=not working.is_alive())
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


class _Talk:
    """The network's checks, each only if those before it went well.

    Args:
        settings: of the profile.
        credentials: where the key is.
        clock: what tells the time.
        key: what was found of the key's place.
        known: a recording to try the storage with.
    """

    def __init__(
        self,
        settings: Settings,
        credentials: Credentials,
        clock: Clock,
        key: Finding,
        known: Recording | None,
    ) -> None:
        self._settings = settings
        self._credentials = credentials
        self._clock = clock
        self._key = key
        self._known = known
        self._found: list[Finding] = []
        self._because = "the network's checks took too long"
        self._contact: Contact | None = None

    @property
    def requests(self) -> int:
        """API requests spent so far."""
        return self._contact.requests if self._contact is not None else 0

    def run(self) -> None:
        """Check; ends at the first failure that the rest depends on."""
        try:
            because = self._network() or self._service()
        except Exception as error:  # noqa: BLE001 - what was found before is worth telling
            because = f"the check before failed itself ({type(error).__name__})"
        self._because = because

    def outcome(self, *, finished: bool) -> list[Finding]:
        """Return what was found so far; `finished` tells whether more would have come."""
        found = list(self._found)
        because = self._because
        if not finished:
            slow = f"no end within {ALTOGETHER:g} s"
            found.append(failure("network", slow, f"see what is slow: curl -sv {self._settings.api_url}"))
        told = {finding.name for finding in found}
        proxied = "name of the proxy" in told
        names = (*(() if proxied else _OF_NETWORK), *_OF_SERVICE)
        return [*found, *(skipped(name, because) for name in names if name not in told)]

    def _add(self, finding: Finding) -> bool:
        """Note a finding; tell whether it is a failure."""
        self._found.append(finding)
        return finding.level is Level.FAILURE

    def _network(self) -> str:
        """Go all the way to the API; return why it cannot be asked, nothing if it can."""
        target, finding = network.proxy(self._settings.api_url)
        self._add(finding)
        if target is None:
            return "the environment's proxy or certificates cannot be used"
        addresses, finding = network.resolve(target)
        if self._add(finding):
            return f"{target.host} cannot be resolved"
        connection, finding = network.connect(target, addresses)
        if self._add(finding) or connection is None:
            return f"{target.host} cannot be reached"
        with connection:
            if not target.proxied and self._add(network.certificate(target, connection)):
                return f"{target.host} cannot be trusted"
        return ""

    def _service(self) -> str:
        """Ask the service; return why the rest was not checked."""
        if self._key.level is Level.FAILURE:
            return "there is no usable key"
        self._contact = contact = Contact(self._settings, self._credentials.read, self._clock)
        heard = contact.ask(self._known)
        if heard.answers:
            self._add(service.clock(heard, webhooks=self._settings.webhook_listen is not None))
        key = service.key(heard, self._settings.throttle_timeout)
        self._add(key)
        if key.level is not Level.OK:
            return "the API does not serve this key now"
        self._add(service.limit(heard))
        self._add(service.generation(heard))
        if self._known is None:
            return "no recording is known; name one: --recording ID"
        if heard.recording is None:
            return f"{self._known.id} is not there any more; name another one: --recording ID"
        self._add(service.storage(heard.recording, contact.fetch))
        return ""
