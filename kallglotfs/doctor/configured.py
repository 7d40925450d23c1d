"""What the user has configured: settings, the API key, webhooks."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from typing import TYPE_CHECKING

from kallglotfs.config.credentials import VARIABLE, Credentials
from kallglotfs.config.settings import load
from kallglotfs.doctor.finding import Finding, Level, failed, failure, ok, quoted, warning
from kallglotfs.errors import ConfigError, CredentialError
from kallglotfs.webhooks.secrets import WebhookSecrets

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kallglotfs.config.addresses import Address
    from kallglotfs.config.settings import Settings


def settings(options: Mapping[str, str], profile: str) -> tuple[Settings | None, Finding]:
    """Load the settings as a mount does.

    Returns:
        The settings, None where a mount would refuse them, and what was found.
    """
    name = "settings"
    try:
        loaded = load(options, profile)
    except ConfigError as error:
        text = str(error)
        hint = text.partition("(did you mean ")[2].rstrip("?)")
        if hint:
            return None, failure(name, text, f"write {hint} in its place")
        if text.endswith("there is no configuration file"):
            mend = f"put a table [{profile}] into ~/.config/kallglotfs/config.toml, or name none"
            return None, failure(name, text, mend)
        return None, failed(name, error, "mend that line; docs/settings.md names every setting")
    source = loaded.config or "the usual configuration file, if there is one"
    return loaded, ok(name, f"profile {profile}, from {source}")


def key(credentials: Credentials, file: Path | None) -> Finding:
    """Look for the API key where a mount looks, and judge the place.

    Args:
        credentials: of the profile.
        file: the setting `api_key_file`.
    """
    name = "key source"
    try:
        _, place = credentials.find()
    except CredentialError as error:
        return _unusable(name, str(error), file)
    also = (
        f"; {VARIABLE} is set as well, and not used" if place != VARIABLE and VARIABLE in os.environ else ""
    )
    return ok(name, f"{place}{also}")


def api_url(settings: Settings) -> Finding:
    """Check that the key does not travel in the clear."""
    name = "api_url"
    host = settings.api_url.partition("://")[2].partition("/")[0].rpartition("@")[2]
    local = host.startswith(("127.", "localhost", "[::1]"))
    if settings.api_url.startswith("https:") or local:
        return ok(name, settings.api_url)
    found = f"{settings.api_url} is plain http: anybody on the way can read the key and the calls"
    return warning(name, found, f"set api_url=https://{settings.api_url.partition('://')[2]}")


def webhooks(settings: Settings, *, mounted: bool) -> Finding:
    """Check that webhooks can be received, where they are wanted.

    Args:
        settings: of the profile.
        mounted: whether a mount of ours is there, which then may be who listens already.
    """
    name = "webhooks"
    address, file = settings.webhook_listen, settings.webhook_secret_file
    if address is None:
        return ok(name, "off" if file is None else "off: webhook_listen is not set, the secret is not used")
    try:
        WebhookSecrets(file).read()
    except CredentialError as error:
        return _unusable(name, str(error), file)
    if address.path:
        return ok(name, f"on {address}")
    try:
        _try(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE and mounted:
            return ok(name, f"on {address}, where somebody listens: a mount, it seems")
        mend = "name a free address of this machine: webhook_listen=127.0.0.1:8787"
        if error.errno == errno.EADDRINUSE:
            mend = f"find out who: ss -ltnp 'sport = :{address.port}'; or name another port"
        return failure(name, f"cannot listen on {address}: {error.strerror}", mend)
    return ok(name, f"on {address}")


def _unusable(name: str, text: str, file: Path | None) -> Finding:
    """Return what is wrong with a secret's place, and the command that mends it."""
    found, _, advice = text.partition("; ")
    path = quoted(file) if file is not None else "FILE"
    mends = {
        "belongs to another user": f"sudo chown $(id -un) {path}",
        "there is no such file": f"install -m 600 /dev/stdin {path}   (then paste it, Enter, Ctrl-D)",
        "is empty": f"write it into {path}: nano {path}",
        "must be": f"leave nothing but the secret itself in it: nano {path}",
        "others may read it": f"chmod 600 {path}",
        "cannot be read": f"sudo chown $(id -un) {path}; chmod 600 {path}",
        "not a regular file": "name the file itself",
        "is larger than": "name the file that holds the secret alone",
        "no API key": "install -m 600 /dev/stdin ~/.kallglot-key   (paste the key, Enter, Ctrl-D), and set "
        "api_key_file=~/.kallglot-key; what a unit loads (LoadCredential=), the unit alone sees",
    }
    if file is None:
        mends["is empty"] = "set it, or unset it and use api_key_file"
        mends["must be"] = "it must be the secret alone, without blanks or quotation marks"
    mend = next((mend for words, mend in mends.items() if words in found), advice)
    return Finding(name, Level.FAILURE, found, mend)


def _try(address: Address) -> None:
    """Bind an address for a moment; nothing is accepted there.

    Raises:
        OSError: it cannot be had.
    """
    family, kind, protocol, _, place = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with contextlib.closing(socket.socket(family, kind, protocol)) as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(place)
        # Only listening tells: two that are merely bound may share an address.
        made.listen(1)
