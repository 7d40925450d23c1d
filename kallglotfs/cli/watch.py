"""A mount that is asked again and again, through whatever happens to its daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kallglotfs.control.client import Conversation, mend, running
from kallglotfs.errors import ControlError, DaemonGone, NoSuchMount
from kallglotfs.mountpoint import KIND, is_dead, mounted_at

if TYPE_CHECKING:
    from kallglotfs.control.client import Running

#: What has to be in an answer: a daemon may be of another version.
WANTED = frozenset(
    {"started", "uptime", "counts", "budget", "leases", "memory", "disk", "open_files", "errors"}
)


class Watch:
    """Asks one mount for its state, and looks for it again when it has gone.

    Args:
        mount_point: absolute, as the kernel names it.
        timeout: seconds an answer may take.
    """

    def __init__(self, mount_point: str, timeout: float) -> None:
        self._mount_point = mount_point
        self._timeout = timeout
        self._conversation: Conversation | None = None

    def look(self) -> dict[str, Any]:
        """Return the state of the mount.

        Raises:
            ControlError: it cannot be had now; the next look may find it.
        """
        try:
            if self._conversation is None:
                self._conversation = Conversation(self._find(), self._timeout)
            state = self._conversation.ask("status", {"brief": True})
        except ControlError:
            self.close()
            raise
        if not state.keys() >= WANTED:
            raise ControlError(f"{self._mount_point}: its daemon is of another version; mount it anew")
        return state

    def close(self) -> None:
        """Hang up."""
        conversation, self._conversation = self._conversation, None
        if conversation is not None:
            conversation.close()

    def _find(self) -> Running:
        for each in running([self._mount_point]):
            if each.mount_point == self._mount_point:
                return each
        mounted = mounted_at(self._mount_point)
        if mounted is None or mounted.kind != KIND:
            raise NoSuchMount(f"{self._mount_point}: nothing is mounted there; waiting for it")
        if is_dead(self._mount_point):
            raise DaemonGone(f"{self._mount_point}: the daemon is gone; {mend(self._mount_point)}")
        raise NoSuchMount(f"{self._mount_point}: mounted, but it cannot be asked")
