"""The webhooks' signing secrets: where they are looked for, and what is refused.

They are read afresh for each delivery (about 20 µs), so a changed file counts at once, without a remount.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from kallglotfs.config.credentials import private_content
from kallglotfs.config.quoting import shown_path
from kallglotfs.errors import CredentialError
from kallglotfs.model import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The name of the systemd credential (`LoadCredential=kallglot_webhook_secret:…`).
CREDENTIAL = "kallglot_webhook_secret"
#: Secrets known at one time: the one in use, and the one it is being changed to.
MOST = 2


class WebhookSecrets:
    """Finds the secrets.

    Args:
        secret_file: the setting `webhook_secret_file`.
        environ: where `CREDENTIALS_DIRECTORY` is looked up.
    """

    def __init__(self, secret_file: Path | None, environ: Mapping[str, str] = os.environ) -> None:
        self._secret_file = secret_file
        self._environ = environ

    def read(self) -> tuple[Secret, ...]:
        """Return one secret, or two.

        Raises:
            CredentialError: there is none, or its place or form is refused.
        """
        secrets = self._from_systemd() or self._from_file()
        if secrets is None:
            raise CredentialError(
                f"webhook_listen needs the signing secret: looked in systemd's credential {CREDENTIAL} and "
                "webhook_secret_file; put it in a file of mode 600 and name it in webhook_secret_file"
            )
        return secrets

    def _from_systemd(self) -> tuple[Secret, ...] | None:
        directory = self._environ.get("CREDENTIALS_DIRECTORY")
        if not directory:
            return None
        place = f"systemd's credential {CREDENTIAL}"
        try:
            # systemd alone decides who reads it, as with the API key.
            return _secrets(private_content(Path(directory, CREDENTIAL), place, private=False), place)
        except FileNotFoundError:
            return None

    def _from_file(self) -> tuple[Secret, ...] | None:
        if self._secret_file is None:
            return None
        place = f"webhook_secret_file {shown_path(self._secret_file)}"
        try:
            return _secrets(private_content(self._secret_file, place, private=True), place)
        except FileNotFoundError:
            raise CredentialError(f"{place}: there is no such file") from None


def _secrets(content: bytes, place: str) -> tuple[Secret, ...]:
    lines = [line.strip() for line in content.splitlines() if line.strip()]
    if not lines:
        raise CredentialError(f"{place}: is empty")
    if len(lines) > MOST:
        raise CredentialError(f"{place}: holds {len(lines)} secrets; there may be {MOST}, one a line")
    # Checked as bytes: a decoding error would carry them along.
    if not all(0x21 <= byte <= 0x7E for line in lines for byte in line):  # noqa: PLR2004 - printable ASCII
        raise CredentialError(f"{place}: must be lines of printable ASCII without spaces")
    return tuple(Secret(line.decode("ascii")) for line in lines)
