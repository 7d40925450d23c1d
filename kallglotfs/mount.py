"""One mount from its beginning to its end: mounts, serves, takes down.

What is below the callbacks is put together in `assembly/`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from typing import TYPE_CHECKING, Any

from kallglotfs import libfuse
from kallglotfs.assembly.parts import Parts
from kallglotfs.background import leave
from kallglotfs.callers import Callers
from kallglotfs.errors import MountError
from kallglotfs.mountpoint import KIND, mounts_at
from kallglotfs.negotiation import raise_read_ahead
from kallglotfs.operations import Operations
from kallglotfs.programs import DeniedPrograms
from kallglotfs.request_limit import fitted, kernel_limit
from kallglotfs.self_check import Begun, Question, SelfCheck
from kallglotfs.signals import Signals
from kallglotfs.unmounting import unmount
from kallglotfs.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

    from kallglotfs.clock import Clock
    from kallglotfs.config.settings import Settings
    from kallglotfs.model import Secret
    from kallglotfs.notify import Notifier

log = logging.getLogger(__name__)

#: Seconds the mount may take to answer before the service manager is told that it is ready.
ANSWER = 10.0


def _within_kernel_limit(settings: Settings) -> Settings:
    timeout, throttle_timeout = fitted(settings.timeout, settings.throttle_timeout, kernel_limit())
    return settings.model_copy(update={"timeout": timeout, "throttle_timeout": throttle_timeout})


def _shown(settings: Settings) -> tuple[int, int, int]:
    """Return owner, group and umask that files show."""
    uid = os.getuid() if settings.uid is None else settings.uid
    gid = os.getgid() if settings.gid is None else settings.gid
    return uid, gid, settings.umask


class Mount:
    """One mount from its parts to its end.

    Args:
        settings: all of them.
        profile: the profile's name, the mount's source.
        mount_point: absolute path, checked.
        read_key: reads the API key afresh.
        binding: libfuse, from `libfuse.load`.
        clock: what tells the time.
        notifier: tells the service manager.
    """

    def __init__(
        self,
        settings: Settings,
        profile: str,
        mount_point: str,
        read_key: Callable[[], Secret],
        binding: ModuleType,
        clock: Clock,
        notifier: Notifier,
    ) -> None:
        settings = _within_kernel_limit(settings)
        self._settings = settings
        self._mount_point = mount_point
        self._clock = clock
        self._session = libfuse.Session(
            binding, mount_point, profile, allow_other=settings.allow_other, leave=self._leave
        )
        self._parts = Parts(
            settings, profile, mount_point, read_key, self._session.drop_pages, libfuse.THREADS, clock
        )
        self._denied = DeniedPrograms(settings.deny_programs)
        self._operations = self._build()
        self._notifier = notifier
        self._question = Question(mount_point)
        self._watchdog = self._build_watchdog()

    def serve(self, ready: Callable[[], None], on_signal: Mapping[int, Callable[[], None]]) -> int:
        """Mount, call `ready` once the mount answers, and serve until it ends.

        Args:
            ready: called once the mount answers.
            on_signal: what to do, on a thread, when a signal arrives. Of those that are not named, SIGTERM,
                SIGINT and SIGHUP end the mount.

        Returns:
            The exit code.

        Raises:
            MountError: the mount cannot be made.
        """
        signals = Signals(on_signal, self._session.stop, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
        signals.take()
        try:
            self._session.start(self._operations)
            try:
                self._check_mounted()
                self._check_answers()
            except MountError:
                # Gone before anybody is told that it failed.
                self._session.stop()
                self._session.wait()
                raise
            self._parts.start()
            log.info("mounted on %s", self._mount_point)
            ready()
            self._notifier.ready(f"mounted on {self._mount_point}")
            self._watchdog.start()
            # Not before: a reload tells the service manager that we are ready.
            signals.start()
            self._session.wait()
            self._say_ending()
            log.info("unmounted %s", self._mount_point)
        finally:
            signals.stop()
            self._parts.stop()
        return 0

    def adopt(self, settings: Settings) -> None:
        """Take over the settings that may change; what is under way goes on as it began."""
        settings = _within_kernel_limit(settings)
        self._denied = DeniedPrograms(settings.deny_programs)
        self._operations.adopt(settings.timeout, settings.throttle_timeout, *_shown(settings))
        self._parts.adopt(settings)

    def renew_key(self) -> None:
        """Take over the key that is kept now."""
        self._parts.renew_key()

    def status(self) -> dict[str, Any]:
        """Return the state of everything."""
        return self._parts.status()

    def _build(self) -> Operations:
        settings, session = self._settings, self._session
        uid, gid, umask = _shown(settings)
        callers = Callers(self._clock.now)
        return Operations(
            self._parts.filesystem,
            self._clock,
            settings.timeout,
            session.interrupted,
            session.caller,
            uid=uid,
            gid=gid,
            umask=umask,
            denied=lambda: self._denied.has(session.caller()),
            on_init=session.connected,
            who=lambda: callers.of(session.caller()),
            throttle_timeout=settings.throttle_timeout,
        )

    def _build_watchdog(self) -> Watchdog:
        parts = self._parts
        check = SelfCheck(
            self._question.answer,
            self._operations.calls,
            libfuse.THREADS,
            self._operations.longest,
            Begun(parts.demand, parts.received).overdue,
        )
        return Watchdog(self._notifier, check.trouble, parts.status, self._mount_point)

    def _check_answers(self) -> None:
        """Make sure that others get an answer, before a service manager has them come.

        Without one, who started us makes sure of it.
        """
        if self._notifier.listening and self._question.answer(ANSWER) != 0:
            raise MountError(f"{self._mount_point}: the mount does not answer")

    def _say_ending(self) -> None:
        self._watchdog.stop()
        self._notifier.stopping()

    def _check_mounted(self) -> None:
        """Make sure that the mount is there, and alone.

        Nothing in this process looks at what is mounted: killed while it waits for its own answer, it would
        never be gone. The kernel holds requests back until it has our answer to INIT, and then we answer.
        """
        if self._session.stopping:
            raise MountError(f"{self._mount_point}: told to stop while it was mounted")
        found = [each for each in mounts_at(self._mount_point) if each.kind != "autofs"]
        if not found or found[-1].kind != KIND:
            raise MountError(f"{self._mount_point}: the kernel shows no mount")
        if len(found) > 1:
            raise MountError(f"{self._mount_point}: in use, {found[0].source} was mounted there meanwhile")
        raise_read_ahead(found[-1].device)

    def _leave(self) -> None:
        """End the process although the session has not ended."""
        log.warning("%s: does not end by itself, leaving it", self._mount_point)
        self._say_ending()
        if any(each.kind == KIND for each in mounts_at(self._mount_point)):
            with contextlib.suppress(MountError):
                unmount(self._mount_point, lazy=True)
        leave(0)
