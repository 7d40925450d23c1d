"""The signing secrets: where they are found and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kallglotfs.errors import CredentialError
from kallglotfs.model import Secret
from kallglotfs.webhooks.secrets import WebhookSecrets

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    """Give a good file."""
    file = tmp_path / "hook"
    file.write_text("whsec_one\n")
    file.chmod(0o600)
    return file


def refusal(secrets: WebhookSecrets) -> str:
    """Return the one line that `read` refuses with, which never holds any of a secret."""
    with pytest.raises(CredentialError) as caught:
        secrets.read()
    assert str(caught.value).isprintable()
    assert "hunter2" not in repr(caught.value)
    assert caught.value.__cause__ is None
    return str(caught.value)


def test_one_or_two_are_read_one_a_line(secret_file: Path) -> None:
    """Blank lines and spaces around do not count, and what is shown of a secret is masked."""
    assert WebhookSecrets(secret_file, {}).read() == (Secret("whsec_one"),)
    secret_file.write_text("\n  whsec_new \r\n\nwhsec_old")
    found = WebhookSecrets(secret_file, {}).read()
    assert found == (Secret("whsec_new"), Secret("whsec_old"))
    assert "whsec" not in repr(found)


def test_a_changed_file_counts_at_once(secret_file: Path) -> None:
    """Written over or exchanged, within the same moment and at the same length."""
    secrets = WebhookSecrets(secret_file, {})
    secrets.read()
    secret_file.write_text("whsec_two\n")
    assert secrets.read() == (Secret("whsec_two"),)
    new = secret_file.with_suffix(".new")
    new.write_text("whsec_six\n")
    new.chmod(0o600)
    new.rename(secret_file)
    assert secrets.read() == (Secret("whsec_six"),)


def test_systemds_credential_goes_first(secret_file: Path, tmp_path: Path) -> None:
    """Whoever may read that is up to systemd alone."""
    (tmp_path / "kallglot_webhook_secret").write_text("whsec_systemd")
    (tmp_path / "kallglot_webhook_secret").chmod(0o440)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert WebhookSecrets(secret_file, environ).read() == (Secret("whsec_systemd"),)
    assert WebhookSecrets(None, environ).read() == (Secret("whsec_systemd"),)
    (tmp_path / "kallglot_webhook_secret").unlink()
    assert WebhookSecrets(secret_file, environ).read() == (Secret("whsec_one"),)


def test_without_one_the_error_says_where_it_looked() -> None:
    """One line names the places and the way out."""
    line = refusal(WebhookSecrets(None, {}))
    for place in ("webhook_listen", "kallglot_webhook_secret", "webhook_secret_file", "mode 600"):
        assert place in line


def test_a_file_that_others_may_read_is_refused(secret_file: Path) -> None:
    """As the API key's is."""
    secret_file.chmod(0o640)
    assert "others may read it; run chmod 600" in refusal(WebhookSecrets(secret_file, {}))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        (" \n\n", "is empty"),
        ("hunter2-a\nhunter2-b\nhunter2-c\n", "holds 3 secrets"),
        ("hunter2 hunter2\n", "without spaces"),
        ("hunter2é\n", "printable ASCII"),
        ("hunter2" * 1000, "is larger than"),
    ],
)
def test_what_is_no_secret_is_refused(text: str, reason: str, secret_file: Path) -> None:
    """In one line that repeats none of it."""
    secret_file.write_text(text)
    assert reason in refusal(WebhookSecrets(secret_file, {}))


def test_a_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    """A named file is meant to be there."""
    assert "there is no such file" in refusal(WebhookSecrets(tmp_path / "none", {}))
