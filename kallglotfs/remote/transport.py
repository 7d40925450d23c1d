"""One HTTP connection pool that keeps to our rules, and foreign exceptions turned into ours.

Used by the API session and the storage session, each with a pool of its own.

Rules: redirects are never followed (a `requests.Session` would forward credentials, and would read a 302's
whole body first: against one that declares the file's length it hangs), nothing is taken from `.netrc`,
cookies are neither kept nor sent, a body is never decoded, and every URL and address passes the gate of the
transport before anything is sent. The adapter alone keeps to all of them; a session
around it adds only what we must not have, and a third of a request's time. Exceptions of `requests` and
`urllib3` carry the full URL with its signature, so none of them gets out, not even as a cause.

Threading: `get` may be called from any number of threads.
"""

from __future__ import annotations

import http.client
import logging
import ssl
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit, urlunsplit

import requests
import urllib3

from kallglotfs.errors import BadResponse, ConfigError, ServiceFault, TimedOut, Unreachable
from kallglotfs.remote.connections import GatedAdapter
from kallglotfs.remote.reach import shown_host
from kallglotfs.remote.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kallglotfs.clock import Deadline
    from kallglotfs.model import Secret
    from kallglotfs.remote.gates import ApiGate, StorageGate

#: Seconds one attempt to connect may take; a lost SYN is then tried again within the call's time.
CONNECT_TIMEOUT = 5.0
#: Most bytes taken from the socket at once: 256 KiB pieces receive 1.4 GB/s on loopback.
PIECE = 256 * 1024
#: Hosts whose connections are kept.
HOSTS = 32
#: Connections kept per host: more than `streams` can ever be.
POOL = 128
#: Every socket operation gets at least this many seconds, so that a late start still fails in words.
LEAST_WAIT = 0.05

# urllib3 logs request lines, signatures included, at debug level.
logging.getLogger("urllib3").setLevel(logging.ERROR)


class Transport:
    """GET requests over a pool of connections.

    Args:
        user_agent: how we name ourselves.
        gate: decides what may be asked and connected to.
        proxy_credentials: whether a proxy's user and password from the environment may be used.

    Raises:
        ConfigError: the environment names certificates, or a proxy for the gate's origin, that are no use.
    """

    def __init__(self, user_agent: str, gate: ApiGate | StorageGate, *, proxy_credentials: bool) -> None:
        self._gate = gate
        self._allowed = gate.allowed
        self._adapter = GatedAdapter(gate, Trust(), HOSTS, POOL)
        self._standing = {
            "User-Agent": user_agent,
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "Connection": "keep-alive",
        }
        self._proxy_credentials = proxy_credentials
        self._proxies: dict[str, dict[str, str]] = {}
        if gate.origin is not None and (problem := self._problem(self.proxy_for(gate.origin))):
            raise ConfigError(problem)

    def get(self, url: Secret, headers: Mapping[str, str], deadline: Deadline) -> requests.Response:
        """Send one GET and return the response with its body unread.

        Args:
            url: absolute http or https URL.
            headers: sent besides the standing ones.
            deadline: limits connecting and each wait for bytes.

        Raises:
            Unreachable: name, route or listener is missing.
            TimedOut: no answer in time.
            ServiceFault: the connection broke.
            BadResponse: TLS failed, the URL is no URL, or the answer is not HTTP.
            NotPermitted: the gate is closed to this URL or to where its host is; no connection was made.
        """
        deadline.check()
        text = url.reveal()
        self._gate.check_url(text)
        where = host_of(url)
        left = max(deadline.remaining(), LEAST_WAIT)
        try:
            request = requests.PreparedRequest()
            request.prepare(method="GET", url=text, headers={**self._standing, **headers})
            asked = str(request.url)
            # Again on what preparing has made of it: the pool is chosen by the host in there.
            self._gate.check_url(asked)
            proxies = self._proxies_for(asked)
            proxy = requests.utils.select_proxy(asked, proxies) if proxies else None
            if proxy is not None:
                self._check_proxied(proxy, urlsplit(asked).hostname or "")
            self._drop_what_is_no_longer_allowed()
            return self._adapter.send(
                request, stream=True, timeout=(min(CONNECT_TIMEOUT, left), left), proxies=proxies
            )
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            _translate(error, where)

    def close(self) -> None:
        """Close the idle connections."""
        self._adapter.close()

    def _proxies_for(self, url: str) -> dict[str, str]:
        origin = urlunsplit(urlsplit(url)._replace(path="", query="", fragment=""))
        proxies = self._proxies.get(origin)
        if proxies is None:
            proxies = dict(requests.utils.get_environ_proxies(origin, no_proxy=None))
            if not self._proxy_credentials:
                proxies = {scheme: _without_userinfo(proxy) for scheme, proxy in proxies.items()}
            self._proxies[origin] = proxies
        return proxies

    def proxy_for(self, url: str) -> str | None:
        """Return the proxy that the environment names for a URL; it may hold a password."""
        return requests.utils.select_proxy(url, self._proxies_for(url))

    def _check_proxied(self, proxy: str, host: str) -> None:
        if problem := self._problem(proxy):
            raise BadResponse(problem)
        self._gate.check_host(host)

    @staticmethod
    def _problem(proxy: str | None) -> str | None:
        """Return what is wrong with a proxy, None when nothing is. Its URL may hold a password."""
        scheme, mark, _ = (proxy or "").partition("://")
        if not mark or scheme.lower() in ("http", "https"):
            return None
        return f"the environment names a {shown_host(scheme)} proxy: only http and https proxies can be used"

    def _drop_what_is_no_longer_allowed(self) -> None:
        allowed = self._gate.allowed
        if allowed is not self._allowed:
            self._allowed = allowed
            self._adapter.poolmanager.clear()


def is_plain(response: requests.Response) -> bool:
    """Tell whether a body comes without chunks in between, so that `fill` may take it."""
    return getattr(_body_of(response), "chunked", True) is False


def fill(response: requests.Response, target: memoryview, deadline: Deadline) -> int:
    """Receive the next bytes of a body into a buffer, until it is full or the sender pauses for too long.

    Args:
        response: opened by `Transport.get`; not chunked.
        target: where the bytes go; no more than its length is taken.
        deadline: checked at every piece, so that one byte a second does not last for ever.

    Returns:
        How many bytes came; fewer than wanted where the connection ended or broke behind them, 0 at the end.

    Raises:
        TimedOut: stalled or too slow.
        ServiceFault: the connection broke.
    """
    count = 0
    try:
        # Below `http.client`, which looks at no clock before the buffer is full. Without `read1`'s copies a
        # core receives 4.4 to 5.6 GB/s, with them 2.4. TLS gives 16 KiB at a time, so the loop is here.
        read = _body_of(response).fp.readinto1
        while count < len(target):
            deadline.check()
            length = read(target[count:])
            if not length:
                break
            count += length
    except (OSError, http.client.HTTPException, AttributeError) as error:
        # What came is good; who asks again is told then.
        if not count:
            _translate(error, shown_host(urlsplit(response.url).hostname or "?"))
    return count


def give_back(response: requests.Response) -> None:
    """Give the connection of a body that `fill` has received to its last byte back to the pool."""
    # What the libraries count has to be told them, else they take the connection for one that was cut.
    _body_of(response).length = 0
    response.raw.length_remaining = 0
    response.raw.drain_conn()


def pieces(response: requests.Response, length: int | None, deadline: Deadline) -> Iterator[bytes]:
    """Yield a body as it arrives, at most `length` bytes of it; ends early when the sender does.

    Args:
        response: opened by `Transport.get`.
        length: bytes wanted, None for all.
        deadline: checked at every piece, so that one byte a second does not last for ever.

    Raises:
        TimedOut: stalled or too slow.
        ServiceFault: the connection broke.
    """
    left = length
    where = shown_host(urlsplit(response.url).hostname or "?")
    while left is None or left > 0:
        deadline.check()
        try:
            piece = response.raw.read1(PIECE if left is None else min(PIECE, left), decode_content=False)
        except (
            requests.RequestException,
            urllib3.exceptions.HTTPError,
            OSError,
            http.client.HTTPException,
        ) as error:
            _translate(error, where)
        if not piece:
            break
        if left is not None:
            left -= len(piece)
        yield piece
    if response.raw.length_remaining == 0:
        # Nothing is left to read, but only a read past the end gives the connection back to the pool.
        response.raw.drain_conn()


def _body_of(response: requests.Response) -> Any:
    """Return the standard library's `HTTPResponse`, for which neither library on top has a name."""
    return getattr(response.raw, "_fp", None)


def host_of(url: Secret) -> str:
    """Return the host of a URL for messages: all of it that is fit to be shown."""
    try:
        return shown_host(urlsplit(url.reveal()).hostname or "?")
    except ValueError:
        return "?"


def _without_userinfo(proxy: str) -> str:
    parts = urlsplit(proxy)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _translate(error: Exception, where: str) -> NoReturn:
    """Raise our exception for a foreign one. Never chained: theirs holds the whole URL."""
    cause: object = error.args[0] if error.args else error
    reason = getattr(cause, "reason", cause)
    if isinstance(error, requests.exceptions.SSLError) or isinstance(reason, urllib3.exceptions.SSLError):
        inner = next(iter(getattr(reason, "args", ())), None)
        if isinstance(inner, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError):
            raise ServiceFault(f"{where}: the connection broke in the middle of TLS") from None
        raise BadResponse(f"{where}: TLS failed, certificate or protocol refused") from None
    if isinstance(reason, urllib3.exceptions.NameResolutionError):
        raise Unreachable(f"{where}: the name cannot be resolved") from None
    if isinstance(reason, urllib3.exceptions.NewConnectionError):
        raise Unreachable(f"{where}: cannot connect") from None
    if isinstance(error, requests.ConnectTimeout) or isinstance(
        reason, urllib3.exceptions.ConnectTimeoutError
    ):
        raise Unreachable(f"{where}: no answer to connecting") from None
    if isinstance(error, requests.exceptions.ProxyError) or isinstance(reason, urllib3.exceptions.ProxyError):
        raise Unreachable(f"{where}: the proxy cannot be used") from None
    if _is_timeout(error) or _is_timeout(reason):
        raise TimedOut(f"{where}: no bytes in time") from None
    if isinstance(error, ValueError) and not isinstance(error, requests.exceptions.JSONDecodeError):
        raise BadResponse(f"{where}: not a usable URL") from None
    raise ServiceFault(f"{where}: the connection broke") from None


def _is_timeout(error: object) -> bool:
    return isinstance(error, requests.Timeout | urllib3.exceptions.ReadTimeoutError | TimeoutError)
