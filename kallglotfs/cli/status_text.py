"""The state of mounts as text: lines of at most 80 columns, longer only by a path, that need no colour."""

from __future__ import annotations

import re
import textwrap
import time
from typing import TYPE_CHECKING, Any

from kallglotfs.advice import notices
from kallglotfs.cli.figures import count, duration, percent, size
from kallglotfs.control.survey import State
from kallglotfs.logs import escaped, redact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kallglotfs.control.survey import Found

WIDTH, INDENT, NAME = 80, 2, 12
#: Processes, recordings and failures that are shown; `--json` has more.
FEW = 5
_COMMAND = re.compile(r"kallglotfs u?mount (?:'[^']*'|\S+)|kill -\w+ \d+")
#: A blank at which no line is broken.
_UNBROKEN = "\u00a0"
#: What a state that is not well is called.
WORDS = {
    State.DEAD: "DEAD",
    State.SILENT: "HANGS",
    State.CLOSED: "closed",
    State.ERROR: "ERROR",
    State.ABSENT: "absent",
}


def text(found: Found) -> str:
    """Return what there is to say about a mount."""
    where = clean(found.mount_point or "(a mount point that cannot be told)")
    if found.status is None:
        lines = [where, *_item(WORDS[found.state], found.error)]
        lines += _item("", f"-> {found.advice}") if found.advice else []
        return "\n".join(lines)
    try:
        items = list(_items(found.status))
    except Exception:  # noqa: BLE001 - whatever a daemon tells, the other mounts are shown
        # Mounted before an upgrade, say, or by somebody who means harm.
        told = found.status.get("version")
        version = told[:WIDTH] if isinstance(told, str) else "unknown"
        items = [("ERROR", f"its daemon is of another version ({version}); mount it anew")]
    return "\n".join([where, *(line for name, words in items for line in _item(name, words))])


def clean(words: str) -> str:
    """Return a text of others without control characters and secrets."""
    return escaped(redact(words))


def _item(name: str, words: str) -> list[str]:
    head = " " * INDENT + name.ljust(NAME)
    # Commands are copied: they stay on one line.
    whole = _COMMAND.sub(lambda found: found[0].replace(" ", _UNBROKEN), clean(words))
    wrapped = textwrap.wrap(
        whole,
        WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_UNBROKEN, " ") for line in wrapped] or [head.rstrip()]


def _items(state: dict[str, Any]) -> Iterator[tuple[str, str]]:
    counts = state["counts"]
    up = f"up {duration(state['uptime'])}, process {state['pid']}"
    yield "mount", f"{state['profile']}, {up}, version {state['version']}, {state['api']}"
    for notice in notices(state):
        yield "NOTE", notice
    yield "budget", budget(state["budget"])
    yield "requests", _requests(state, counts)
    for each in state["spending"]["dearest"][:FEW]:
        yield "", f"{each['requests']} for {each['id']}"
    leases = state["leases"]
    yield "leases", f"{leases['kept']} kept, {leases['valid']} of them valid"
    served, fetched = counts.get("served_bytes", 0), counts.get("fetched_bytes", 0)
    yield "bytes", f"{size(served)} served, {size(fetched)} fetched ({percent(fetched, served)})"
    yield "memory", tier(state["memory"])
    yield "disk", tier(state["disk"]) if state["disk"] else "off (see the setting disk_cache)"
    if "known" in state:
        yield "known", count(state["known"]["recordings"], "recording")
    for name, source in state["sources"].items():
        yield "source", _source(name, source)
    if state["webhooks"]:
        yield "webhooks", _webhooks(state["webhooks"])
    yield from _readers(state["open_files"])
    now = time.time()
    for mishap in state["errors"][:FEW]:
        ago = duration(now - mishap["moment"])
        often = "once" if mishap["count"] == 1 else f"{mishap['count']} times, the last"
        yield "error", f"{mishap['kind']}, {often} {ago} ago, at {mishap['path']}:"
        yield "", mishap["message"]
        yield "", f"-> {mishap['advice']}"
    if not state["errors"]:
        yield "errors", "none"


def budget(state: dict[str, Any]) -> str:
    """Return what is known of the API's budget."""
    waiting = f"; {state['waiting']} wait" if state["waiting"] else ""
    if state["limit"] is None:
        return f"not known yet, the API has not told{waiting}"
    reset = f", reset in {duration(state['resets_in'])}" if state["resets_in"] is not None else ""
    return f"{state['remaining']} of {state['limit']} requests left{reset}{waiting}"


def tier(state: dict[str, Any]) -> str:
    """Return how a tier of the cache does."""
    asked = state["hits"] + state["misses"]
    rate = f"{percent(state['hits'], asked)} hits of {asked}" if asked else "not asked yet"
    failing = ", CANNOT WRITE" if state.get("failing") else ""
    return f"{size(state['used'])} of {size(state['capacity'])}, {rate}{failing}"


def _requests(state: dict[str, Any], counts: dict[str, int]) -> str:
    kinds = [
        f"{count} {name.removeprefix('api_responses_')}"
        for name, count in sorted(counts.items())
        if name.startswith("api_responses_")
    ]
    answers = f" ({', '.join(kinds)})" if kinds else ""
    asked, stored = counts.get("api_requests", 0), counts.get("storage_requests", 0)
    subjects = state["spending"]["recordings"]
    return f"{asked} to the API{answers} for {count(subjects, 'recording')}, {stored} to the storage"


def _source(name: str, source: dict[str, Any]) -> str:
    last = source["last_run"]
    ran = "never ran" if last is None else f"ran {duration(time.time() - last)} ago"
    failing = f"; {source['last_error']}" if source["last_error"] else ""
    return f"{name}: {ran}, {source['found']} found{failing}"


def _webhooks(state: dict[str, Any]) -> str:
    refused = sum(state["refused"].values())
    last = f"; last error: {state['last_error']}" if state["last_error"] else ""
    return (
        f"{state['received']} received: {state['stored']} new, {state['duplicates']} known, "
        f"{refused} refused, {state['failed']} failed{last}"
    )


def _readers(state: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "open files", str(state["count"])
    for each in state["by_process"][:FEW]:
        yield "", f"{process(each)}: {each['files'][0]}{more(each)}"
    rest = len(state["by_process"]) - FEW
    if rest > 0:
        yield "", f"and {rest} more processes"


def process(each: dict[str, Any]) -> str:
    """Return a process by name and number."""
    return f"{each['program'] or '?'} ({each['pid'] or 'of another PID namespace'})"


def more(each: dict[str, Any]) -> str:
    """Return how many more files a process has open than the one that is named."""
    return f" and {each['count'] - 1} more" if each["count"] > 1 else ""
