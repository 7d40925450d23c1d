"""Lists of ids as people have them: one id a line, CSV or JSON lines with a column `id`. Pure.

The form is told from the first line that is not empty: `{` begins JSON lines; a header with a column `id`
begins CSV (commas, semicolons or tabs); everything else is one id a line. Empty lines and `#` comments are
passed over.
"""

from __future__ import annotations

import csv
import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

COLUMN = "id"
DELIMITERS = ",;\t"


@dataclass(frozen=True, slots=True)
class Entry:
    """One id as it was written, and the line it stands on; None where a line has none."""

    line: int
    text: str | None


def read_ids(lines: Iterable[str]) -> Iterator[Entry]:
    """Yield the ids of a list, in order, unchecked.

    Args:
        lines: decoded text, with or without line ends.
    """
    numbered = ((number, line.strip("\ufeff\r\n")) for number, line in enumerate(lines, 1))
    filled = (
        (number, line) for number, line in numbered if line.strip() and not line.lstrip().startswith("#")
    )
    first = next(filled, None)
    if first is None:
        return
    everything = itertools.chain([first], filled)
    if first[1].lstrip().startswith("{"):
        yield from _json_lines(everything)
    elif (header := _header(first[1])) is not None:
        yield from _csv(filled, *header)
    else:
        yield from (Entry(number, line.strip()) for number, line in everything)


def _header(line: str) -> tuple[str, int] | None:
    """Return delimiter and column of a CSV header that has one called `id`."""
    for delimiter in DELIMITERS:
        names = [name.strip().lower() for name in _cells(line, delimiter)]
        if COLUMN in names:
            return delimiter, names.index(COLUMN)
    return None


def _cells(line: str, delimiter: str) -> list[str]:
    """Return a line's cells; none of one that is no CSV (a cell of more than 131,072 characters, say)."""
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []


def _csv(numbered: Iterator[tuple[int, str]], delimiter: str, column: int) -> Iterator[Entry]:
    for number, line in numbered:
        cells = _cells(line, delimiter)
        yield Entry(number, cells[column].strip() if column < len(cells) else None)


def _json_lines(numbered: Iterable[tuple[int, str]]) -> Iterator[Entry]:
    for number, line in numbered:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            yield Entry(number, None)
            continue
        found = value.get(COLUMN) if isinstance(value, dict) else None
        yield Entry(number, found.strip() if isinstance(found, str) else None)
