"""The settings and the key, read again while we serve.

What can change takes effect for calls that begin from then on; what needs a remount is named in one line. If
anything cannot be used, everything stays as it was, and one line says why.

Threading: `run` is called on one thread, that of `signals.py`.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kallglotfs.config.settings import CHANGEABLE, Settings
from kallglotfs.errors import ConfigError, KallglotError
from kallglotfs.logs.repeats import ASKED_FOR

if TYPE_CHECKING:
    from collections.abc import Callable

    from kallglotfs.config.credentials import Credentials
    from kallglotfs.logs import Log
    from kallglotfs.notify import Notifier

asked_for = logging.getLogger(ASKED_FOR)


@dataclass(frozen=True, slots=True)
class Change:
    """What is different in settings that were read again.

    Attributes:
        settings: those in use from now on.
        taken: names of what changes now.
        remount: names of what only a remount changes; of these `settings` has the old values.
    """

    settings: Settings
    taken: tuple[str, ...]
    remount: tuple[str, ...]


def change(before: Settings, found: Settings) -> Change:
    """Return what of the settings found can be taken over."""
    different = [name for name in Settings.model_fields if getattr(before, name) != getattr(found, name)]
    taken = [name for name in different if _may_change(name, before, found)]
    settings = before.model_copy(update={name: getattr(found, name) for name in taken})
    return Change(settings, tuple(taken), tuple(name for name in different if name not in taken))


class Reload:
    """Reads the settings and the key again.

    Args:
        read: reads the settings as they were read at first; raises `KallglotError`.
        settings: those in use.
        credentials: where the key is looked for.
        log: the log, which is opened anew.
        adopt: takes settings over.
        renew_key: takes over the key that is kept now.
        notifier: tells the service manager.
    """

    def __init__(
        self,
        read: Callable[[], Settings],
        settings: Settings,
        credentials: Credentials,
        log: Log,
        adopt: Callable[[Settings], None],
        renew_key: Callable[[], None],
        notifier: Notifier,
    ) -> None:
        self._read = read
        self._settings = settings
        self._credentials = credentials
        self._log = log
        self._adopt = adopt
        self._renew_key = renew_key
        self._notifier = notifier

    def run(self) -> None:
        """Read them again and take over what can change."""
        self._notifier.reloading()
        try:
            self._reload()
        finally:
            self._notifier.ready()

    def _reload(self) -> None:
        # First of all: who rotates logs wants this whatever the settings are worth.
        with contextlib.suppress(OSError):
            self._open_log(self._settings)
        try:
            found = change(self._settings, self._read())
            self._use(found.settings)
        except KallglotError as error:
            # Each time: whoever mends a file and asks again wants to know.
            asked_for.error("reload: everything stays as it was: %s", error)
            return
        self._settings = found.settings
        self._adopt(found.settings)
        self._renew_key()
        asked_for.info(
            "reloaded: %s", ", ".join(found.taken) or "no setting has changed", extra={"changed": found.taken}
        )
        if found.remount:
            asked_for.warning(
                "reload: only a remount changes %s",
                ", ".join(found.remount),
                extra={"remount": found.remount},
            )

    def _use(self, settings: Settings) -> None:
        """Look for the key and log where the settings say.

        Raises:
            KallglotError: the one cannot be found or the other be opened; then nothing is changed.
        """
        before = self._credentials.look_in(settings.api_key_file)
        try:
            self._credentials.read()
            self._open_log(settings)
        except OSError as error:
            self._credentials.look_in(before)
            raise ConfigError(f"log_file: {error.strerror}: {_name(error)}") from None
        except KallglotError:
            self._credentials.look_in(before)
            raise

    def _open_log(self, settings: Settings) -> None:
        self._log.apply(settings.log_level, settings.log_file, settings.log_format)


def _may_change(name: str, before: Settings, found: Settings) -> bool:
    if name == "disk_cache":
        # The tier is built, with its keys and threads, when the mount is made, or it is not there.
        return bool(before.disk_cache) and bool(found.disk_cache)
    return name in CHANGEABLE


def _name(error: OSError) -> str:
    return str(Path(error.filename)) if error.filename else "?"
