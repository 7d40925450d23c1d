"""Connections that are made to a checked address, and the pools of them that `requests` uses.

The address is checked after the name is resolved and before anything is sent, on the very address that is
then connected to: another answer of the resolver a moment later changes nothing. A kept connection is not
checked again; when what is allowed shrinks, `transport` drops what is kept.

Users: `transport`.
"""

from __future__ import annotations

import http.client
import socket
import sys
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, ClassVar

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    LocationParseError,
    NameResolutionError,
    NewConnectionError,
)
from urllib3.util.connection import allowed_gai_family

from kallglotfs.errors import NotPermitted
from kallglotfs.remote.addresses import literal_address

if TYPE_CHECKING:
    from typing import Protocol

    from kallglotfs.remote.addresses import Address
    from kallglotfs.remote.trust import Trust

    class Gate(Protocol):
        """Who decides where a pool may connect to; see `gates`."""

        def check_host(self, host: str) -> None:
            """Raise `NotPermitted` where the host alone tells so."""

        def check_address(self, address: Address, host: str, *, named: bool) -> None:
            """Raise `NotPermitted` where no connection may be made."""

        def reached(self, address: Address) -> None:
            """Take note of a connection that is up, and proven where it is TLS."""


class _Prompt(http.client.HTTPResponse):
    """An answer whose headers come within the time of one wait, however they drip.

    The library limits each wait for bytes, but not their number: a sender that gives a byte a second would
    keep a thread for hours.
    """

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._sock = sock

    def begin(self) -> None:
        """Receive status and headers."""
        whole, timeout = self.fp, self._sock.gettimeout()
        if timeout is not None:
            self.fp = _Lines(whole, self._sock, time.monotonic() + timeout)  # type: ignore[assignment]
        try:
            super().begin()
        finally:
            # A refused or empty answer has closed itself.
            if isinstance(self.fp, _Lines):
                self.fp = whole
                self._sock.settimeout(timeout)


class _Lines:
    """Reads lines of a socket's file until a moment.

    Args:
        file: buffered.
        sock: below it.
        ends: on `time.monotonic`.
    """

    def __init__(self, file: Any, sock: socket.socket, ends: float) -> None:
        self._file = file
        self._sock = sock
        self._ends = ends

    def readline(self, limit: int = -1) -> bytes:
        """Return the next line, or what there is of it at the end or the limit.

        Raises:
            TimeoutError: the time is over.
        """
        line = bytearray()
        while limit < 0 or len(line) < limit:
            left = self._ends - time.monotonic()
            if left <= 0:
                raise TimeoutError("the headers take too long")
            self._sock.settimeout(left)
            there = self._file.peek(1)
            if not there:
                break
            end = there.find(b"\n") + 1
            most = end or len(there)
            line += self._file.read(most if limit < 0 else min(most, limit - len(line)))
            if line.endswith(b"\n"):
                break
        return bytes(line)

    def flush(self) -> None:
        """Do what the library wants done before closing: nothing."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class _Gated(HTTPConnection):
    """A connection whose address passes a gate."""

    response_class = _Prompt

    gate: ClassVar[Gate]
    _reached: Address

    def _new_conn(self) -> socket.socket:
        # Before the resolver, which does not know every way of writing an address that others know.
        self.gate.check_host(self.host.strip("[]"))
        try:
            # Labels that are empty or too long make the resolver raise something else.
            self._dns_host.encode("idna")
            found = socket.getaddrinfo(
                self._dns_host.strip("[]"), self.port, allowed_gai_family(), socket.SOCK_STREAM
            )
        except UnicodeError:
            raise LocationParseError("a label of the host is empty or too long") from None
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        sock = self._connect(self._admitted(found))
        sys.audit("http.client.connect", self, self.host, self.port)
        return sock

    def connect(self) -> None:
        """Connect, and tell the gate who was reached once nothing can go wrong any more."""
        super().connect()
        self.gate.reached(self._reached)

    def _admitted(self, found: list[Any]) -> list[Any]:
        """Return the candidates that pass, in the resolver's order.

        Raises:
            NotPermitted: none does.
        """
        named = literal_address(self._dns_host.strip("[]")) is None
        passed = []
        refusal: NotPermitted | None = None
        for candidate in found:
            try:
                self.gate.check_address(_address_of(candidate[4]), self.host, named=named)
            except NotPermitted as error:
                refusal = error
            else:
                passed.append(candidate)
        if refusal is not None and not passed:
            raise refusal
        return passed

    def _connect(self, candidates: list[Any]) -> socket.socket:
        """Connect to the first candidate that answers.

        All share the time there is to connect, so that a family that leads nowhere costs its share only.
        """
        total = self.timeout
        ends = None if total is None else time.monotonic() + total
        failure: OSError = OSError("the name has no address")
        for index, (family, kind, protocol, _, address) in enumerate(candidates):
            sock = socket.socket(family, kind, protocol)
            try:
                for option in self.socket_options or ():
                    sock.setsockopt(*option)
                if ends is not None:
                    sock.settimeout(max(0.001, (ends - time.monotonic()) / (len(candidates) - index)))
                sock.connect(address)
            except OSError as error:
                sock.close()
                failure = error
            except BaseException:
                sock.close()
                raise
            else:
                sock.settimeout(total)
                self._reached = _address_of(address)
                return sock
        if isinstance(failure, TimeoutError):
            raise ConnectTimeoutError(self, f"connecting took longer than {total} s") from failure
        raise NewConnectionError(self, f"cannot connect: {failure}") from failure


def _address_of(socket_address: Any) -> Address:
    """Return the IP address of a socket's address, without its scope."""
    return ip_address(socket_address[0].partition("%")[0])


class _Trusting(HTTPSConnection):
    """A TLS connection that believes whom its pool believes."""

    trust: ClassVar[Trust]

    def connect(self) -> None:
        """Connect with the certificates as they are now."""
        self.ssl_context = self.trust.context()
        super().connect()


class GatedAdapter(HTTPAdapter):
    """The pools of one transport.

    Connections to a proxy pass no gate: the user named it. What lies behind it, the proxy resolves.

    Args:
        gate: decides where to connect to.
        trust: whose certificates count.
        hosts: hosts whose connections are kept.
        each: connections kept for each.
    """

    def __init__(self, gate: Gate, trust: Trust, hosts: int, each: int) -> None:
        self._trust = trust
        plain = type("_Plain", (_Gated,), {"gate": gate})
        secure = type("_Secure", (_Gated, _Trusting), {"gate": gate, "trust": trust})
        tunnelled = type("_Tunnelled", (_Trusting,), {"trust": trust})
        self._direct = {
            "http": type("_PlainPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("_SecurePool", (HTTPSConnectionPool,), {"ConnectionCls": secure}),
        }
        self._proxied = {
            "http": HTTPConnectionPool,
            "https": type("_TunnelledPool", (HTTPSConnectionPool,), {"ConnectionCls": tunnelled}),
        }
        super().__init__(pool_connections=hosts, pool_maxsize=each, max_retries=0)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Make the pools of direct connections."""
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = self._direct

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """Return the pools of connections through a proxy."""
        if proxy not in self.proxy_manager:
            # What a proxy reached by TLS shows is checked like everything else.
            options["proxy_ssl_context"] = self._trust.context()
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = self._proxied
        return manager

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Leave the pool as it is: `_Trusting` brings the certificates."""
