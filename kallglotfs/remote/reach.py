"""Where the storage of one mount may be: what its API's own URL and addresses allow.

Users: `connections`, which asks before it connects, and `transport`, which asks before it sends.

A service on the internet must not be able to send us to machines that only we can reach. A service that is
itself on a private network or on this machine may have its storage there, with no further switch: the user
who configured it is there too. What counts is the address that the API is connected to, after TLS has proven
it where the URL is https, never its name. If it has had several, what each of them allows is allowed, so that
a name that is given another address later (DNS rebinding) can take away, never add.

Threading: one lock around what is known; `admits` only reads one reference.
"""

from __future__ import annotations

import functools
import logging
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from kallglotfs.errors import NotPermitted
from kallglotfs.remote.addresses import Kind, kind_of, literal_address

if TYPE_CHECKING:
    from kallglotfs.remote.addresses import Address

log = logging.getLogger(__name__)

_EVERYBODY = frozenset({Kind.PUBLIC, Kind.TRANSLATED})
_INSIDE = _EVERYBODY | {Kind.LOOPBACK, Kind.PRIVATE}
_LINK = _INSIDE | {Kind.LINK_LOCAL, Kind.METADATA}
#: Where the storage may be, by where the API is.
ALLOWED: dict[Kind, frozenset[Kind]] = {
    Kind.PUBLIC: _EVERYBODY,
    Kind.TRANSLATED: _EVERYBODY,
    Kind.LOOPBACK: _INSIDE,
    Kind.PRIVATE: _INSIDE,
    Kind.LINK_LOCAL: _LINK,
    Kind.METADATA: _LINK,
    # Resolvers that hand out benchmark addresses for a tunnel to catch are one use of these.
    Kind.SPECIAL: _EVERYBODY | {Kind.SPECIAL},
}
#: Most characters of a host in a message; a name has at most 253.
_SHOWN = 100
#: What no URL holds and what programs read differently: some drop a tab, some take a backslash for a slash.
_NOT_IN_A_URL = re.compile(r"[\x00-\x1f\x7f\\]")


class Reach:
    """Decides about the storage of one mount.

    Args:
        api_url: as configured.
    """

    def __init__(self, api_url: str) -> None:
        parts = urlsplit(api_url)
        self._secure = parts.scheme == "https"
        self._lock = threading.Lock()
        literal = literal_address(parts.hostname or "")
        self._known = literal is not None
        #: What is allowed; the same object until it changes.
        self.allowed = _EVERYBODY if literal is None else ALLOWED[kind_of(literal)]

    def reached(self, address: Address) -> None:
        """Note that the API answers at `address`."""
        theirs = ALLOWED[kind_of(address)]
        # The usual case, at every new connection to the API.
        if self._known and self.allowed <= theirs:
            return
        with self._lock:
            allowed = self.allowed & theirs if self._known else theirs
            if self._known and allowed != self.allowed:
                log.warning("the API is now at another kind of address: its storage may be in fewer places")
            # In this order: who finds it known without the lock has to find what is known, too.
            self.allowed = allowed
            self._known = True

    def admits(self, address: Address, *, named: bool) -> bool:
        """Tell whether the storage may be at an address.

        Args:
            address: what would be connected to.
            named: whether a name was resolved to it. A NAT64 address is what a resolver makes up for a
                network without IPv4; no service on the internet has a reason to write one into a URL.
        """
        kind = kind_of(address)
        if kind is Kind.TRANSLATED and not named and Kind.PRIVATE not in self.allowed:
            return False
        return kind in self.allowed

    def check_host(self, host: str) -> None:
        """Check what a host tells without being resolved; a proxy may be the one who resolves it.

        Raises:
            NotPermitted: it is an address where the storage may not be, or a name for the own machine.
        """
        literal = literal_address(host)
        name = host.rstrip(".").lower()
        if literal is not None:
            self.check_address(literal, host, named=False)
        elif (name == "localhost" or name.endswith(".localhost")) and Kind.LOOPBACK not in self.allowed:
            raise NotPermitted(
                f"{shown_host(host)} is a loopback name: the storage of this API may not be there"
            )

    def check_address(self, address: Address, host: str, *, named: bool) -> None:
        """Raise `NotPermitted` where `admits` says no; `host` is for the message."""
        if not self.admits(address, named=named):
            kind = kind_of(address).value
            raise NotPermitted(
                f"{shown_host(host)} is at a {kind} address: the storage of this API may not be there"
            )

    def check_url(self, url: str) -> None:
        """Check what a storage URL itself says: scheme and user name.

        Raises:
            NotPermitted: neither https nor, for an http API, http; or with a user name; or no URL at all.
        """
        target = target_of(url)
        if target.scheme == "http" and self._secure:
            raise NotPermitted(f"{shown_host(target.hostname)}: an https API may not send us to plain http")


@dataclass(frozen=True, slots=True)
class Target:
    """What of a URL decides who is asked."""

    scheme: str
    hostname: str
    origin: str


@functools.lru_cache(maxsize=1024)
def target_of(url: str) -> Target:
    """Return whom a URL is to be asked of, if it can be asked at all.

    Remembered for a while, since a lease's URL is asked again and again; so does `urlsplit`.

    Raises:
        NotPermitted: another scheme than http and https, a user name or password, no host, or characters that
            programs read differently.
    """
    if _NOT_IN_A_URL.search(url):
        raise NotPermitted("a URL with control characters or backslashes is not asked")
    try:
        parts = urlsplit(url)
        hostname = parts.hostname or ""
    except ValueError:
        raise NotPermitted("a URL that cannot be read is not asked") from None
    if parts.scheme not in ("http", "https"):
        raise NotPermitted("a URL that is neither http nor https is not asked")
    if "@" in parts.netloc:
        raise NotPermitted("a URL with a user name is not asked")
    if not hostname:
        raise NotPermitted("a URL without a host is not asked")
    return Target(parts.scheme, hostname, f"{parts.scheme}://{parts.netloc}")


def shown_host(host: str) -> str:
    """Return a host for messages: printable, on one line, not too long."""
    text = "".join(mark if mark.isprintable() else repr(mark)[1:-1] for mark in host[: _SHOWN + 1])
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
