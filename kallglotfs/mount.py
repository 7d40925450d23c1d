"""One mount from its beginning to its end: mounts, serves, takes down.

What is below the callbacks is put together in `assembly/`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from typing import TYPE_CHECKING

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
from kallglotfs.unmounting import unmount

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from kallglotfs.clock import Clock
    from kallglotfs.config.settings import Settings
    from kallglotfs.model import Secret

log = logging.getLogger(__name__)


def _within_kernel_limit(settings: Settings) -> Settings:
    timeout, throttle_timeout = fitted(settings.timeout, settings.throttle_timeout, kernel_limit())
    return settings.model_copy(update={"timeout": timeout, "throttle_timeout": throttle_timeout})


class Mount:
    """One mount from its parts to its end.

    Args:
        settings: all of them.
        profile: the profile's name, the mount's source.
        mount_point: absolute path, checked.
        read_key: reads the API key afresh.
        binding: libfuse, from `libfuse.load`.
        clock: what tells the time.
    """

    def __init__(
        self,
        settings: Settings,
        profile: str,
        mount_point: str,
        read_key: Callable[[], Secret],
        binding: ModuleType,
        clock: Clock,
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
        self._operations = self._build()

    def serve(self, ready: Callable[[], None]) -> int:
        """Mount, call `ready` once the mount answers, and serve until it ends.

        Returns:
            The exit code.

        Raises:
            MountError: the mount cannot be made.
        """
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: self._session.stop())
        try:
            self._session.start(self._operations)
            try:
                self._check_mounted()
            except MountError:
                # Gone before anybody is told that it failed.
                self._session.stop()
                self._session.wait()
                raise
            self._parts.start()
            log.info("mounted on %s", self._mount_point)
            ready()
            self._session.wait()
            log.info("unmounted %s", self._mount_point)
        finally:
            self._parts.stop()
        return 0

    def _build(self) -> Operations:
        settings, session = self._settings, self._session
        denied = DeniedPrograms(settings.deny_programs)
        callers = Callers(self._clock.now)
        return Operations(
            self._parts.filesystem,
            self._clock,
            settings.timeout,
            session.interrupted,
            session.caller,
            uid=os.getuid() if settings.uid is None else settings.uid,
            gid=os.getgid() if settings.gid is None else settings.gid,
            umask=settings.umask,
            denied=lambda: denied.has(session.caller()),
            on_init=session.connected,
            who=lambda: callers.of(session.caller()),
            throttle_timeout=settings.throttle_timeout,
            openers=self._parts.openers,
        )

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
        if any(each.kind == KIND for each in mounts_at(self._mount_point)):
            with contextlib.suppress(MountError):
                unmount(self._mount_point, lazy=True)
        leave(0)
