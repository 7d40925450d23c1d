"""How `kallglotfs cache` shows what is there: a table for people, JSON for programs."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

from kallglotfs.assembly.cached import shown
from kallglotfs.cli import figures
from kallglotfs.cli.moments import moment_text
from kallglotfs.cli.streams import say
from kallglotfs.config.units import format_size
from kallglotfs.logs import escaped

if TYPE_CHECKING:
    from kallglotfs.assembly.cached import Broken, Copy, Holding, Survey
    from kallglotfs.config.settings import Settings

#: Widths; names come last, for they may be long.
_LINE = "{size:>10}  {complete:>8}  {used:<16}  {name}"


def show(survey: Survey | None, settings: Settings, *, as_json: bool) -> None:
    """Print what is cached.

    Args:
        survey: None where there is no cache directory.
        settings: where it is, and what it may take.
        as_json: for programs.
    """
    if as_json:
        say(json.dumps(_document(survey, settings), indent=2))
        return
    if survey is None or not (survey.blocks or survey.strays or survey.leftovers):
        say(f"nothing is cached in {settings.cache_dir}")
        return
    say(_LINE.format(size="SIZE", complete="THERE", used="LAST USED", name="NAME"))
    for holding in survey.holdings:
        for copy in holding.copies:
            say(_copy_line(holding, copy))
        if holding.old:
            name = f"{holding.subject} (of no version known now)"
            used = moment_text(holding.folder.used)
            say(_LINE.format(size=figures.size(holding.old), complete="-", used=used, name=name))
    if survey.others:
        taken = sum(each.taken for each in survey.others)
        used = moment_text(max(each.used for each in survey.others))
        name = f"({len(survey.others)} of another catalog or key)"
        say(_LINE.format(size=figures.size(taken), complete="-", used=used, name=name))
    limit = f"of {format_size(settings.disk_cache)}" if settings.disk_cache else "disk_cache is off"
    whole = sum(holding.complete for holding in survey.holdings)
    subjects = figures.count(len(survey.holdings), "recording", "session")
    say(f"{subjects}, {whole} complete; {figures.size(survey.taken)} on disk, {limit}")
    if stray := len(survey.strays) + len(survey.leftovers):
        say(f"does not belong there: {figures.count(stray, 'file')}; see: kallglotfs cache verify")


def show_check(survey: Survey, broken: list[Broken], *, repaired: bool) -> None:
    """Print what a check has found, as JSON."""
    document = {
        "checked": sum(len(each.folder.blocks) for each in survey.holdings),
        "unknown": sum(len(each.blocks) for each in survey.others),
        "broken": [{"id": each.subject, "what": each.what, "reason": each.reason} for each in broken],
        "strays": [escaped(path) for path in survey.strays],
        "half_written": len(survey.leftovers),
        "repaired": repaired,
    }
    say(json.dumps(document, indent=2))


def _copy_line(holding: Holding, copy: Copy) -> str:
    there = "complete" if copy.complete else f"{100 * copy.have // copy.of} %"
    return _LINE.format(
        size=figures.size(copy.size),
        complete=there,
        used=moment_text(holding.folder.used),
        name=shown(copy.rendition),
    )


def _document(survey: Survey | None, settings: Settings) -> dict[str, Any]:
    document: dict[str, Any] = {
        "cache_dir": str(settings.cache_dir),
        "limit": settings.disk_cache,
        "used": 0,
        "blocks": 0,
        "recordings": [],
        "others": {"count": 0, "bytes": 0},
        "strays": 0,
    }
    if survey is None:
        return document
    return document | {
        "used": survey.taken,
        "blocks": survey.blocks,
        "recordings": [_holding(each) for each in survey.holdings],
        "others": {"count": len(survey.others), "bytes": sum(each.taken for each in survey.others)},
        "strays": len(survey.strays) + len(survey.leftovers),
    }


def _holding(holding: Holding) -> dict[str, Any]:
    used = dt.datetime.fromtimestamp(holding.folder.used, dt.UTC)
    return {
        "id": holding.subject,
        "bytes": holding.folder.taken,
        "last_used": used.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "complete": holding.complete,
        "renditions": [
            {
                "format": copy.rendition.format,
                "sample_rate": copy.rendition.rate,
                "size": copy.size,
                "blocks": copy.have,
                "of": copy.of,
            }
            for copy in holding.copies
        ],
    }
