"""The API key: where it is found and what is refused."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from kallglotfs.config.credentials import Credentials
from kallglotfs.errors import CredentialError
from kallglotfs.model import Secret

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(autouse=True)
def no_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every test start on a machine without the keyring module."""
    monkeypatch.setitem(sys.modules, "keyring", None)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """Give a good key file."""
    file = tmp_path / "key"
    file.write_text("sk_live_file\n")
    file.chmod(0o600)
    return file


@pytest.fixture
def systemd(tmp_path: Path) -> Path:
    """Give the credentials directory of a systemd unit, with a key in it."""
    directory = tmp_path / "credentials"
    directory.mkdir()
    (directory / "kallglot_api_key").write_text("sk_live_systemd\n")
    (directory / "kallglot_api_key").chmod(0o440)
    return directory


def keyring(monkeypatch: pytest.MonkeyPatch, answer: Callable[[str, str], str | None]) -> None:
    """Install a keyring that answers."""
    monkeypatch.setitem(sys.modules, "keyring", SimpleNamespace(get_password=answer))


def refusal(credentials: Credentials) -> str:
    """Return the one line that `read` refuses with, which never holds any of the key."""
    with pytest.raises(CredentialError) as caught:
        credentials.read()
    assert str(caught.value).isprintable()
    assert "hunter2" not in repr(caught.value)
    assert caught.value.__cause__ is None
    return str(caught.value)


def test_the_places_are_tried_in_order(
    key_file: Path, systemd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Systemd's credential comes first, then the file, the environment and the keyring."""
    keyring(monkeypatch, lambda service, user: f"sk_live_{service}_{user}")
    environ = {"CREDENTIALS_DIRECTORY": str(systemd), "KALLGLOT_API_KEY": "sk_live_environment"}
    assert Credentials(key_file, environ).read() == Secret("sk_live_systemd")
    (systemd / "kallglot_api_key").unlink()
    assert Credentials(key_file, environ).read() == Secret("sk_live_file")
    assert Credentials(None, environ).read() == Secret("sk_live_environment")
    assert Credentials(None, {}, "acme").read() == Secret("sk_live_kallglotfs_acme")


def test_without_a_key_the_error_says_where_it_looked() -> None:
    """Where there is no key, one line names the places and the way out."""
    line = refusal(Credentials(None, {}))
    for place in ("kallglot_api_key", "api_key_file", "KALLGLOT_API_KEY", "keyring", "mode 600"):
        assert place in line


def test_a_keyring_that_fails_has_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a keyring raises, there is simply no key in it."""

    def locked(service: str, user: str) -> str | None:
        raise RuntimeError("the keyring is locked")

    keyring(monkeypatch, locked)
    assert "no API key" in refusal(Credentials(None, {}))
    keyring(monkeypatch, lambda service, user: None)
    assert "no API key" in refusal(Credentials(None, {}))


def test_a_rotated_key_is_found(key_file: Path) -> None:
    """The file is read afresh each time."""
    credentials = Credentials(key_file, {})
    assert credentials.read().reveal() == "sk_live_file"
    key_file.write_text("sk_live_rotated")
    assert credentials.read().reveal() == "sk_live_rotated"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o777])
def test_a_file_that_others_may_read_is_refused(mode: int, key_file: Path) -> None:
    """Any permission for group or others is refused, with the mend."""
    key_file.chmod(mode)
    assert refusal(Credentials(key_file, {})) == (
        f"api_key_file {key_file}: others may read it; run chmod 600 {key_file}"
    )


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_that_is_ones_own_is_read(mode: int, key_file: Path) -> None:
    """Modes 600 and 400 are good."""
    key_file.chmod(mode)
    assert Credentials(key_file, {}).read().reveal() == "sk_live_file"


def test_a_file_of_another_user_is_refused(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the user's own file or root's counts."""
    if os.geteuid() == 0:
        os.chown(key_file, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert "belongs to another user" in refusal(Credentials(key_file, {}))


def test_a_link_counts_as_what_it_leads_to(key_file: Path, tmp_path: Path) -> None:
    """A symbolic link is good when its target is."""
    link = tmp_path / "link"
    link.symlink_to(key_file)
    assert Credentials(link, {}).read().reveal() == "sk_live_file"
    key_file.chmod(0o644)
    assert "others may read it" in refusal(Credentials(link, {}))


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    """A FIFO or a directory is refused, and nobody waits for a writer."""
    os.mkfifo(tmp_path / "fifo", 0o600)
    assert "is not a regular file" in refusal(Credentials(tmp_path / "fifo", {}))
    assert "is not a regular file" in refusal(Credentials(tmp_path, {}))


def test_a_missing_file_is_refused_even_where_another_key_is_set(tmp_path: Path) -> None:
    """A file that was asked for must be there: another account's key is no substitute."""
    missing = tmp_path / "none"
    line = refusal(Credentials(missing, {"KALLGLOT_API_KEY": "sk_live_hunter2"}))
    assert line == f"api_key_file {missing}: there is no such file"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"hunter2\nhunter2", "must be one line of printable ASCII without spaces"),
        (b"hunter2 hunter2", "must be one line of printable ASCII without spaces"),
        (b"hunter2\0", "must be one line of printable ASCII without spaces"),
        ("hünter2hunter2".encode(), "must be one line of printable ASCII without spaces"),
        (b"hunter2\xff", "must be one line of printable ASCII without spaces"),
        (b"\xef\xbb\xbfhunter2", "must be one line of printable ASCII without spaces"),
        (b"hunter2" * 1000, "is larger than 4096 bytes"),
    ],
)
def test_what_is_no_key_is_refused_unseen(content: bytes, reason: str, key_file: Path, systemd: Path) -> None:
    """The content is checked in the file and in systemd's credential, and never repeated."""
    key_file.write_bytes(content)
    assert reason in refusal(Credentials(key_file, {}))
    (systemd / "kallglot_api_key").chmod(0o600)
    (systemd / "kallglot_api_key").write_bytes(content)
    assert reason in refusal(Credentials(None, {"CREDENTIALS_DIRECTORY": str(systemd)}))


def test_a_bad_key_in_the_environment_is_refused_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable's and the keyring's content is checked as well."""
    line = refusal(Credentials(None, {"KALLGLOT_API_KEY": "hunter2 \udcff"}))
    assert line == "KALLGLOT_API_KEY: must be one line of printable ASCII without spaces"
    keyring(monkeypatch, lambda service, user: "hunter2 hunter2")
    assert "must be one line" in refusal(Credentials(None, {}))


def test_whitespace_around_a_key_is_dropped() -> None:
    """A newline at the end is no part of the key."""
    assert Credentials(None, {"KALLGLOT_API_KEY": " sk_live_a\r\n"}).read().reveal() == "sk_live_a"


def test_the_key_is_taken_out_of_the_environment() -> None:
    """Children do not inherit the key, and reading it goes on working."""
    environ = {"KALLGLOT_API_KEY": "hunter2", "PATH": "/bin"}
    credentials = Credentials(None, environ)
    credentials.forget_environment()
    credentials.forget_environment()
    assert environ == {"PATH": "/bin"}
    assert credentials.read().reveal() == "hunter2"


def test_no_repr_shows_a_secret() -> None:
    """Neither the finder nor what it finds shows the key."""
    credentials = Credentials(None, {"KALLGLOT_API_KEY": "hunter2"})
    credentials.forget_environment()
    assert "hunter2" not in repr(credentials) + repr(vars(credentials)) + repr(credentials.read())
