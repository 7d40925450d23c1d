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

    def save(self, sessions: Iterable[Session]) -> None:
        """Add or update sessions."""

    def unlisted(self, count: int) -> list[str]:
        """Return sessions whose recordings were never listed."""


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
        self._skipped: set[str] = set()

    def step(self, position: str) -> Step:
        """List one session, or else get one page."""
        waiting = [each for each in self._store.unlisted(1 + len(self._skipped)) if each not in self._skipped]
        if waiting:
            return self._list(waiting[0], position)
        place = _Place.read(position)
        if place.done and self._asked:
            self._asked = False
            return Step(position, pause=NEWS)
        try:
            return self._page(place)
        except NoSuchFormat:
            # The service does not take the cursor: the session it names is gone. From the beginning, then.
            return Step("", pause=NEWS)
        except (NotFound, NotPermitted) as error:
            return Step(position, pause=None, note=f"this service lists no sessions ({error})")

    def _list(self, session_id: str, position: str) -> Step:
        try:
            return Step(position, found=self._listing.list_now(session_id, self._deadline()))
        except (NotFound, NotPermitted) as error:
            self._skipped.add(session_id)
            log.debug("backfill: %s", error)
            return Step(position)

    def _page(self, place: _Place) -> Step:
        cursor = place.cursor()
        page = self._lookup.sessions(cursor, self._deadline())
        found = [each for each in page.sessions if self._is_session(each.id)]
        self._store.save(found)
        following = place.after(page)
        self._asked = following.done and not (place.done and page.more)
        return Step(following.written(), found=len(found))


class _Place:
    """Where the paging is: the newest session seen, the oldest, and whether the past is all there."""

    def __init__(self, newest: str, oldest: str, *, done: bool) -> None:
        self.newest = newest
        self.oldest = oldest
        self.done = done

    @classmethod
    def read(cls, text: str) -> _Place:
        """Read what `written` wrote; anything else begins at the beginning."""
        try:
            newest, oldest, done = json.loads(text or "null")
            return cls(str(newest), str(oldest), done=bool(done))
        except (ValueError, TypeError):
            return cls("", "", done=False)

    def written(self) -> str:
        """Return the place as text."""
        return json.dumps([self.newest, self.oldest, self.done])

    def cursor(self) -> dict[str, str]:
        """Return what to ask for next."""
        if self.done and self.newest:
            return {"ending_before": self.newest}
        return {"starting_after": self.oldest} if self.oldest else {}

    def after(self, page: Page) -> _Place:
        """Return the place behind a page."""
        ids = [each.id for each in page.sessions]
        if self.done:
            return _Place(ids[0] if ids else self.newest, self.oldest, done=True)
        newest = self.newest or (ids[0] if ids else "")
        # A page that leads nowhere ends the past: endless paging would ask for ever.
        over = not page.more or not ids or ids[-1] == self.oldest
        return _Place(newest, ids[-1] if ids else self.oldest, done=over)
