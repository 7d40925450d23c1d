"""A mount whose service cannot be trusted for a while, and environments that cannot work."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from certificates import Authority, self_signed
from conftest import MountedFolder, environment, mount_command, reading, running, wait_until
from scripted import Asked, Scripted, no_recording, ranged, recording, scripted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CONTENT = bytes(range(256)) * 1000
KEY = "sk_test_canary"
AUTHORITY = Authority()


@pytest.fixture
def servers() -> Iterator[tuple[Scripted, Scripted]]:
    """An API and a storage by https."""
    tls = AUTHORITY.server("localhost")
    with scripted(tls=tls, host="localhost") as api, scripted(tls=tls, host="localhost") as storage:

        def answer(asked: Asked) -> bytes:
            name = asked.path.removeprefix("/v1/recordings/")
            if name.startswith("rec_0") or "/" in name:
                return no_recording()
            return recording(name, f"{storage.origin}/{name}?signature=CANARY", len(CONTENT))

        api.answer = answer
        storage.answer = lambda asked: ranged(asked, CONTENT, ETag='"v1"', Connection="close")
        yield api, storage


def command(directory: Path, api_url: str) -> list[str]:
    """Return the command that mounts."""
    options: dict[str, object] = {
        "api_url": api_url,
        "state_dir": directory / "state",
        "log_file": directory / "log",
        "log_level": "debug",
        "timeout": "5s",
    }
    return mount_command(directory / "mnt", options, "--foreground")


def variables(**given: str) -> dict[str, str]:
    """Return an environment with no certificates or proxies but those given."""
    names = ("ca_bundle", "cert_file", "cert_dir", "_proxy")
    kept = {name: value for name, value in environment(KEY).items() if not name.lower().endswith(names)}
    return kept | given


@pytest.fixture
def folder(servers: tuple[Scripted, Scripted], tmp_path: Path) -> Iterator[MountedFolder]:
    """A mount that believes one authority, in a home whose `.netrc` has passwords for the servers."""
    path = tmp_path / "mnt"
    bundle = AUTHORITY.write(tmp_path / "ca.pem")
    netrc = tmp_path / ".netrc"
    netrc.touch(mode=0o600)
    netrc.write_text("machine localhost login me password NETRC\ndefault login me password NETRC\n")
    given = variables(SSL_CERT_FILE=str(bundle), HOME=str(tmp_path), NETRC=str(netrc))
    with running(command(tmp_path, f"{servers[0].origin}/v1"), given, path) as process:
        yield MountedFolder(path, tmp_path, tmp_path / "log", process)


def outcome(folder: MountedFolder, name: str) -> str:
    """Return how reading ends: `read`, or the name of an errno."""
    return reading(folder.recordings / f"{name}.mp3", CONTENT)


@pytest.mark.parametrize("which", ["api", "storage"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: AUTHORITY.server("localhost", days=(-30, -1)),
        lambda: AUTHORITY.server("storage.kallglot.com"),
        lambda: Authority().server("localhost"),
        lambda: self_signed("localhost"),
    ],
    ids=["expired", "wrong-host", "unknown-authority", "self-signed"],
)
def test_tls_that_cannot_be_trusted_is_eio_and_mended_in_two_seconds(
    make: Callable[[], object], which: str, servers: tuple[Scripted, Scripted], folder: MountedFolder
) -> None:
    """A few handshakes, not a byte after one, no try without; what is cached is read meanwhile."""
    assert outcome(folder, "rec_cached") == "read"
    server = servers[0] if which == "api" else servers[1]
    good, answer = server.tls, server.answer
    if which == "api":
        # Its kept connections were good; they are closed, so that a new one is needed.
        server.answer = lambda _: None
    server.tls = make()  # type: ignore[assignment]
    before, agreed, received = server.connections, server.agreed, server.received
    assert outcome(folder, "rec_b") == "EIO"
    assert 1 <= server.connections - before <= 3
    assert server.agreed == agreed
    if which == "storage":
        assert server.received == received
    assert outcome(folder, "rec_cached") == "read"
    server.tls, server.answer = good, answer
    assert wait_until(lambda: outcome(folder, "rec_b") == "read", 2)
    assert "CANARY" not in folder.log
    assert "TLS failed" in folder.log
    headers = {header for each in servers for asked_ in each.asked for header in asked_.headers.items()}
    assert {value for name, value in headers if name == "authorization"} == {f"Bearer {KEY}"}
    assert not any("authorization" in each.headers for each in servers[1].asked)
    assert "cookie" not in {name for name, _ in headers}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"REQUESTS_CA_BUNDLE": "/nowhere/ca.pem"}, "REQUESTS_CA_BUNDLE: '/nowhere/ca.pem': No such file"),
        ({"SSL_CERT_FILE": "/dev/null"}, "SSL_CERT_FILE: '/dev/null': holds no certificates"),
        ({"ALL_PROXY": "socks5://me:CANARY@127.0.0.1:1"}, "socks5 proxy: only http and https"),
        ({"https_proxy": "socks5h://127.0.0.1:1"}, "socks5h proxy: only http and https"),
    ],
)
def test_an_environment_that_cannot_work_is_one_line_and_no_mount(
    given: dict[str, str], said: str, tmp_path: Path
) -> None:
    """And exit code 1, as for any wrong setting."""
    (tmp_path / "mnt").mkdir()
    done = subprocess.run(
        command(tmp_path, "https://localhost:1/v1"),
        env=variables(**given),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert said in line
    assert "CANARY" not in line
