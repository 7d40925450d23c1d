"""What `mount.kallglotfs` and `kallglotfs mount` share: from a profile and options to a running mount."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

from kallglotfs import libfuse, logs
from kallglotfs.assembly.remote import check_key
from kallglotfs.background import Failed, in_background, leave
from kallglotfs.claim import Claim
from kallglotfs.cli.report import FAILED, complain, exit_code
from kallglotfs.cli.streams import say, secure_streams
from kallglotfs.clock import Clock
from kallglotfs.config.credentials import Credentials
from kallglotfs.config.names import DEFAULT_ALIAS, DEFAULT_PROFILE
from kallglotfs.config.settings import load
from kallglotfs.errors import ConfigError, KallglotError, MountError
from kallglotfs.hardening import harden, raise_descriptors
from kallglotfs.logs.state import tell
from kallglotfs.mount import Mount
from kallglotfs.mountpoint import check_mount_point, probe, resolved
from kallglotfs.notify import Notifier
from kallglotfs.reload import Reload
from kallglotfs.signals import has_terminal
from kallglotfs.unmounting import clear_dead, unmount
from kallglotfs.webhooks.secrets import WebhookSecrets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

    from kallglotfs.config.settings import Settings


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be mounted.

    Attributes:
        program: our name in messages.
        source: the profile.
        mount_point: as the user wrote it.
        options: settings by name.
        foreground: stay, and log to standard error.
        fake: check everything, mount nothing.
        verbose: say what is done.
    """

    program: str
    source: str
    mount_point: str
    options: Mapping[str, str]
    foreground: bool = False
    fake: bool = False
    verbose: bool = False


def run(request: Request) -> int:
    """Mount as asked.

    Returns:
        The exit code; every failure has been printed as one line.
    """
    secure_streams()
    # Taken out of the environment whatever comes; in the background we are not the process it is for.
    notifier = Notifier.from_environment()
    if not request.foreground:
        notifier = Notifier()
    harden()
    raise_descriptors()
    profile = profile_of(request.source)
    try:
        settings = load(request.options, profile)
        mount_point = resolved(request.mount_point)
        dead = check_mount_point(mount_point)
        credentials = Credentials(settings.api_key_file, profile=profile)
        credentials.read()
        if settings.webhook_listen is not None:
            WebhookSecrets(settings.webhook_secret_file).read()
        libfuse.check_device()
        binding = libfuse.load()
    except KallglotError as error:
        complain(request.program, str(error))
        return exit_code(error)
    credentials.forget_environment()
    plan = _Plan(
        request, settings, profile, mount_point, credentials, binding, Clock(), _directory(), notifier
    )
    if request.fake:
        if dead:
            complain(request.program, f"{mount_point}: a dead mount is there; mounting would clear it")
        return _told(request.program, lambda: plan.check(sys.stderr.fileno()))
    if request.foreground:
        leave(_told(request.program, lambda: plan.serve(sys.stderr.fileno(), plan.say_ready)))
    return in_background(
        lambda ready: plan.serve(None, ready),
        lambda _, message: complain(request.program, message),
        plan.confirm,
    )


def profile_of(source: str | None) -> str:
    """Return the profile a source names; `kallglot` and none at all are the default."""
    return DEFAULT_PROFILE if source in (None, "", "none", DEFAULT_ALIAS) else str(source)


@dataclass(frozen=True, slots=True)
class _Plan:
    request: Request
    settings: Settings
    profile: str
    mount_point: str
    credentials: Credentials
    binding: ModuleType
    clock: Clock
    directory: str = ""
    notifier: Notifier = field(default_factory=Notifier)

    def check(self, stderr: int | None) -> int:
        """Check what can be checked without mounting."""
        self._log_to(stderr)
        if not self._check_key() and self.request.verbose:
            say(f"{self.profile} can be mounted on {self.mount_point}")
        return 0

    def serve(self, stderr: int | None, ready: Callable[[], None]) -> int:
        """Mount and serve until the end."""
        log = self._log_to(stderr)
        doubt = self._check_key()
        if doubt and stderr is None:
            # The user who waits does not see the log.
            complain(self.request.program, doubt)
        claim = Claim(self.mount_point)

        def mounted() -> None:
            claim.release()
            ready()

        try:
            claim.take()
            if check_mount_point(self.mount_point):
                clear_dead(self.mount_point)
                check_mount_point(self.mount_point)
            mount = Mount(
                self.settings,
                self.profile,
                self.mount_point,
                self.credentials.read,
                self.binding,
                self.clock,
                self.notifier,
                self.request.source,
            )
            return mount.serve(mounted, self._on_signal(mount, log))
        except KallglotError as error:
            raise Failed(exit_code(error), str(error)) from None
        finally:
            claim.release()

    def confirm(self) -> int:
        """Make sure, in the process that goes back to the user, that the mount answers."""
        number = probe(self.mount_point)
        if number == 0:
            self.say_ready()
            return 0
        reason = "in time" if number is None else f"({os.strerror(number)})"
        complain(self.request.program, f"{self.mount_point}: the mount does not answer {reason}")
        with contextlib.suppress(MountError):
            unmount(self.mount_point, lazy=True)
        return FAILED

    def say_ready(self) -> None:
        """Tell an interested user that the mount is there."""
        if self.request.verbose or self.request.foreground:
            say(f"{self.profile} mounted on {self.mount_point}")

    def _on_signal(self, mount: Mount, log: logs.Log) -> dict[int, Callable[[], None]]:
        """Return what signals ask for, but to end.

        In the foreground of a terminal SIGHUP says that it is gone, and so is whoever has the mount there.
        Elsewhere nobody sends it but who wants the settings to be read again; nor does who has had it ignored
        (nohup).
        """
        reload = Reload(
            lambda: load(self.request.options, self.profile, directory=self.directory),
            self.settings,
            self.credentials,
            log,
            mount.adopt,
            mount.renew_key,
            self.notifier,
        )
        actions: dict[int, Callable[[], None]] = {
            signal.SIGUSR1: lambda: tell(mount.status(), as_json=log.as_json)
        }
        ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        if ignored or not (self.request.foreground and has_terminal()):
            actions[signal.SIGHUP] = reload.run
        return actions

    def _check_key(self) -> str:
        try:
            return check_key(self.settings, self.credentials.read, self.clock)
        except KallglotError as error:
            raise Failed(exit_code(error), str(error)) from None

    def _log_to(self, stderr: int | None) -> logs.Log:
        stream = None
        if stderr is not None:
            # A copy, never closed: what libfuse writes to the original is caught while the mount is made.
            stream = os.fdopen(os.dup(stderr), "w", 1, errors="backslashreplace", closefd=False)
        settings = self.settings
        try:
            return logs.configure(
                settings.log_level, settings.log_file, stream, settings.log_format, self.mount_point
            )
        except OSError as error:
            raise Failed(exit_code(ConfigError()), f"log_file: {error.strerror}: {_name(error)}") from None


def _directory() -> str:
    """Return where relative paths start, also once we have left it; "" where it is gone."""
    try:
        return str(Path.cwd())
    except OSError:
        return ""


def _name(error: OSError) -> str:
    return str(Path(error.filename)) if error.filename else "?"


def _told(program: str, work: Callable[[], int]) -> int:
    try:
        return work()
    except Failed as failure:
        complain(program, failure.message)
        return failure.code
