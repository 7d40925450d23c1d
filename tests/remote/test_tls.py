"""TLS that cannot be trusted: not a byte goes over it, nothing falls back, and once mended it is used."""

from __future__ import annotations

import json
import ssl
import time
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from certificates import Authority, self_signed
from kallglotfs.errors import BadResponse, ConfigError, KallglotError, ServiceFault
from kallglotfs.model import Rendition
from kallglotfs.remote.trust import VARIABLES, Trust
from scripted import ranged, reply, scripted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Wired
    from scripted import Asked, Scripted

RENDITION = Rendition("rec_1", "mp3")
CONTENT = bytes(range(256)) * 40
AUTHORITY, STRANGER = Authority(), Authority()


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Believe one authority alone."""
    path = AUTHORITY.write(tmp_path / "ca.pem")
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))
    return path


@pytest.fixture
def secure(bundle: Path, wire: Callable[[Scripted, Scripted], Wired]) -> Iterator[Wired]:
    """Both origins by https."""
    tls = AUTHORITY.server("127.0.0.1")
    with scripted(tls=tls) as api, scripted(tls=tls) as storage:
        wired = wire(api, storage)
        api.answer = lambda _: reply(302, Location=f"{storage.origin}/x?signature=CANARY{len(api.asked)}")
        storage.answer = lambda asked: ranged(asked, CONTENT)
        yield wired


def fetch(wired: Wired) -> bytes:
    """Return a range."""
    body = wired.storage.open(RENDITION, 0, 1000, None, wired.deadline(3))
    target = memoryview(bytearray(1000))
    done = 0
    while done < 1000:
        done += body.fill(target[done:], wired.deadline(3))
    body.close()
    return bytes(target)


def old() -> ssl.SSLContext:
    """Return a server's TLS that speaks 1.1 at most."""
    context = AUTHORITY.server("127.0.0.1")
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


BROKEN: dict[str, Callable[[], ssl.SSLContext]] = {
    "expired": lambda: AUTHORITY.server("127.0.0.1", days=(-30, -1)),
    "not yet": lambda: AUTHORITY.server("127.0.0.1", days=(1, 30)),
    "wrong host": lambda: AUTHORITY.server("storage.kallglot.com", "127.0.0.2"),
    "name of the address": lambda: AUTHORITY.server("localhost"),
    "no host": AUTHORITY.server,
    "unknown authority": lambda: STRANGER.server("127.0.0.1"),
    "self-signed": lambda: self_signed("127.0.0.1"),
    "old protocol": old,
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("end", ["api", "storage"])
def test_not_a_byte_goes_over_tls_that_cannot_be_trusted(
    end: str, version: ssl.TLSVersion, kind: str, secure: Wired
) -> None:
    """An error at once, after one try; right again as soon as it is mended."""
    server = secure.api_server if end == "api" else secure.storage_server
    good, server.tls = server.tls, BROKEN[kind]()
    if kind != "old protocol":
        server.tls.maximum_version = version
    began = time.monotonic()
    with pytest.raises(BadResponse, match="TLS failed") as caught:
        fetch(secure)
    assert time.monotonic() - began < 2
    assert not isinstance(caught.value, ServiceFault)
    assert "CANARY" not in str(caught.value)
    assert (server.connections, server.received) == (1, 0)
    assert server.asked == []
    server.tls = good
    assert fetch(secure) == CONTENT[:1000]
    assert server.agreed == 1
    assert server.received > 0


@pytest.mark.parametrize("end", ["api", "storage"])
def test_a_server_that_speaks_no_tls_is_not_spoken_to_without(end: str, secure: Wired) -> None:
    """No fallback to plain http."""
    server = secure.api_server if end == "api" else secure.storage_server
    server.tls = None
    server.answer = lambda _: reply(200, CONTENT)
    with pytest.raises(BadResponse):
        fetch(secure)
    # What came were handshakes, in which there is no request to be found.
    assert not [asked for asked in server.asked if asked.method == "GET"]


def test_a_handshake_that_breaks_off_is_tried_again(secure: Wired) -> None:
    """A server that is being started again is not one to be mistrusted."""
    good = secure.storage_server.tls
    assert good is not None
    failures = 2

    def wrap(*arguments: object, **options: object) -> ssl.SSLSocket:
        nonlocal failures
        if failures:
            failures -= 1
            raise ConnectionResetError
        return good.wrap_socket(*arguments, **options)  # type: ignore[arg-type]

    with patch.object(secure.storage_server, "tls") as broken:
        broken.wrap_socket = wrap
        assert fetch(secure) == CONTENT[:1000]
    assert secure.storage_server.connections == 3
    assert len(secure.api_server.asked) == 1


def test_an_https_api_cannot_send_us_to_plain_http(secure: Wired) -> None:
    """Not by its URL and not by a hop; nobody is connected to."""
    with scripted() as plain:
        url = f"{plain.origin}/x?signature=CANARY"
        for server in (secure.api_server, secure.storage_server):
            answer, server.answer = server.answer, lambda _: reply(302, Location=url)
            with pytest.raises(KallglotError) as caught:
                fetch(secure)
            assert type(caught.value).__name__ == "NotPermitted"
            assert "CANARY" not in str(caught.value)
            server.answer = answer
            secure.clock.sleep(2)
        assert plain.connections == 0


@pytest.mark.parametrize("name", VARIABLES)
def test_a_private_authority_is_named_in_the_environment(
    name: str,
    bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    wire: Callable[[Scripted, Scripted], Wired],
) -> None:
    """By the variables of requests, curl and OpenSSL; without any, the server is a stranger."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with scripted(tls=AUTHORITY.server("127.0.0.1")) as api, scripted() as storage:
        api.answer = lambda _: reply(200, json.dumps({"id": "rec_1", "status": "ready"}).encode())
        wired = wire(api, storage)
        with pytest.raises(BadResponse, match="TLS failed"):
            wired.api.metadata("rec_1", wired.deadline(3))
        monkeypatch.setenv(name, str(bundle))
        wired = wire(api, storage)
        assert wired.api.metadata("rec_1", wired.deadline(3)).recording.id == "rec_1"


def test_certificates_that_are_not_there_are_one_clear_error(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It names the variable and the path, and comes before anything is asked."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    with pytest.raises(ConfigError, match=r"REQUESTS_CA_BUNDLE: '/nowhere/ca\.pem': No such file"):
        Trust()
    empty = tmp_path / "empty.pem"
    empty.write_text("no certificate\n")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(empty))
    with pytest.raises(ConfigError, match="holds no certificates"):
        Trust()


def test_certificates_that_change_are_read_again(bundle: Path) -> None:
    """By a mount that has been there for months; one that is gone for a moment stays believed."""
    trust = Trust()
    first = trust.context()
    assert trust.context() is first
    STRANGER.write(bundle)
    second = trust.context()
    assert second is not first
    assert [each["subject"] for each in second.get_ca_certs()]
    bundle.unlink()
    assert trust.context() is second
    AUTHORITY.write(bundle)
    assert trust.context() is not second


def test_a_kept_connection_costs_no_handshake(secure: Wired) -> None:
    """Ten ranges over one."""
    for _ in range(10):
        assert fetch(secure) == CONTENT[:1000]
    assert secure.storage_server.connections == 1
    asked: list[Asked] = secure.storage_server.asked
    assert len(asked) == 10
