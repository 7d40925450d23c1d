"""The kinds of fields that the API's JSON has, read liberally: one that is odd was not sent."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, WrapValidator

#: Bytes a recording may have; a larger number was not meant.
LARGEST = 2**50
#: Seconds a call may last; Hz and bits it may be recorded at.
LONGEST, MOST_HERTZ, MOST_BITS = 366 * 86400.0, 10_000_000, 1024
#: The moments that a recording's times can be between; others are not meant.
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
#: Characters of ids and channels, which are shown, kept and made into names.
WORD = re.compile(r"[A-Za-z0-9_.:-]{1,100}")
#: Characters of other texts; longer ones are not meant.
MOST_TEXT = 200
#: Characters of a URL, four times what a signed one has.
MOST_URL = 16_384
#: Numbers from which a time of a turn is one in milliseconds.
MILLISECONDS = 1e11


def _or_none(value: Any, validate: Any) -> Any:
    try:
        return validate(value)
    except ValidationError:
        return None


def _no_truth(value: Any) -> Any:
    """Refuse what Python takes for 0 and 1."""
    if isinstance(value, bool):
        raise ValueError("no number")  # noqa: TRY004 - pydantic wants this one
    return value


def _word(value: str) -> str:
    if not WORD.fullmatch(value):
        raise ValueError("no word")
    return value


def _plausible(value: datetime) -> datetime:
    if not EARLIEST <= value <= LATEST:
        raise ValueError("not meant")
    return value


def _utc(value: Any) -> Any:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        value = datetime.fromtimestamp(value, UTC)
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    raise ValueError("no time")


def _utc_or_none(value: Any) -> Any:
    try:
        return _utc(value)
    except (ValueError, OverflowError, OSError):
        return None


def _moment(value: Any) -> Any:
    """Return a time of a turn: epoch seconds of a date, or a number as it is (seconds from the beginning)."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            found = _utc_or_none(value)
            return None if found is None else found.timestamp()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value / 1000 if abs(value) >= MILLISECONDS else value
    except OverflowError:
        return None


def _words(value: Any) -> Any:
    """Return a text that can be written: for one broken character, what was said is not lost."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


Lenient = WrapValidator(_or_none)
Text = Annotated[Annotated[str, Field(max_length=MOST_TEXT)] | None, Lenient]
Word = Annotated[Annotated[str, AfterValidator(_word)] | None, Lenient]
Url = Annotated[Annotated[str, Field(max_length=MOST_URL)] | None, Lenient]
_Number = BeforeValidator(_no_truth)
Size = Annotated[Annotated[int, _Number, Field(ge=0, le=LARGEST)] | None, Lenient]
Hertz = Annotated[Annotated[int, _Number, Field(ge=0, le=MOST_HERTZ)] | None, Lenient]
Bits = Annotated[Annotated[int, _Number, Field(ge=0, le=MOST_BITS)] | None, Lenient]
Seconds = Annotated[Annotated[float, _Number, Field(ge=0, le=LONGEST, allow_inf_nan=False)] | None, Lenient]
Time = Annotated[
    Annotated[datetime, AfterValidator(_plausible)] | None, BeforeValidator(_utc_or_none), Lenient
]
#: What was said: of any length.
Words = Annotated[str | None, BeforeValidator(_words), Lenient]
#: A turn's place; any whole number will do.
Ordinal = Annotated[Annotated[int, _Number] | None, Lenient]
#: A turn's time.
Moment = Annotated[Annotated[float, Field(allow_inf_nan=False)] | None, BeforeValidator(_moment), Lenient]
