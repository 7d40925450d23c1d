"""The API key: where it is looked for, and what is refused.

Users: `mount.py` and the commands. The key only leaves here as a `Secret`; no message holds any of it.

Threading: `read` may be called from any thread; `forget_environment` is called once, before others run.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from kallglotfs.config.names import DEFAULT_PROFILE
from kallglotfs.config.quoting import shown_path
from kallglotfs.errors import CredentialError
from kallglotfs.model import Secret

if TYPE_CHECKING:
    from collections.abc import MutableMapping

#: The environment variable that may hold the key.
VARIABLE = "KALLGLOT_API_KEY"
#: The name of the systemd credential (`LoadCredential=kallglot_api_key:…`).
CREDENTIAL = "kallglot_api_key"
#: The service under which the desktop keyring keeps it; the user is the profile.
KEYRING_SERVICE = "kallglotfs"
#: The largest key file that is read, in bytes.
LIMIT = 4096

# Without O_NONBLOCK, opening a FIFO waits for a writer.
_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK


class Credentials:
    """Finds the API key of one profile.

    Args:
        api_key_file: the setting of that name.
        environ: where `KALLGLOT_API_KEY` and `CREDENTIALS_DIRECTORY` are looked up.
        profile: whose key the keyring is asked for.
    """

    def __init__(
        self,
        api_key_file: Path | None,
        environ: MutableMapping[str, str] = os.environ,
        profile: str = DEFAULT_PROFILE,
    ) -> None:
        self._api_key_file = api_key_file
        self._environ = environ
        self._profile = profile
        self._captured: Secret | None = None

    def __repr__(self) -> str:
        return f"Credentials(api_key_file={self._api_key_file!r}, profile={self._profile!r})"

    def look_in(self, api_key_file: Path | None) -> Path | None:
        """Change the setting `api_key_file`; return what it was."""
        before, self._api_key_file = self._api_key_file, api_key_file
        return before

    def forget_environment(self) -> None:
        """Take `KALLGLOT_API_KEY` out of the environment and remember it here: children do not inherit it."""
        value = self._environ.get(VARIABLE)
        if value is not None:
            self._captured = Secret(value)
            _blank(VARIABLE, value)
            del self._environ[VARIABLE]

    def read(self) -> Secret:
        """Look for the key, afresh each time, so that a rotated one is found.

        A place that holds something unusable is an error: falling through to the next would use another
        account's key without a word.

        Returns:
            The key.

        Raises:
            CredentialError: there is none, or its place or form is refused.
        """
        key = self._from_systemd() or self._from_file() or self._from_environment() or self._from_keyring()
        if key is None:
            raise CredentialError(
                f"no API key: looked in systemd's credential {CREDENTIAL}, api_key_file, {VARIABLE} and the "
                "keyring; put the key in a file of mode 600 and name it in api_key_file"
            )
        return key

    def _from_systemd(self) -> Secret | None:
        directory = self._environ.get("CREDENTIALS_DIRECTORY")
        if not directory:
            return None
        path = Path(directory, CREDENTIAL)
        # systemd alone decides who reads it, by mode 0400 or by an access list that shows as 0440.
        place = f"systemd's credential {CREDENTIAL}"
        try:
            return _key(private_content(path, place, private=False), place)
        except FileNotFoundError:
            return None

    def _from_file(self) -> Secret | None:
        if self._api_key_file is None:
            return None
        place = f"api_key_file {shown_path(self._api_key_file)}"
        try:
            return _key(private_content(self._api_key_file, place, private=True), place)
        except FileNotFoundError:
            raise CredentialError(f"{place}: there is no such file") from None

    def _from_environment(self) -> Secret | None:
        value = self._environ.get(VARIABLE)
        if value is None and self._captured is not None:
            value = self._captured.reveal()
        return _key(os.fsencode(value), VARIABLE) if value else None

    def _from_keyring(self) -> Secret | None:
        try:
            # Not imported at the top: it is an extra, and importing it takes about 100 ms.
            value = importlib.import_module("keyring").get_password(KEYRING_SERVICE, self._profile)
        except Exception:  # noqa: BLE001 - back ends raise what they like; without one there is no key
            return None
        return _key(str(value).encode(), f"keyring {KEYRING_SERVICE}") if value else None


def _blank(variable: str, value: str) -> None:
    """Overwrite a variable where the process was given it: `/proc/PID/environ` shows that for ever."""
    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_void_p
    address = libc.getenv(variable.encode())
    if address:
        ctypes.memset(address, ord("*"), len(os.fsencode(value)))


def private_content(path: Path, place: str, *, private: bool) -> bytes:
    """Return what a file holds that keeps a secret.

    Args:
        path: the file; a link is followed, what counts is the file it leads to.
        place: names it in an error.
        private: insist on the owner and on mode 600 or less.

    Raises:
        FileNotFoundError: there is no such file.
        CredentialError: it cannot be read, or is not safe.
    """
    try:
        descriptor = os.open(path, _OPEN_FLAGS)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise CredentialError(f"{place}: cannot be read: {reason}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise CredentialError(f"{place}: is not a regular file")
        if private and status.st_uid not in (os.geteuid(), 0):
            raise CredentialError(f"{place}: belongs to another user; it must be yours or root's")
        if private and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise CredentialError(f"{place}: others may read it; run chmod 600 {shown_path(path)}")
        content = os.read(descriptor, LIMIT + 1)  # of a regular file, all there is
    except OSError as error:
        raise CredentialError(f"{place}: cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)
    if len(content) > LIMIT:
        raise CredentialError(f"{place}: is larger than {LIMIT} bytes, so it is not a key")
    return content


def _key(content: bytes, place: str) -> Secret:
    """Return the key that `content` is, checked as bytes: a decoding error would carry it along."""
    key = content.strip()
    if not key:
        raise CredentialError(f"{place}: is empty")
    if not all(0x21 <= byte <= 0x7E for byte in key):  # noqa: PLR2004 - printable ASCII but the space
        raise CredentialError(f"{place}: must be one line of printable ASCII without spaces")
    return Secret(key.decode("ascii"))
