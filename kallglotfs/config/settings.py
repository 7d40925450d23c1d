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


def _state_dir() -> Path:
    """Return where state is kept: the system's place for root, the user's own otherwise."""
    if os.geteuid() == 0:
        return Path("/var/lib/kallglotfs")
    return platformdirs.user_state_path("kallglotfs")


def _cache_dir() -> Path:
    """Return where caches are kept: the system's place for root, the user's own otherwise."""
    if os.geteuid() == 0:
        return Path("/var/cache/kallglotfs")
    return platformdirs.user_cache_path("kallglotfs")


def _shown_as(text: str) -> dict[str, Any]:
    """Return what makes the reference print `text` in place of a default that depends on the machine."""
    return {"shown_default": text}


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
        json_schema_extra=_shown_as("none"),
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
    timeout: fields.Seconds = Field(default=20.0, description="How long one call may take, retries included.")
    throttle_timeout: fields.Patience = Field(
        default=90.0, description="How long a call may wait for the API's rate limit."
    )
    memory_cache: fields.MemorySize = Field(default=256 * MIB, description="Memory for recently read audio.")
    cache_dir: fields.AnyPath = Field(
        default_factory=_cache_dir,
        description="Where audio is kept, sealed, when `disk_cache` allows it.",
        json_schema_extra=_shown_as("/var/cache/kallglotfs for root, else ~/.cache/kallglotfs"),
    )
    disk_cache: fields.Size = Field(
        default=0, description="Disk space for sealed audio; 0 keeps audio off the disk."
    )
    streams: fields.Streams = Field(default=8, description="Range requests to the storage at one time.")
    uid: fields.Id = Field(
        default=None,
        description="Owner of the files, as a number.",
        json_schema_extra=_shown_as("the mounting user"),
    )
    gid: fields.Id = Field(
        default=None,
        description="Group of the files, as a number.",
        json_schema_extra=_shown_as("the mounting user's group"),
    )
    umask: fields.Mask = Field(default=0, description="Permission bits to take from files and directories.")
    allow_other: fields.Flag = Field(default=False, description="Let other users read the mount.")
    state_dir: fields.AnyPath = Field(
        default_factory=_state_dir,
        description="Where the list of known recordings is kept.",
        json_schema_extra=_shown_as("/var/lib/kallglotfs for root, else ~/.local/state/kallglotfs"),
    )
    ids_file: fields.OptionalPath = Field(
        default=None,
        description="File of recording and session ids that is watched: what is added to it appears.",
        json_schema_extra=_shown_as("none"),
    )
    backfill: fields.Flag = Field(
        default=False,
        description="Page through the service's list of sessions in the background, where it has one.",
    )
    deny_programs: fields.Programs = Field(
        default=INDEXERS, description="Programs that may not open anything here: indexers and thumbnailers."
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
    log_level: fields.Level = Field(default="info", description="The least serious event that is logged.")
    log_file: fields.OptionalPath = Field(
        default=None,
        description="File to log to.",
        json_schema_extra=_shown_as("syslog in the background, stderr in the foreground"),
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


#: The settings a bare `-o name` turns on.
FLAGS = frozenset(name for name, field in Settings.model_fields.items() if field.annotation is bool)


def load(
    options: Mapping[str, str], profile: str = DEFAULT_PROFILE, environ: Mapping[str, str] = os.environ
) -> Settings:
    """Put the settings together: mount options, then environment, then the profile, then the defaults.

    Args:
        options: what `-o` or long options say, by setting name.
        profile: which table of the configuration file to use.
        environ: where `KALLGLOTFS_<NAME>` is looked up.

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
    given = {**sources.from_profile(file.value if file else None, profile, environ, known), **given}
    try:
        texts: dict[str, Any] = {name: value.value for name, value in given.items()}
        return Settings(**texts)
    except ValidationError as error:
        # Only the first: one line, and the next run tells the next.
        first = error.errors(include_url=False, include_input=False)[0]
        name = str(first["loc"][0])
        reason = first.get("ctx", {}).get("error", first["msg"])
        raise ConfigError(f"{given[name].origin if name in given else name}: {reason}") from None
