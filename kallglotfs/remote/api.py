"""The API's routes, one method each: what to ask, and how much of an answer to take.

Used by `service`, which knows the order to ask in; `answers` knows what comes back. No route knows of
another here.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from kallglotfs.errors import BadResponse, NotFound, ServiceFault
from kallglotfs.model import ORIGINAL_RATE, Lease, Recording, Rendition, Secret, Session
from kallglotfs.remote.answers import (
    DOCUMENT_LIMIT,
    ERROR_LIMIT,
    LIST_LIMIT,
    OBJECT_LIMIT,
    Answers,
    Metadata,
    may_be_audio,
    streamed,
)
from kallglotfs.remote.schema import ListObject, RecordingObject, parse, parse_error
from kallglotfs.remote.session_schema import SessionListObject
from kallglotfs.remote.transport import pieces
from kallglotfs.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import requests

    from kallglotfs.clock import Clock, Deadline
    from kallglotfs.remote.api_session import ApiSession

log = logging.getLogger(__name__)

#: Recordings per page of a list, the most the service allows.
PAGE = 100
#: Pages of one session we follow, ten thousand recordings: more is a service that never ends its list, and
#: each page is an API request.
MOST_PAGES = 100
#: A well-formed id that names nothing, for asking whether the key is good.
NOBODY = "rec_00000000000000000"


@dataclass(frozen=True, slots=True)
class SessionPage:
    """A page of the list of sessions, and whether there are more behind it."""

    sessions: tuple[Session, ...]
    more: bool


class Api:
    """The routes we use.

    Args:
        session: sends the requests.
        clock: what tells the time.
    """

    def __init__(self, session: ApiSession, clock: Clock) -> None:
        self._session = session
        #: What was passed over in answers: answers, items of lists, fields of recordings.
        self.oddities = Tally()
        self._answers = Answers(session, self.oddities, clock)

    def metadata(self, recording_id: str, deadline: Deadline) -> Metadata:
        """Ask `GET /recordings/{id}`.

        Raises:
            RouteMissing: 404 or 405.
            BadResponse: an answer that is no recording.
            RouteForbidden: 403.
            NotPermitted: 402.
        """
        url = self._session.url(f"/recordings/{recording_id}")

        def read(response: requests.Response) -> Metadata:
            found = self._answers.object(RecordingObject, response, recording_id, OBJECT_LIMIT, deadline)
            if found.says_nothing:
                raise BadResponse(f"{recording_id}: the answer is no recording")
            if found.gone:
                raise NotFound(f"{recording_id}: {found.status}")
            return self._answers.metadata(recording_id, found, response, url)

        return self._session.ask(url, deadline, read)

    def download(self, rendition: Rendition, deadline: Deadline) -> Lease:
        """Ask `GET /recordings/{id}/download` for a signed URL. The answer's body is never read.

        Raises:
            RouteMissing: 404 or 405.
            RouteForbidden: 403.
            NotFound: gone, or not to be had in this format.
            NotReady: still being processed.
        """
        query = {"format": rendition.format}
        if rendition.rate != ORIGINAL_RATE:
            query["sample_rate"] = str(rendition.rate)
        url = self._session.url(f"/recordings/{rendition.recording_id}/download?{urlencode(query)}")

        def read(response: requests.Response) -> Lease:
            location = response.headers.get("Location")
            if location:
                return self._answers.signed(self._session.resolve(location, url), response)
            if response.ok and not response.is_redirect:
                if not may_be_audio(response):
                    raise BadResponse(f"{rendition.recording_id}: the answer is neither a link nor audio")
                # Not in the reference: the bytes themselves. Then this URL is where they are.
                return streamed(url)
            raise self._answers.refusal(response, rendition.recording_id, deadline)

        return self._session.ask(url, deadline, read)

    def audio(self, recording_id: str, size: int | None) -> Lease:
        """Return the lease of `GET /recordings/{id}/audio` (generation 2); no request is made."""
        return self._answers.audio(recording_id, size)

    def session_recordings(self, session_id: str, deadline: Deadline) -> Iterator[Recording]:
        """Page through `GET /sessions/{id}/recordings`.

        Raises:
            NotFound: no such session.
            NotPermitted: scope or account.
        """
        after = ""
        cursors: set[str] = set()
        seen: set[str] = set()
        skipped = 0
        for _ in range(MOST_PAGES):
            query = urlencode({"limit": PAGE} | ({"starting_after": after} if after else {}))
            url = self._session.url(f"/sessions/{session_id}/recordings?{query}")
            deadline.restart()

            def read(response: requests.Response, url: Secret = url) -> tuple[ListObject, list[Recording]]:
                page = self._answers.object(ListObject, response, session_id, LIST_LIMIT, deadline)
                items = [
                    self._answers.metadata(item.id, item, response, url).recording
                    for item in page.data
                    if item.id and not item.gone
                ]
                return page, items

            page, items = self._session.ask(url, deadline, read)
            fresh = list({item.id: item for item in items if item.id not in seen}.values())
            seen.update(item.id for item in fresh)
            skipped += page.skipped + len(page.data) - len(fresh)
            yield from fresh
            after = next((item.id for item in reversed(page.data) if item.id), "")
            if not page.has_more or not after or after in cursors or not fresh:
                break
            cursors.add(after)
        else:
            log.warning(
                "%s: its list of recordings does not end, left after %d pages", session_id, MOST_PAGES
            )
        if skipped:
            self.oddities.add("items of lists", skipped)
            log.warning("%s: %d items of its list are no recordings, passed over", session_id, skipped)

    def session_document(self, session_id: str, kind: str, deadline: Deadline) -> bytes:
        """Ask `GET /sessions/{id}` or `GET /sessions/{id}/transcript`.

        Args:
            session_id: whose.
            kind: `session` or `transcript`.
            deadline: of the whole.

        Returns:
            The body, which is a JSON object.

        Raises:
            RouteMissing: 404 or 405.
            RouteForbidden: 403.
            BadResponse: it is no JSON object.
        """
        below = "" if kind == "session" else f"/{kind}"
        url = self._session.url(f"/sessions/{session_id}{below}")

        def read(response: requests.Response) -> bytes:
            body = self._answers.json(response, session_id, DOCUMENT_LIMIT, deadline)
            try:
                found = parse(dict[str, object], body)
            except ValueError:
                raise ServiceFault(f"{session_id}: the answer is not JSON") from None
            if found is None:
                raise BadResponse(f"{session_id}: the answer is not what was asked for")
            return body

        return self._session.ask(url, deadline, read)

    def sessions(self, cursor: Mapping[str, str], deadline: Deadline) -> SessionPage:
        """Ask for a page of `GET /sessions`.

        Args:
            cursor: `starting_after` or `ending_before`, empty for the first page.
            deadline: of the page.

        Raises:
            RouteMissing: 404 or 405, the newer generation.
            RouteForbidden: 403.
        """
        url = self._session.url(f"/sessions?{urlencode({'limit': PAGE, **cursor})}")

        def read(response: requests.Response) -> SessionPage:
            page = self._answers.object(SessionListObject, response, "sessions", LIST_LIMIT, deadline)
            found = tuple(filter(None, (item.to_session() for item in page.data)))
            return SessionPage(found, bool(page.has_more))

        return self._session.ask(url, deadline, read)

    def check_key(self, deadline: Deadline) -> None:
        """Find out with one request, rarely two, whether the key is accepted.

        Raises:
            KeyRefused: it is not.
            KallglotError: nothing could be found out.
        """
        paths = (f"/recordings/{NOBODY}", f"/recordings/{NOBODY}/download")

        def understood(response: requests.Response) -> bool:
            # A missing route may be answered before the key is looked at, and without our envelope.
            if response.is_redirect:
                return False
            return parse_error(b"".join(pieces(response, ERROR_LIMIT, deadline))) is not None

        for path in paths:
            if self._session.ask(self._session.url(path), deadline, understood, retry=False):
                return
