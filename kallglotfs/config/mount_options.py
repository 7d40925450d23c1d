"""The `-o` text of mount(8): split it, and tell our settings from what every mount helper gets.

User: `cli.mount_helper`. Pure; what the values mean is up to `settings.load`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kallglotfs.config.names import did_you_mean, refuse_secret
from kallglotfs.config.quoting import shown
from kallglotfs.config.settings import FLAGS, Settings
from kallglotfs.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

# mount(8) and fstab(5), "filesystem-independent mount options": settled by mount(8) itself, or true of
# every read-only FUSE mount, so a helper takes them without a word.
_GENERIC_WORDS = """
    rw ro defaults auto noauto user nouser users owner group _netdev nofail exec noexec suid nosuid dev nodev
    atime noatime relatime norelatime strictatime nostrictatime lazytime nolazytime diratime nodiratime
    sync async dirsync silent loud mand nomand iversion noiversion symfollow nosymfollow
    comment uhelper helper default_permissions
"""
_GENERIC = frozenset(_GENERIC_WORDS.split())
_GENERIC_PREFIXES = ("x-", "X-")
_FIXED = ("fsname", "subtype")
_OPERATION_WORDS = """
    remount bind rbind move private rprivate shared rshared slave rslave unbindable runbindable
"""
_OPERATIONS = frozenset(_OPERATION_WORDS.split())


@dataclass(frozen=True, slots=True, repr=False)
class MountOptions:
    """What an `-o` text says.

    Attributes:
        settings: our settings by name, still as text.
        ignored: names that were passed over because mount(8) said `-s`.
    """

    settings: dict[str, str]
    ignored: tuple[str, ...] = ()


def parse_options(text: str) -> list[tuple[str, str | None]]:
    r"""Split an `-o` text at its commas.

    A comma or backslash in a value is written `\,` and `\\`. As in libmount, a value that begins with a
    double quote runs to the next one and may hold commas; nothing is special inside.

    Args:
        text: for example `allow_other,cache_dir="/srv/a,b"`.

    Returns:
        Names with their values, in order; None where there is no `=`. Empty items are left out.

    Raises:
        ConfigError: a quote is not closed, or more text follows it; an item has no name.
    """
    items = []
    position = 0
    while position < len(text):
        name, position, stop = _plain(text, position, ",=")
        value: str | None = None
        if stop == "=":
            if text.startswith('"', position):
                value, position = _quoted(name, text, position + 1)
            else:
                value, position, _ = _plain(text, position, ",")
        if name:
            items.append((name, value))
        elif value is not None:
            raise ConfigError("an option has no name before its '='")
    return items


def _plain(text: str, position: int, stops: str) -> tuple[str, int, str]:
    """Read up to one of `stops`; return the text without its escapes, the place after it, and the stop."""
    read: list[str] = []
    while position < len(text):
        character = text[position]
        position += 1
        if character == "\\" and text[position : position + 1] in (",", "\\"):
            read.append(text[position])
            position += 1
        elif character in stops:
            return "".join(read), position, character
        else:
            read.append(character)
    return "".join(read), position, ""


def _quoted(name: str, text: str, position: int) -> tuple[str, int]:
    """Read a quoted value from behind its opening quote; return it and the place of the next item."""
    end = text.find('"', position)
    if end < 0:
        raise ConfigError(f"option {shown(name)}: the closing quote is missing")
    if text[end + 1 : end + 2] not in ("", ","):
        raise ConfigError(f"option {shown(name)}: only a comma can follow the closing quote")
    return text[position:end], end + 2


def split_options(items: Iterable[tuple[str, str | None]], *, sloppy: bool) -> MountOptions:
    """Separate our settings from the words that mount(8) and fstab give every helper.

    Args:
        items: what `parse_options` returns; of a setting given twice, the last one counts.
        sloppy: pass over unknown options (`-s`) in place of refusing them.

    Returns:
        The settings, and what was passed over.

    Raises:
        ConfigError: an option is unknown, cannot be had here, lacks its value, or is the API key.
    """
    settings: dict[str, str] = {}
    ignored: list[str] = []
    for name, value in items:
        if name in Settings.model_fields:
            settings[name] = _value(name, value)
        elif name in _GENERIC or name.startswith(_GENERIC_PREFIXES):
            continue
        elif name in _FIXED:
            raise ConfigError(f"option '{name}' is fixed: a mount shows its profile and fuse.kallglotfs")
        elif name in _OPERATIONS:
            raise ConfigError(f"'{name}' is not supported: unmount and mount again")
        else:
            refuse_secret(name)
            if not sloppy:
                guess = did_you_mean(name, [*Settings.model_fields, *sorted(_GENERIC)])
                raise ConfigError(f"unknown option {shown(name)}{guess}")
            ignored.append(name)
    return MountOptions(settings, tuple(ignored))


def _value(name: str, value: str | None) -> str:
    if value is not None:
        return value
    if name in FLAGS:
        return "true"
    raise ConfigError(f"option '{name}' needs a value ({name}=…)")
