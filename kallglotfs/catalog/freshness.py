"""When what is known of a session is worth another question, and when it will not change any more.

Pure: moments are epoch seconds, and `newest` is the last thing known to have happened in the session, None
where nothing is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kallglotfs.model import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kallglotfs.model import Recording

#: Seconds before what may have changed is asked for again, at least and at most; between, a part of its age.
SOONEST, LATEST = 15.0, 3600.0
AGE_PART = 0.25
#: Seconds after which a session of which nothing is under way will not change any more.
SETTLED_AFTER = 86400.0
#: The same for one of which the service says that it has ended: recordings are made within minutes.
ENDED_AFTER = 900.0


def is_past(now: float, asked_at: float, newest: float | None) -> bool:
    """Tell whether an answer is worth another question; one of the future is (the clock was set back)."""
    return not 0 <= now - asked_at < _pause(asked_at, newest)


def is_settled(now: float, recordings: Sequence[Recording], newest: float | None, *, ended: bool) -> bool:
    """Tell whether a session's recordings need not be listed again.

    Args:
        now: the time.
        recordings: that it has.
        newest: as above.
        ended: whether the service says that the session has ended.
    """
    return (
        bool(recordings)
        and newest is not None
        and now - newest > (ENDED_AFTER if ended else SETTLED_AFTER)
        and all(each.status is not Status.PROCESSING for each in recordings)
    )


def _pause(asked_at: float, newest: float | None) -> float:
    """Return after how many seconds an answer of `asked_at` is worth another question."""
    age = SOONEST if newest is None else asked_at - newest
    return min(LATEST, max(SOONEST, age * AGE_PART))
