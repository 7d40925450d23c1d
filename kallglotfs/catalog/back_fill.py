"""Sessions that the service lists, paged into the catalog in the background, newest first, then what is new.

Only services of the older generation have `GET /sessions`; a 404 or 405 ends this source for the run. Each
step is one request: a page of sessions, or the recordings of one session that has not been listed yet.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Protocol

from kallglotfs.catalog.sources import Step
from kallglotfs.errors import NoSuchFormat, NotFound, NotPermitted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from kallglotfs.clock import Deadline
    from kallglotfs.model import Session

log = logging.getLogger(__name__)

#: Seconds between two looks for new sessions.
NEWS = 300.0
#: Seconds to the next look where a cursor was not taken.
SOON = 1.0


class Page(Protocol):
    """A page of the list."""

    @property
    def sessions(self) -> Sequence[Session]:
        """Newest first."""

    @property
    def more(self) -> bool:
        """Whether there are more in the direction that was asked for."""


class Lookup(Protocol):
    """Who is asked: `remote.service.KallglotService`."""

    def sessions(self, cursor: Mapping[str, str], deadline: Deadline) -> Page:
        """Return a page of the list of sessions."""


class Store(Protocol):
    """Where sessions are kept: `session_store.SessionStore`."""

    def save(self, sessions: Iterable[Session]) -> int:
        """Add or update sessions; return how many were new."""

    def unlisted(self, after: str) -> str | None:
        """Return the first session behind an id whose recordings were never listed."""


class Listing(Protocol):
    """Who lists a session's recordings: `sessions.Sessions`."""

    def list_now(self, session_id: str, deadline: Deadline) -> int:
        """List a session's recordings; return how many there are."""


class BackFill:
    """The source of sessions that the service lists.

    Args:
        lookup: who is asked for pages.
        store: where sessions are kept.
        listing: who lists a session.
        deadline: makes the deadline of a request.
        is_session: tells the form of a session id.
    """

    name = "backfill"

    def __init__(
        self,
        lookup: Lookup,
        store: Store,
        listing: Listing,
        deadline: Callable[[], Deadline],
        is_session: Callable[[str], bool],
    ) -> None:
        self._lookup = lookup
        self._store = store
        self._listing = listing
        self._deadline = deadline
        self._is_session = is_session
        #: When news were last asked for is not kept: a restart asks at once.
        self._asked = False
        #: Behind which session to look for one that was never listed.
        self._after = ""
        #: Those that still count as not listed although that was tried: until news are looked for.
        self._tried: set[str] = set()
        #: Cursors of this run: one that comes again leads round in a circle.
        self._cursors: set[str] = set()

    def step(self, position: str) -> Step:
        """List one session, or else get one page."""
        before, waiting = self._after, self._store.unlisted(self._after)
        while waiting is not None and waiting in self._tried:
            before, waiting = waiting, self._store.unlisted(waiting)
        if waiting is not None:
            return self._list(waiting, before, position)
        place = _Place.read(position)
        if place.done and self._asked:
            self._asked = False
            self._after = ""
            self._tried.clear()
            return Step(position, pause=NEWS)
        try:
            return self._page(place)
        except NoSuchFormat:
            # The service does not take the cursor: the session it names is gone. From the newest, then, and
            # where the past was all there, only down to what is known.
            self._asked = place.again
            self._cursors.clear()
            again = _Place("", "", done=False, again=place.done or place.again)
            return Step(again.written(), pause=NEWS if not place.cursor() else SOON)
        except (NotFound, NotPermitted) as error:
            return Step(position, pause=None, note=f"this service lists no sessions ({error})")

    def _list(self, session_id: str, before: str, position: str) -> Step:
        self._after = session_id
        found = 0
        try:
            found = self._listing.list_now(session_id, self._deadline())
        except (NotFound, NotPermitted) as error:
            log.debug("backfill: %s", error)
        if self._store.unlisted(before) == session_id:
            # Refused, or the disk is full: it must not be the next one for ever.
            self._tried.add(session_id)
        return Step(position, found=found)

    def _page(self, place: _Place) -> Step:
        cursor = place.cursor()
        page = self._lookup.sessions(cursor, self._deadline())
        new = self._store.save([each for each in page.sessions if self._is_session(each.id)])
        if new:
            self._after = ""
        following = place.after(page, new)
        circle = following.written() in self._cursors
        self._cursors.add(following.written())
        if circle:
            following = following.ended()
        # News that go on are asked for at once; those that lead nowhere are not.
        self._asked = following.done and (circle or not (place.done and page.more and new))
        return Step(following.written(), found=new)


class _Place:
    """Where the paging is.

    Args:
        newest: the newest session seen.
        oldest: the oldest.
        done: whether the past is all there.
        again: whether it was, and only what is newer than the known is missed.
    """

    def __init__(self, newest: str, oldest: str, *, done: bool, again: bool = False) -> None:
        self.newest = newest
        self.oldest = oldest
        self.done = done
        self.again = again

    @classmethod
    def read(cls, text: str) -> _Place:
        """Read what `written` wrote; anything else begins at the beginning."""
        try:
            newest, oldest, done, again = json.loads(text or "null")
            return cls(str(newest), str(oldest), done=bool(done), again=bool(again))
        except (ValueError, TypeError, RecursionError):
            return cls("", "", done=False)

    def written(self) -> str:
        """Return the place as text."""
        return json.dumps([self.newest, self.oldest, self.done, self.again])

    def cursor(self) -> dict[str, str]:
        """Return what to ask for next."""
        if self.done:
            return {"ending_before": self.newest} if self.newest else {}
        return {"starting_after": self.oldest} if self.oldest else {}

    def ended(self) -> _Place:
        """Return the place with the past taken for complete."""
        return _Place(self.newest, self.oldest, done=True)

    def after(self, page: Page, new: int) -> _Place:
        """Return the place behind a page of which `new` sessions were new."""
        ids = [each.id for each in page.sessions]
        if self.done:
            return _Place(ids[0] if ids else self.newest, self.oldest, done=True)
        newest = self.newest or (ids[0] if ids else "")
        # A page that leads nowhere ends the past: endless paging would ask for ever.
        over = not page.more or not ids or ids[-1] == self.oldest or (self.again and not new)
        return _Place(newest, ids[-1] if ids else self.oldest, done=over, again=self.again and not over)
