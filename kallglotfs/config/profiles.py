"""The configuration file: where it is, and one profile (TOML table) out of it.

User: `sources.from_profile`.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kallglotfs.config.names import DEFAULT_ALIAS, DEFAULT_PROFILE, did_you_mean, refuse_secret
from kallglotfs.config.quoting import shown, shown_path, without_keys
from kallglotfs.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The configuration of the whole machine.
SYSTEM_FILE = Path("/etc/kallglotfs/config.toml")

# How tomllib says where an error is.
_PLACE = re.compile(r"\s*\(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)$")


@dataclass(frozen=True, slots=True, repr=False)
class Profile:
    """One table of the configuration file.

    Attributes:
        values: what it holds, as TOML gave it.
        label: begins an error about it: the file and the table.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""


def read_profile(file: str | None, profile: str, environ: Mapping[str, str]) -> Profile:
    """Read one profile.

    Args:
        file: the file the user named; None looks for the user's, then for the machine's.
        profile: the table; the default one may be absent, and so may the file then.
        environ: `XDG_CONFIG_HOME` and `HOME` tell where the user's file is.

    Returns:
        The table; empty where the default profile is absent.

    Raises:
        ConfigError: the file cannot be used, or there is no such profile.
    """
    path, text = _find(file, environ)
    tables = {} if path is None else _tables(path, text)
    default = profile in ("", DEFAULT_PROFILE, DEFAULT_ALIAS)
    for name in (DEFAULT_PROFILE, DEFAULT_ALIAS) if default else (profile,):
        if name in tables:
            return Profile(tables[name], f"{shown_path(str(path))}: [{_key(name)}]")
    if default:
        return Profile()
    if path is None:
        raise ConfigError(f"no profile {shown(profile)}: there is no configuration file")
    raise ConfigError(f"no profile {shown(profile)} in {shown_path(path)}{did_you_mean(profile, tables)}")


def _find(file: str | None, environ: Mapping[str, str]) -> tuple[Path | None, bytes]:
    """Return the configuration file and its content; a file that was not named may be absent."""
    if file is not None:
        try:
            path = Path(file).expanduser().absolute()
            return path, _content(path)
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfigError(f"{shown_path(file)}: cannot be read: {_reason(error)}") from None
    for path in (*_user_files(environ), SYSTEM_FILE):
        try:
            return path, _content(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise ConfigError(f"{shown_path(path)}: cannot be read: {_reason(error)}") from None
    return None, b""


def _content(path: Path) -> bytes:
    # Without O_NONBLOCK, opening a FIFO waits for a writer.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            # One without a writer would count as empty, and every setting silently be the default.
            raise OSError(errno.EINVAL, "is not a regular file", str(path))
        return file.read()


def _user_files(environ: Mapping[str, str]) -> list[Path]:
    """Return the user's own configuration file by the XDG rules, which ignore a relative directory.

    None for a user without a home, as a service may run under.
    """
    base = environ.get("XDG_CONFIG_HOME", "")
    if not base.startswith("/"):
        home = environ.get("HOME", "")
        try:
            # mount(8) may clean the environment; the password database knows as well.
            base = f"{home}/.config" if home.startswith("/") else str(Path("~/.config").expanduser())
        except RuntimeError:
            return []
    return [Path(base, "kallglotfs", "config.toml")]


def _tables(path: Path, content: bytes) -> dict[str, dict[str, Any]]:
    """Return the file's profiles by name."""
    place = shown_path(path)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line, column = _position(content[: error.start].decode(errors="replace"))
        raise ConfigError(f"{place}:{line}:{column}: not UTF-8 text") from None
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{place}{_syntax(str(error), text)}") from None
    for name, value in document.items():
        if not isinstance(value, dict):
            refuse_secret(name)
            raise ConfigError(f"{place}: {shown(name)} stands outside a profile; put it below [default]")
    return document


def _syntax(message: str, text: str) -> str:
    """Return tomllib's message with its place in front, as compilers print it."""
    match = _PLACE.search(message)
    if match is None:
        return f": {_one_line(message)}"
    line, column = (match["line"], match["column"]) if match["line"] else _position(text)
    return f":{line}:{column}: {_one_line(message[: match.start()])}"


def _position(before: str) -> tuple[int, int]:
    """Return line and column, counted from 1, of what follows `before`."""
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def _one_line(message: str) -> str:
    return " ".join(without_keys(message).split())


def _reason(error: Exception) -> str:
    return _one_line((error.strerror if isinstance(error, OSError) else None) or str(error))


def _key(name: str) -> str:
    return name if re.fullmatch(r"[\w-]+", name) else shown(name)
