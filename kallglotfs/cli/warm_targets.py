"""What `kallglotfs warm` is asked to bring: from paths, ids and dates to what the mount is asked for.

A path below the mount is read as the mount means it; only directories are looked into, which costs no
request.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import time
from typing import TYPE_CHECKING

from kallglotfs.cli.moments import age_seconds
from kallglotfs.control import client
from kallglotfs.errors import NoSuchMount, UsageError
from kallglotfs.mountpoint import resolved
from kallglotfs.vfs.naming import RECORDINGS, is_recording_id, is_session_id, parse_name
from kallglotfs.vfs.sessions import SESSIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: The end of a link's name that is the name of the file it leads to.
_TAIL = re.compile(r"(?:.*_)?(rec_[^_]+)")
#: Seconds a path gets to be looked at, before it is asked whether the mount is alive at all.
ALIVE = 5.0
#: Where a link to a recording stands in the path of a session.
_IN_SESSION = 3


def choose(named: str | None, paths: Iterable[str]) -> client.Running:
    """Return the mount that is meant: named, or holding the paths, or the only one.

    Raises:
        UsageError: that cannot be told, or a path is in none.
        NoSuchMount, DaemonGone: there is none.
    """
    if named is not None:
        return client.find(resolved(named))
    mounts = [each for each in client.running() if each.mount_point]
    holding = []
    for path in paths:
        fits = [each for each in mounts if _below(path, each.mount_point) is not None]
        if not fits:
            raise UsageError(f"{path}: not an id, and not below a mount of kallglotfs that is running")
        holding.append(max(fits, key=lambda each: len(each.mount_point)))
    found = {each.mount_point: each for each in holding or mounts}
    if len(found) == 1:
        return next(iter(found.values()))
    if not found:
        gone = "".join(f"; {each} is dead, {client.mend(each)}" for each in client.dead())
        raise NoSuchMount(f"nothing is mounted{gone or '; mount first, with: kallglotfs mount MOUNTPOINT'}")
    names = ", ".join(found)
    raise UsageError(f"several mounts are meant ({names}); name one with --mount")


def is_path(text: str) -> bool:
    """Tell whether an argument is a path rather than an id or a file's name."""
    return not (is_recording_id(text) or is_session_id(text) or parse_name(text))


def items_of(text: str, mount_point: str, *, by_id: bool) -> Iterator[str]:
    """Yield what an argument stands for: recording ids, names of files, session ids.

    Args:
        text: an id, a name, or a path below the mount.
        mount_point: of the mount.
        by_id: whether directories stand for recordings rather than for the files they show.

    Raises:
        UsageError: it stands for nothing.
        OSError: a directory cannot be read.
    """
    if not is_path(text):
        yield text
        return
    below = _below(text, mount_point)
    if below is None:
        raise UsageError(f"{text}: not below {mount_point}")
    parts = [part for part in below.split("/") if part]
    if parts and parts[0] == SESSIONS:
        yield from _of_session(text, parts, mount_point)
    elif parts in ([], [RECORDINGS]):
        for each in _names(os.path.join(mount_point, RECORDINGS)):  # noqa: PTH118 - as the mount has it
            yield _meant(each, by_id=by_id)
    elif (name := _file(parts[-1])) is not None:
        yield name
    else:
        yield from _below_directory(text, by_id=by_id)


def moment(text: str) -> float:
    """Read `--since`: an age, or a day or a minute in UTC, as by-date has it; return epoch seconds.

    Raises:
        ValueError: it is neither.
    """
    try:
        return time.time() - age_seconds(text)
    except ValueError:
        pass
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{text[:80]!r} is neither an age nor a day (examples: 7d, 12h, 2026-11-20)"
        ) from None
    return (found if found.tzinfo else found.replace(tzinfo=dt.UTC)).timestamp()


def _of_session(text: str, parts: list[str], mount_point: str) -> Iterator[str]:
    if len(parts) == 1:
        yield from _names(os.path.join(mount_point, SESSIONS))  # noqa: PTH118
        return
    name = _file(parts[-1]) if len(parts) == _IN_SESSION else None
    if name is not None:
        yield name
    elif is_session_id(parts[1]):
        yield parts[1]
    else:
        raise UsageError(f"{text}: no session")


def _below_directory(text: str, *, by_id: bool) -> Iterator[str]:
    def failed(error: OSError) -> None:
        raise error

    for _, folders, names in os.walk(text, onerror=failed):
        folders.sort()
        for name in sorted(names):
            found = _file(name)
            if found is not None:
                yield _meant(found, by_id=by_id)


def _below(path: str, mount_point: str) -> str | None:
    """Return a path as the mount knows it, None where it is not in it. Touches nothing in the mount."""
    absolute = os.path.abspath(path)  # noqa: PTH100 - links are for the next line
    for each in (absolute, os.path.realpath(absolute) if not _inside(absolute, mount_point) else absolute):
        if _inside(each, mount_point):
            return each[len(mount_point) :]
    return None


def _inside(path: str, mount_point: str) -> bool:
    return path == mount_point or path.startswith(mount_point.rstrip("/") + "/")


def _names(directory: str) -> list[str]:
    return sorted(os.listdir(directory))  # noqa: PTH208


def _file(name: str) -> str | None:
    """Return the name of the recording's file that a name in a directory stands for."""
    match = _TAIL.fullmatch(name)
    return match[1] if match is not None and parse_name(match[1]) is not None else None


def subject(name: str) -> str:
    """Return whose a file is, an id as it is."""
    rendition = parse_name(name)
    return name if rendition is None else rendition.recording_id


def _meant(name: str, *, by_id: bool) -> str:
    rendition = parse_name(name)
    return rendition.recording_id if by_id and rendition is not None else name
