"""Proxies of the environment: used, told nothing they need not know, and no way around what is forbidden."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from typing import TYPE_CHECKING

import pytest

from certificates import Authority
from kallglotfs.errors import BadResponse, ConfigError, NotPermitted
from kallglotfs.model import Rendition
from kallglotfs.remote.trust import VARIABLES
from scripted import Scripted, ranged, reply, scripted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Wired
    from scripted import Asked

    Wire = Callable[[Scripted, Scripted], Wired]

RENDITION = Rendition("rec_1", "mp3")
CONTENT = bytes(range(256)) * 40
#: Public, and never connected to: the proxy answers for them.
API, STORAGE = Scripted(origin="http://93.184.216.34"), Scripted(origin="http://storage.example")
NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start from an environment without any proxy."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    """Give the environment a proxy that wants a password and answers for the whole service."""
    with scripted() as server:
        server.answer = lambda asked: (
            ranged(asked, CONTENT)
            if asked.target.startswith(STORAGE.origin)
            else reply(302, Location=f"{STORAGE.origin}/x?signature=CANARY")
        )
        monkeypatch.setenv("http_proxy", server.origin.replace("//", "//me:secret@"))
        yield server


def fetch(wired: Wired) -> bytes:
    """Return a range."""
    body = wired.storage.open(RENDITION, 0, 1000, None, wired.deadline(3))
    target = memoryview(bytearray(1000))
    done = 0
    while done < 1000:
        done += body.fill(target[done:], wired.deadline(3))
    body.close()
    return bytes(target)


def test_a_proxy_is_used_and_only_the_api_session_has_its_password(proxy: Scripted, wire: Wire) -> None:
    """The storage gets neither the key nor that; names are resolved by the proxy."""
    assert fetch(wire(API, STORAGE)) == CONTENT[:1000]
    api, storage = proxy.asked
    assert api.target.startswith(API.origin)
    assert api.headers["authorization"] == "Bearer sk_test_good"
    assert api.headers["proxy-authorization"].startswith("Basic ")
    assert storage.target == f"{STORAGE.origin}/x?signature=CANARY"
    assert (
        not {"authorization", "proxy-authorization", "x-api-key", "cookie", "referer"}
        & storage.headers.keys()
    )


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "2130706433", "10.0.0.1", "169.254.169.254", "100.64.0.1", "[::1]", "[fd00::1]",
     "[64:ff9b::7f00:1]", "[::ffff:127.0.0.1]", "localhost", "x.localhost", "localhost.", "127.0.0.%31"],
)  # fmt: skip
def test_a_proxy_is_not_asked_for_what_is_forbidden(host: str, proxy: Scripted, wire: Wire) -> None:
    """What is plain without resolving: addresses in any notation, and names for the proxy's own machine."""
    url = f"http://{host}/x?signature=CANARY"
    proxy.answer = lambda _: reply(302, Location=url)
    with pytest.raises(NotPermitted) as caught:
        fetch(wire(API, STORAGE))
    assert "CANARY" not in str(caught.value)
    assert [asked.target.startswith(API.origin) for asked in proxy.asked] == [True]


def test_what_bypasses_the_proxy_is_looked_at_as_ever(
    proxy: Scripted, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`no_proxy` is no way in."""
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    with scripted() as inside:
        proxy.answer = lambda _: reply(302, Location=f"{inside.origin}/x")
        with pytest.raises(NotPermitted):
            fetch(wire(API, STORAGE))
        assert inside.connections == 0


def test_a_proxy_may_be_anywhere_and_says_nothing_about_the_api(proxy: Scripted, wire: Wire) -> None:
    """It is on a loopback address here, which opens none to the storage of an API known by name."""
    named = Scripted(origin="http://api.example")
    wired = wire(named, STORAGE)
    assert fetch(wired) == CONTENT[:1000]
    proxy.answer = lambda _: reply(302, Location="http://127.0.0.1:1/x")
    wired = wire(named, STORAGE)
    with pytest.raises(NotPermitted):
        fetch(wired)


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks4", "SOCKS5"])
@pytest.mark.parametrize("name", ["all_proxy", "http_proxy"])
def test_a_socks_proxy_is_one_clear_error(
    scheme: str, name: str, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the mount when it is for the API, else when the storage is asked; its password is not repeated."""
    monkeypatch.setenv(name, f"{scheme}://me:CANARY@127.0.0.1:1")
    with pytest.raises(ConfigError, match=rf"(?i){scheme} proxy: only http") as caught:
        wire(API, STORAGE)
    assert "CANARY" not in str(caught.value)
    with scripted() as api:
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        api.answer = lambda _: reply(302, Location=f"{STORAGE.origin}/x")
        wired = wire(api, STORAGE)
        with pytest.raises(BadResponse, match=rf"(?i){scheme} proxy: only http") as refused:
            fetch(wired)
        assert "CANARY" not in str(refused.value)


class _Tunnel(socketserver.StreamRequestHandler):
    """A proxy for https: notes whom it connects to, and connects to where the test says."""

    asked: list[str]
    leads_to: tuple[str, int]

    def handle(self) -> None:
        self.asked.append(self.rfile.readline().decode().split(" ")[1])
        while self.rfile.readline().strip():
            pass
        with socket.create_connection(self.leads_to) as other:
            self.wfile.write(b"HTTP/1.1 200 X\r\n\r\n")
            back = threading.Thread(target=self._pass, args=(other, self.request))
            back.start()
            self._pass(self.request, other)
            back.join()

    @staticmethod
    def _pass(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)


def test_tls_through_a_proxy_is_with_the_service_itself(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The certificate is checked against the service's name; another one's is refused."""
    authority = Authority()
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.write(tmp_path / "ca.pem")))
    with scripted(tls=authority.server("api.example", "storage.example")) as service:
        host, port = service.origin.removeprefix("https://").split(":")
        asked: list[str] = []
        handler = type("Handler", (_Tunnel,), {"asked": asked, "leads_to": (host, int(port))})
        with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as tunnel:
            tunnel.daemon_threads = True
            thread = threading.Thread(target=tunnel.serve_forever, kwargs={"poll_interval": 0.05})
            thread.start()
            try:
                monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{tunnel.server_address[1]}")
                service.answer = _secure
                wired = wire(Scripted(origin="https://api.example"), STORAGE)
                assert fetch(wired) == CONTENT[:1000]
                assert asked == ["api.example:443", "storage.example:443"]
                received = service.received
                service.tls = authority.server("other.example")
                stranger = wire(Scripted(origin="https://api.example"), STORAGE)
                with pytest.raises(BadResponse, match="TLS failed"):
                    fetch(stranger)
                assert service.received == received
                for each in (wired, stranger):
                    each.close()
            finally:
                tunnel.shutdown()
                thread.join()


def _secure(asked: Asked) -> bytes:
    if asked.headers["host"] == "storage.example":
        assert "authorization" not in asked.headers
        return ranged(asked, CONTENT)
    return reply(302, Location="https://storage.example/x?signature=CANARY")
