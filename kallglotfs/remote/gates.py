"""The two gates of a mount: of the API's connections and of the storage's.

Users: `mount` builds them on one `Reach`, `transport` passes every URL through its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kallglotfs.errors import NotPermitted
from kallglotfs.remote.reach import Reach, target_of

if TYPE_CHECKING:
    from kallglotfs.remote.addresses import Address, Kind


class ApiGate:
    """Lets through to the API's origin alone, wherever its host is: the user named it.

    Args:
        api_url: as configured.
        reach: is told where the API is.
    """

    def __init__(self, api_url: str, reach: Reach) -> None:
        #: The origin that gets the key.
        self.origin = target_of(api_url).origin
        self._reach = reach

    @property
    def allowed(self) -> frozenset[Kind] | None:
        """Never changes: one origin."""
        return None

    def check_url(self, url: str) -> None:
        """Raise `NotPermitted` for any other origin: what goes out here carries the key."""
        if target_of(url).origin != self.origin:
            raise NotPermitted("the key is for the API's own origin only")

    def check_host(self, host: str) -> None:
        """Let a proxy connect to the API."""

    def check_address(self, address: Address, host: str, *, named: bool) -> None:
        """Let a connection be made."""

    def reached(self, address: Address) -> None:
        """Note where the API is."""
        self._reach.reached(address)


class StorageGate:
    """Lets through to where the storage of this API may be.

    Args:
        reach: knows where that is.
    """

    origin = None

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self.check_url = reach.check_url
        self.check_host = reach.check_host
        self.check_address = reach.check_address

    @property
    def allowed(self) -> frozenset[Kind]:
        """What may be connected to; another object once it has changed."""
        return self._reach.allowed

    def reached(self, address: Address) -> None:
        """Take no note: where the storage is allows nothing."""
