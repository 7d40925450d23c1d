"""The one table of every setting, and how its values are put together.

Users: the commands and `mount.py` call `load`; every other part is handed the values it needs.
Reading the sources is in `sources.py`, the meaning of a type in `fields.py`.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import platformdirs
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from kallglotfs.config import fields, sources
from kallglotfs.config.indexers import INDEXERS
from kallglotfs.config.names import DEFAULT_PROFILE
from kallglotfs.config.units import MIB
from kallglotfs.errors import ConfigError


def _from_systemd(variable: str) -> Path | None:
    """Return the first directory of a unit's `StateDirectory=`, `CacheDirectory=` (systemd.exec(5))."""
    path = os.environ.get(variable, "").partition(":")[0]
    return Path(path) if path.startswith("/") else None


def _state_dir() -> Path:
    """Return where state is kept: as systemd says, the system's place for root, else the user's own."""
    if given := _from_systemd("STATE_DIRECTORY"):
        return given
    if os.geteuid() == 0:
        return Path("/var/lib/kallglotfs")
    return platformdirs.user_state_path("kallglotfs")


def _cache_dir() -> Path:
    """Return where caches are kept: as systemd says, the system's place for root, else the user's own."""
    if given := _from_systemd("CACHE_DIRECTORY"):
        return given
    if os.geteuid() == 0:
        return Path("/var/cache/kallglotfs")
    return platformdirs.user_cache_path("kallglotfs")


def _shown_as(text: str) -> dict[str, Any]:
    """Return what makes the reference print `text` in place of a default that depends on the machine."""
    return {"shown_default": text}


#: Marks a setting that SIGHUP changes without a remount.
RELOADABLE: dict[str, Any] = {"reloadable": True}


class Settings(BaseSettings):
    """Every setting of a mount: name, type, default and help.

    Built by `load`, or directly by code that has the values already. Building it directly reads no
    environment and raises pydantic's `ValidationError`; `load` raises `ConfigError`.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True
    )

    api_url: fields.ApiUrl = Field(
        default="https://api.kallglot.com/v1", description="Where the Kallglot API is."
    )
    api_key_file: fields.OptionalPath = Field(
        default=None,
        description="File that holds the API key; owned by you or root, mode 600.",
        json_schema_extra=_shown_as("none") | RELOADABLE,
    )
    config: fields.OptionalPath = Field(
        default=None,
        description="Configuration file with one TOML table per profile; not a setting of a profile.",
        json_schema_extra=_shown_as("~/.config/kallglotfs/config.toml, else /etc/kallglotfs/config.toml"),
    )
    formats: fields.Formats = Field(
        default=(fields.NATIVE,), description="Formats that directories show; any can be opened by name."
    )
    sample_rate: fields.SampleRate = Field(
        default=0, description="Sample rate of the files that directories show; 0 is the original."
    )
    timeout: fields.Seconds = Field(
        default=20.0,
        description="How long one call may take, retries included.",
        json_schema_extra=RELOADABLE,
    )
    throttle_timeout: fields.Patience = Field(
        default=90.0,
        description="How long a call may wait for the API's rate limit.",
        json_schema_extra=RELOADABLE,
    )
    memory_cache: fields.MemorySize = Field(default=256 * MIB, description="Memory for recently read audio.")
    cache_dir: fields.AnyPath = Field(
        default_factory=_cache_dir,
        description="Where audio is kept, sealed, when `disk_cache` allows it.",
        json_schema_extra=_shown_as("/var/cache/kallglotfs for root, else ~/.cache/kallglotfs"),
    )
    disk_cache: fields.Size = Field(
        default=0,
        description="Disk space for sealed audio; 0 keeps audio off the disk, and takes a remount to change.",
        json_schema_extra=RELOADABLE,
    )
    streams: fields.Streams = Field(default=8, description="Range requests to the storage at one time.")
    uid: fields.Id = Field(
        default=None,
        description="Owner of the files, as a number.",
        json_schema_extra=_shown_as("the mounting user") | RELOADABLE,
    )
    gid: fields.Id = Field(
        default=None,
        description="Group of the files, as a number.",
        json_schema_extra=_shown_as("the mounting user's group") | RELOADABLE,
    )
    umask: fields.Mask = Field(
        default=0,
        description="Permission bits to take from files and directories.",
        json_schema_extra=RELOADABLE,
    )
    allow_other: fields.Flag = Field(default=False, description="Let other users read the mount.")
    state_dir: fields.AnyPath = Field(
        default_factory=_state_dir,
        description="Where the list of known recordings is kept.",
        json_schema_extra=_shown_as("/var/lib/kallglotfs for root, else ~/.local/state/kallglotfs"),
    )
    ids_file: fields.OptionalPath = Field(
        default=None,
        description="File of recording and session ids that is watched: what is added to it appears.",
        json_schema_extra=_shown_as("none") | RELOADABLE,
    )
    backfill: fields.Flag = Field(
        default=False,
        description="Page through the service's list of sessions in the background, where it has one.",
    )
    deny_programs: fields.Programs = Field(
        default=INDEXERS,
        description="Programs that may not open anything here: indexers and thumbnailers.",
        json_schema_extra=RELOADABLE,
    )
    webhook_listen: fields.Listen = Field(
        default=None,
        description="Address on which webhooks are received, behind your TLS proxy.",
        json_schema_extra=_shown_as("off"),
    )
    webhook_secret_file: fields.OptionalPath = Field(
        default=None,
        description="File that holds the webhooks' signing secret, two while it is changed, one a line; "
        "owned by you or root, mode 600.",
        json_schema_extra=_shown_as("none"),
    )
    metrics: fields.Listen = Field(
        default=None,
        description="Address on which Prometheus finds `/metrics`, such as 127.0.0.1:9477.",
        json_schema_extra=_shown_as("off"),
    )
    log_level: fields.Level = Field(
        default="info",
        description="The least serious event that is logged.",
        json_schema_extra=RELOADABLE,
    )
    log_format: fields.LogFormat = Field(
        default="text",
        description="What a line of the log looks like; json is one object a line.",
        json_schema_extra=RELOADABLE,
    )
    log_file: fields.OptionalPath = Field(
        default=None,
        description="File to log to.",
        json_schema_extra=_shown_as("syslog in the background, stderr in the foreground") | RELOADABLE,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values from the caller alone: `load` knows which source a bad value came from."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)


def marked(name: str, mark: str) -> Any:
    """Return what the table says of a setting under a mark such as `reloadable`, None for nothing."""
    extra = Settings.model_fields[name].json_schema_extra
    return extra.get(mark) if isinstance(extra, dict) else None


#: The settings that SIGHUP changes without a remount.
CHANGEABLE = frozenset(name for name in Settings.model_fields if marked(name, "reloadable"))
#: The settings that are paths of files.
PATHS = frozenset(
    name
    for name, field in Settings.model_fields.items()
    if any(isinstance(mark, fields.Kind) and mark.text == "path" for mark in field.metadata)
)
#: The settings a bare `-o name` turns on.
FLAGS = frozenset(name for name, field in Settings.model_fields.items() if field.annotation is bool)


def load(
    options: Mapping[str, str],
    profile: str = DEFAULT_PROFILE,
    environ: Mapping[str, str] = os.environ,
    directory: str = "",
) -> Settings:
    """Put the settings together: mount options, then environment, then the profile, then the defaults.

    Args:
        options: what `-o` or long options say, by setting name.
        profile: which table of the configuration file to use.
        environ: where `KALLGLOTFS_<NAME>` is looked up.
        directory: where relative paths start; "" for the working directory.

    Returns:
        Checked settings; every path in them is absolute.

    Raises:
        ConfigError: an unknown name, a bad value or an unusable configuration file, in one line.
    """
    known = tuple(Settings.model_fields)
    given = {
        **sources.from_environment(environ, known),
        **sources.from_options(options, known),
    }
    file = given.get("config")
    path = None if file is None else _below(directory, file.value)
    given = {**sources.from_profile(path, profile, environ, known), **given}
    try:
        texts: dict[str, Any] = {
            name: _below(directory, each.value) if name in PATHS else each.value
            for name, each in given.items()
        }
        return Settings(**texts)
    except ValidationError as error:
        # Only the first: one line, and the next run tells the next.
        first = error.errors(include_url=False, include_input=False)[0]
        name = str(first["loc"][0])
        reason = first.get("ctx", {}).get("error", first["msg"])
        raise ConfigError(f"{given[name].origin if name in given else name}: {reason}") from None


def _below(directory: str, path: str) -> str:
    """Return a path as it was meant in a directory that is no longer the working directory."""
    own = not directory or not path.strip() or path.startswith(("/", "~"))
    return path if own else f"{directory.rstrip('/')}/{path}"
