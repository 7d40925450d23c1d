"""Where settings come from: mount options, the environment, and a profile of the configuration file.

User: `settings.load`. Each source gives texts with the words by which an error names their origin;
what the texts mean is up to the field types.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kallglotfs.config.names import did_you_mean, refuse_secret
from kallglotfs.config.profiles import read_profile
from kallglotfs.config.quoting import shown, shown_path
from kallglotfs.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

#: What the environment variables of settings begin with.
PREFIX = "KALLGLOTFS_"


@dataclass(frozen=True, slots=True, repr=False)
class Given:
    """A value as a source gave it.

    Attributes:
        value: the text.
        origin: how an error names the place it stands in.
    """

    value: str
    origin: str


def from_options(options: Mapping[str, str], known: Collection[str]) -> dict[str, Given]:
    """Take the settings out of mount options.

    Raises:
        ConfigError: an option is no setting.
    """
    given = {}
    for name, value in options.items():
        if name not in known:
            refuse_secret(name)
            raise ConfigError(f"unknown option {shown(name)}{did_you_mean(name, known)}")
        given[name] = Given(value, name)
    return given


def from_environment(environ: Mapping[str, str], known: Collection[str]) -> dict[str, Given]:
    """Take the settings out of the environment; an empty variable counts as unset.

    Raises:
        ConfigError: a variable begins with `KALLGLOTFS_` and names no setting.
    """
    given = {}
    for variable, value in environ.items():
        if not variable.startswith(PREFIX):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if variable != f"{PREFIX}{name.upper()}" or name not in known:
            refuse_secret(name)
            variables = [f"{PREFIX}{valid.upper()}" for valid in known]
            hint = did_you_mean(variable, variables, quote="")
            raise ConfigError(f"{shown_path(variable)}: unknown setting{hint}")
        if value:
            given[name] = Given(value, variable)
    return given


def from_profile(
    file: str | None, profile: str, environ: Mapping[str, str], known: Collection[str]
) -> dict[str, Given]:
    """Take the settings out of a profile of the configuration file.

    Args:
        file: the file the user named; None looks in the usual places.
        profile: the table to read.
        environ: tells where the user's own configuration is.
        known: the settings there are.

    Raises:
        ConfigError: the file or the profile is unusable, or holds something that is no setting.
    """
    found = read_profile(file, profile, environ)
    settable = [name for name in known if name != "config"]
    given = {}
    for name, value in found.values.items():
        origin = f"{found.label} {shown_path(name)}"
        if name == "config":
            raise ConfigError(f"{origin}: only -o and the environment can name the configuration file")
        if name not in settable:
            refuse_secret(name)
            raise ConfigError(f"{found.label} unknown setting {shown(name)}{did_you_mean(name, settable)}")
        given[name] = Given(_text(name, value, origin), origin)
    return given


def _text(name: str, value: Any, origin: str) -> str:
    """Return a TOML value as the text a mount option would have, so that every source reads alike."""
    if isinstance(value, str):
        return value
    if name == "umask":
        # TOML has no leading zero, so 22 and "022" would be two masks.
        raise ConfigError(f'{origin}: write an octal mask as text, such as "022"')
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if name == "formats" and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "+".join(value)
    raise ConfigError(f"{origin}: must be a text, a number or true/false")
