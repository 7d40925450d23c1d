"""File names and what they stand for. Pure.

`<id>.<format>` is a recording at its original rate, `<id>@<rate>.<format>` at another. Everything else is
not a name of ours and costs no request: players and indexers probe for `.lrc`, `.jpg`, `.cue` and worse.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import TYPE_CHECKING

from kallglotfs.model import ORIGINAL_RATE, RATES, Rendition

if TYPE_CHECKING:
    from kallglotfs.model import Recording

#: Name of the directory that holds the recordings.
RECORDINGS = "recordings"

_ID = r"rec_[A-Za-z0-9]{1,64}"
_SUBJECT = re.compile(rf"({_ID}|sess_[A-Za-z0-9]{{1,64}})[^/]*$")
_RECORDING_ID = re.compile(_ID)
_SESSION_ID = re.compile(r"sess_[A-Za-z0-9]{1,64}")
#: `agent`, `customer`, `mixed`, or what else the service may say that does no harm in a name.
_CHANNEL = re.compile(r"[a-z][a-z0-9-]{0,31}")
_NAME = re.compile(rf"({_ID})(?:@([1-9][0-9]{{3,5}}))?\.([a-z0-9]{{2,8}})")


def parse_name(name: str) -> Rendition | None:
    """Return the rendition a file name stands for, None when it is outside the grammar.

    Whether the format exists for that recording is not decided here.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    recording_id, rate, extension = match.groups()
    if rate is not None and int(rate) not in RATES:
        return None
    return Rendition(recording_id, extension, int(rate) if rate else ORIGINAL_RATE)


def format_name(rendition: Rendition) -> str:
    """Return the file name of a rendition."""
    rate = "" if rendition.rate == ORIGINAL_RATE else f"@{rendition.rate}"
    return f"{rendition.recording_id}{rate}.{rendition.format}"


def path_of(rendition: Rendition) -> str:
    """Return the path of a rendition in the mount."""
    return f"/{RECORDINGS}/{format_name(rendition)}"


def channel_prefix(recording: Recording) -> str:
    """Return how a link's name begins that tells the channel; nothing where the service does not tell it."""
    channel = recording.channel or ""
    return f"{channel}_" if _CHANNEL.fullmatch(channel) else ""


def link_to(rendition: Rendition, depth: int) -> str:
    """Return the relative target of a link to a rendition's file.

    Args:
        rendition: where to.
        depth: how many directories below the root the link lies.
    """
    return "../" * depth + f"{RECORDINGS}/{format_name(rendition)}"


def subject_of(path: str) -> str | None:
    """Return the id of the recording or session that a path is about, None where there is none."""
    match = _SUBJECT.search(path)
    return match[1] if match else None


def is_recording_id(text: str) -> bool:
    """Tell whether a text has the form of a recording id."""
    return _RECORDING_ID.fullmatch(text) is not None


def is_session_id(text: str) -> bool:
    """Tell whether a text has the form of a session id."""
    return _SESSION_ID.fullmatch(text) is not None


def inode_of(path: str) -> int:
    """Return the inode number of a path below the mount, the same at every mount.

    63 bits of a hash; at a million files two share a number with a chance of 1 in 10 million.
    """
    return (
        int.from_bytes(blake2b(path.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big") >> 1
        | 2
    )
