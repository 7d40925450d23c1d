"""The API's routes, one method each: what to ask, and what an answer means for a recording.

Used by `service`, which knows the order to ask in. No route knows of another here.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlencode, urlsplit

from kallglotfs.errors import (
    BadResponse,
    KallglotError,
    NoSuchFormat,
    NotFound,
    NotPermitted,
    NotReady,
    ServiceFault,
)
from kallglotfs.model import ORIGINAL_RATE, Delivery, Lease, Recording, Rendition, Secret, Session
from kallglotfs.remote.expiry import lease_end
from kallglotfs.remote.schema import ListObject, RecordingObject, parse, parse_error
from kallglotfs.remote.session_schema import SessionListObject
from kallglotfs.remote.transport import pieces

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import requests

    from kallglotfs.clock import Clock, Deadline
    from kallglotfs.remote.api_session import ApiSession

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Most bytes of JSON we take of a list, of a recording and of a refusal: a page of 100 recordings is about
#: 60 KB, a recording or a refusal less than one. What is larger is not read to its end, whoever asks at once.
LIST_LIMIT, OBJECT_LIMIT, ERROR_LIMIT = 4 * 1024 * 1024, 256 * 1024, 64 * 1024
#: The same of a transcript, which grows with the call: about 300 bytes a turn.
DOCUMENT_LIMIT = 16 * 1024 * 1024
#: Recordings per page of a list, the most the service allows.
PAGE = 100
#: Pages of one session we follow, ten thousand recordings: more is a service that never ends its list, and
#: each page is an API request.
MOST_PAGES = 100
#: A well-formed id that names nothing, for asking whether the key is good.
NOBODY = "rec_00000000000000000"


#: The path that `download_url` names in generation 2, whatever the API's base.
_AUDIO = re.compile(r".*/recordings/[^/]+/audio")


class RouteMissing(NotFound):
    """A 404 or 405: no such recording, or no such route."""


class RouteForbidden(NotPermitted):
    """A 403: the key's scope or the account does not allow this route."""


#: What a refusal means for the recording that was asked for; any other is a bad response.
MEANINGS: dict[int, type[KallglotError]] = {
    400: NoSuchFormat,
    402: NotPermitted,
    403: RouteForbidden,
    404: RouteMissing,
    405: RouteMissing,
    409: NotReady,
    410: NotFound,
    422: NoSuchFormat,
    425: NotReady,
}


@dataclass(frozen=True, slots=True)
class Metadata:
    """A recording, and the lease of its native format where the answer brought one."""

    recording: Recording
    lease: Lease | None


@dataclass(frozen=True, slots=True)
class SessionPage:
    """A page of the list of sessions, and whether there are more behind it."""

    sessions: tuple[Session, ...]
    more: bool


class Oddities:
    """Counts what was passed over in the service's answers. Any thread may note and read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def note(self, what: str, count: int = 1) -> None:
        """Count something that was passed over."""
        with self._lock:
            self._counts[what] += count

    def counts(self) -> dict[str, int]:
        """Return what was passed over so far: answers, items of lists, fields of recordings."""
        with self._lock:
            return dict(self._counts)

    def __str__(self) -> str:
        counts = self.counts()
        return ", ".join(f"{count} {what}" for what, count in sorted(counts.items())) or "nothing"


class Api:
    """The routes we use.

    Args:
        session: sends the requests.
        clock: what tells the time.
    """

    def __init__(self, session: ApiSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock
        #: What was passed over in answers, by what it was.
        self.oddities = Oddities()

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
            found = self._object(RecordingObject, response, recording_id, OBJECT_LIMIT, deadline)
            if found.says_nothing:
                raise BadResponse(f"{recording_id}: the answer is no recording")
            if found.gone:
                raise NotFound(f"{recording_id}: {found.status}")
            return self._metadata(recording_id, found, response, url)

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
                return self._signed(self._session.resolve(location, url), response)
            if response.ok and not response.is_redirect:
                if not _may_be_audio(response):
                    raise BadResponse(f"{rendition.recording_id}: the answer is neither a link nor audio")
                # Not in the reference: the bytes themselves. Then this URL is where they are.
                return self.streamed(url)
            raise self._refusal(response, rendition.recording_id, deadline)

        return self._session.ask(url, deadline, read)

    def streamed(self, url: Secret, size: int | None = None) -> Lease:
        """Return the lease of a URL that needs the key on every request and never runs out."""
        return Lease(url, ends=float("inf"), metered=True, size=size)

    def audio(self, recording_id: str, size: int | None) -> Lease:
        """Return the lease of `GET /recordings/{id}/audio` (generation 2); no request is made."""
        return self.streamed(self._session.url(f"/recordings/{recording_id}/audio"), size)

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
                page = self._object(ListObject, response, session_id, LIST_LIMIT, deadline)
                items = [
                    self._metadata(item.id, item, response, url).recording
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
            self.oddities.note("items of lists", skipped)
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
            body = self._json(response, session_id, DOCUMENT_LIMIT, deadline)
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
            page = self._object(SessionListObject, response, "sessions", LIST_LIMIT, deadline)
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

    def _metadata(
        self, recording_id: str, found: RecordingObject, response: requests.Response, asked: Secret
    ) -> Metadata:
        if found.odd:
            self.oddities.note("fields of recordings", len(found.odd))
            log.debug("%s: passed over what was sent as %s", recording_id, ", ".join(found.odd))
        location = found.download_url
        if not location:
            return Metadata(found.to_recording(recording_id, Delivery.UNKNOWN), None)
        try:
            url = self._session.resolve(location, asked)
        except BadResponse:
            # One URL that is none must not cost a whole page of a list.
            self.oddities.note("fields of recordings")
            return Metadata(found.to_recording(recording_id, Delivery.UNKNOWN), None)
        if self._session.is_own(url) and _AUDIO.fullmatch(urlsplit(url.reveal()).path):
            recording = found.to_recording(recording_id, Delivery.STREAMED)
            return Metadata(recording, self.audio(recording_id, recording.size))
        recording = found.to_recording(recording_id, Delivery.SIGNED)
        return Metadata(recording, self._signed(url, response, recording.size))

    def _signed(self, url: Secret, response: requests.Response, size: int | None = None) -> Lease:
        return Lease(url, ends=lease_end(url, response.headers.get("Date"), self._clock), size=size)

    def _object(
        self, model: type[T], response: requests.Response, subject: str, limit: int, deadline: Deadline
    ) -> T:
        """Return a 200's body as `model`; one that is garbled may be better next time."""
        try:
            found = parse(model, self._json(response, subject, limit, deadline))
        except ValueError:
            self.oddities.note("answers")
            raise ServiceFault(f"{subject}: the answer is not JSON") from None
        if found is None:
            self.oddities.note("answers")
            raise BadResponse(f"{subject}: the answer is not what was asked for")
        return found

    def _json(self, response: requests.Response, subject: str, limit: int, deadline: Deadline) -> bytes:
        if not response.ok or response.is_redirect:
            raise self._refusal(response, subject, deadline)
        if response.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
            raise BadResponse(f"{subject}: the answer is compressed, which we did not ask for")
        body = b"".join(pieces(response, limit + 1, deadline))
        if len(body) > limit:
            self.oddities.note("answers")
            raise BadResponse(f"{subject}: the answer is larger than {limit} bytes")
        return body

    def _refusal(self, response: requests.Response, subject: str, deadline: Deadline) -> KallglotError:
        """Return what a refusal means for `subject`."""
        status = response.status_code
        text = f"{subject}: the API answers {status}"
        if status >= 400:  # noqa: PLR2004 - client errors; a redirect's body is never read
            error = parse_error(b"".join(pieces(response, ERROR_LIMIT, deadline)))
            if error is not None and error.code:
                request = error.request_id or response.headers.get("X-Request-ID")
                text += f" {error.code[:60]!r}" + (f" (request {request[:60]!r})" if request else "")
        return MEANINGS.get(status, BadResponse)(text)


def _may_be_audio(response: requests.Response) -> bool:
    """Tell whether an answer says that it is audio, or does not say: a login page or an error is none."""
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return kind in ("", "application/octet-stream", "binary/octet-stream") or kind.startswith("audio/")
