"""The types of the settings: each reads the text a user wrote and says in one line what is wrong with it.

Users: `settings.py`. A type is an `Annotated` with a validator and a `Kind`, from which `reference.py`
takes what to print. Validators also take the ready value, so that code can build `Settings` directly.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator

from kallglotfs.config.addresses import Address, parse_address
from kallglotfs.config.quoting import shown
from kallglotfs.config.units import format_duration, format_size, parse_duration, parse_size
from kallglotfs.model import FORMATS, RATES

#: The symbolic format: each recording in its own.
NATIVE = "native"
#: The longest time a setting may name, in seconds: threading's waits overflow far above it.
LONGEST = 24 * 3600.0
# The largest id that is not the -1 of chown(2).
_LAST_ID = 2**32 - 2
_TRUE = ("true", "yes", "1", "on")
_FALSE = ("false", "no", "0", "off")


@dataclass(frozen=True, slots=True)
class Kind:
    """How the reference describes a type.

    Attributes:
        text: what to write, such as `size`.
        unit: what a number without a unit counts; empty where nothing is counted.
        show: renders a value as the user would write it.
    """

    text: str
    unit: str = ""
    show: Callable[[Any], str] = str


def _optional(read: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else read(value)


def _integer(low: int, high: int, value: Any) -> int:
    text = str(value).strip()
    if isinstance(value, bool) or not (text.isascii() and text.isdigit()):
        raise ValueError(f"{shown(value)} is not a whole number")
    if len(text) > len(str(high)) or not low <= int(text) <= high:
        raise ValueError(f"{shown(value)} is not between {low} and {high}")
    return int(text)


def _size(minimum: int, value: Any) -> int:
    if isinstance(value, bool):
        raise ValueError(f"{shown(value)} is not a size (examples: 64M, 10G)")  # noqa: TRY004 - pydantic's way
    try:
        size = parse_size(str(value))
    except ValueError:
        raise ValueError(f"{shown(value)} is not a size (examples: 64M, 10G)") from None
    if size < minimum:
        raise ValueError(f"{shown(value)} is too small (at least {format_size(minimum)})")
    return size


def _seconds(minimum: float, value: Any) -> float:
    try:
        seconds = float(value) if isinstance(value, float) else parse_duration(str(value))
    except ValueError:
        raise ValueError(f"{shown(value)} is not a time (examples: 20s, 5m)") from None
    if not minimum <= seconds <= LONGEST:  # also refuses NaN
        limits = f"{format_duration(minimum)} to {format_duration(LONGEST)}"
        raise ValueError(f"{shown(value)} is out of range ({limits})")
    return seconds


def _flag(value: Any) -> bool:
    text = str(value).strip().lower()
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f"{shown(value)} is neither true nor false (true, yes, on, 1; false, no, off, 0)")


def _choice(words: tuple[str, ...], value: Any) -> str:
    text = str(value).strip().lower()
    if text not in words:
        raise ValueError(f"{shown(value)} is not one of {', '.join(words)}")
    return text


def _rate(value: Any) -> int:
    text = str(value).strip()
    if text not in map(str, (0, *RATES)) or isinstance(value, bool):
        raise ValueError(f"{shown(value)} is not a sample rate (0, {', '.join(map(str, RATES))})")
    return int(text)


def _octal(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        value = f"{value:o}"
    text = str(value).strip()
    try:
        bits = int(text.removeprefix("0o"), 8) if text.isalnum() and text.isascii() else -1
    except ValueError:
        bits = -1
    if not 0 <= bits <= 0o777:  # noqa: PLR2004 - the permission bits
        raise ValueError(f"{shown(value)} is not an octal mask (examples: 022, 0077)")
    return bits


def _formats(value: Any) -> tuple[str, ...]:
    names = value.split("+") if isinstance(value, str) else list(value)
    names = [str(name).strip().lower() for name in names]
    if names == [NATIVE]:
        return (NATIVE,)
    if names == ["all"]:
        return FORMATS
    if not names or any(name not in FORMATS for name in names):
        wanted = f"native, all, or some of {'+'.join(FORMATS)}"
        raise ValueError(f"{shown(value if isinstance(value, str) else '+'.join(names))} is not {wanted}")
    return tuple(dict.fromkeys(names))


def _path(value: Any) -> Path:
    text = os.fspath(value)
    if not text.strip() or "\0" in text:
        raise ValueError(f"{shown(text)} is not a path")
    try:
        # The daemon changes its directory, so the path is pinned to the one it was written in.
        return Path(text).expanduser().absolute()
    except (RuntimeError, OSError):
        raise ValueError(f"{shown(text)} leads nowhere: no such home or working directory") from None


def _api_url(value: Any) -> str:
    text = str(value).strip()
    # Either may carry a secret, so nothing of it is repeated.
    if any(mark in text for mark in "@?#"):
        raise ValueError("must be a plain URL without user name, query or fragment")
    if not text.isprintable() or not text.isascii() or " " in text:
        raise ValueError(f"{shown(text)} is not an http or https URL")
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(f"{shown(text)} is not an http or https URL")
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"


def _programs(value: Any) -> tuple[str, ...]:
    names = value.split("+") if isinstance(value, str) else list(value)
    names = [str(name).strip() for name in names]
    if names in ([""], ["none"]):
        return ()
    if any(not name or "/" in name or not name.isprintable() for name in names):
        raise ValueError(f"{shown(value)} is not none or program names joined by +")
    return tuple(dict.fromkeys(names))


def _listen(value: Any) -> Address | None:
    if isinstance(value, Address):
        return value
    text = str(value).strip()
    if text.lower() == "off":
        return None
    try:
        return parse_address(text)
    except ValueError:
        examples = "127.0.0.1:8787, [::1]:8787, unix:/run/kallglotfs/hooks.sock, off"
        raise ValueError(f"{shown(text)} is not an address to listen on (examples: {examples})") from None


_LEVELS = ("debug", "info", "warning", "error")
_LOG_FORMATS = ("text", "json")

ApiUrl = Annotated[str, BeforeValidator(_api_url), Kind("URL")]
Formats = Annotated[
    tuple[str, ...],
    BeforeValidator(_formats),
    Kind(
        f"native, all, or some of {'+'.join(FORMATS)}",
        show=lambda names: "all" if names == FORMATS else "+".join(names),
    ),
]
Programs = Annotated[
    tuple[str, ...],
    BeforeValidator(_programs),
    Kind("none, or program names joined by +", show=lambda names: "+".join(names) or "none"),
]
SampleRate = Annotated[int, BeforeValidator(_rate), Kind(f"0, {', '.join(map(str, RATES))}", "Hz")]
Seconds = Annotated[
    float, BeforeValidator(partial(_seconds, 0.001)), Kind("time", "seconds", format_duration)
]
Patience = Annotated[float, BeforeValidator(partial(_seconds, 0.0)), Kind("time", "seconds", format_duration)]
MemorySize = Annotated[
    int, BeforeValidator(partial(_size, 8 * 1024 * 1024)), Kind("size, at least 8M", "bytes", format_size)
]
Size = Annotated[int, BeforeValidator(partial(_size, 0)), Kind("size", "bytes", format_size)]
Streams = Annotated[int, BeforeValidator(partial(_integer, 1, 64)), Kind("1 to 64")]
Id = Annotated[
    int | None, BeforeValidator(partial(_optional, partial(_integer, 0, _LAST_ID))), Kind("number")
]
Mask = Annotated[int, BeforeValidator(_octal), Kind("octal", show=lambda bits: f"{bits:03o}")]
Flag = Annotated[bool, BeforeValidator(_flag), Kind("true or false", show=lambda flag: str(flag).lower())]
Level = Annotated[str, BeforeValidator(partial(_choice, _LEVELS)), Kind(", ".join(_LEVELS))]
LogFormat = Annotated[str, BeforeValidator(partial(_choice, _LOG_FORMATS)), Kind(" or ".join(_LOG_FORMATS))]
Listen = Annotated[
    Address | None, BeforeValidator(partial(_optional, _listen)), Kind("host:port, unix:path or off")
]
AnyPath = Annotated[Path, BeforeValidator(_path), Kind("path")]
OptionalPath = Annotated[Path | None, BeforeValidator(partial(_optional, _path)), Kind("path")]
