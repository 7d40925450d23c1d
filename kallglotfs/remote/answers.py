"""What the API's answers mean: JSON that is read and judged, leases that they bring along, refusals.

Used by `api`, which asks.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from kallglotfs.errors import (
    BadResponse,
    KallglotError,
    NoSuchFormat,
    NotFound,
    NotPermitted,
    NotReady,
    ServiceFault,
)
from kallglotfs.model import Delivery, Lease, Recording, Secret
from kallglotfs.remote.expiry import lease_end
from kallglotfs.remote.schema import RecordingObject, parse, parse_error
from kallglotfs.remote.transport import pieces

if TYPE_CHECKING:
    import requests

    from kallglotfs.clock import Clock, Deadline
    from kallglotfs.remote.api_session import ApiSession
    from kallglotfs.tally import Tally

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Most bytes of JSON we take of a list, of a recording and of a refusal: a page of 100 recordings is about
#: 60 KB, a recording or a refusal less than one. What is larger is not read to its end, whoever asks at once.
LIST_LIMIT, OBJECT_LIMIT, ERROR_LIMIT = 4 * 1024 * 1024, 256 * 1024, 64 * 1024
#: The same of a transcript, which grows with the call: about 300 bytes a turn.
DOCUMENT_LIMIT = 16 * 1024 * 1024
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


class Answers:
    """Reads answers.

    Args:
        session: knows what URLs are the API's own.
        oddities: counts what was passed over: answers, items of lists, fields of recordings.
        clock: what tells the time.
    """

    def __init__(self, session: ApiSession, oddities: Tally, clock: Clock) -> None:
        self._session = session
        self._oddities = oddities
        self._clock = clock

    def metadata(
        self, recording_id: str, found: RecordingObject, response: requests.Response, asked: Secret
    ) -> Metadata:
        """Return what an answer tells of a recording.

        Args:
            recording_id: which.
            found: of the answer's body.
            response: the answer.
            asked: the URL that it answers.
        """
        if found.odd:
            self._oddities.add("fields of recordings", len(found.odd))
            log.debug("%s: passed over what was sent as %s", recording_id, ", ".join(found.odd))
        location = found.download_url
        if not location:
            return Metadata(found.to_recording(recording_id, Delivery.UNKNOWN), None)
        try:
            url = self._session.resolve(location, asked)
        except BadResponse:
            # One URL that is none must not cost a whole page of a list.
            self._oddities.add("fields of recordings")
            return Metadata(found.to_recording(recording_id, Delivery.UNKNOWN), None)
        if self._session.is_own(url) and _AUDIO.fullmatch(urlsplit(url.reveal()).path):
            recording = found.to_recording(recording_id, Delivery.STREAMED)
            return Metadata(recording, self.audio(recording_id, recording.size))
        recording = found.to_recording(recording_id, Delivery.SIGNED)
        return Metadata(recording, self.signed(url, response, recording.size))

    def audio(self, recording_id: str, size: int | None) -> Lease:
        """Return the lease of `GET /recordings/{id}/audio` (generation 2)."""
        return streamed(self._session.url(f"/recordings/{recording_id}/audio"), size)

    def signed(self, url: Secret, response: requests.Response, size: int | None = None) -> Lease:
        """Return the lease of a signed URL; `expiry.py` says when it ends."""
        return Lease(url, ends=lease_end(url, response.headers.get("Date"), self._clock), size=size)

    def object(
        self, model: type[T], response: requests.Response, subject: str, limit: int, deadline: Deadline
    ) -> T:
        """Return a 200's body as `model`; one that is garbled may be better next time.

        Args:
            model: what it is to be.
            response: the answer.
            subject: what was asked about, for messages.
            limit: most bytes that are taken.
            deadline: of the receiving.

        Raises:
            ServiceFault: it is not JSON.
            BadResponse: it is another JSON, compressed, or larger.
            KallglotError: as `refusal` says.
        """
        try:
            found = parse(model, self.json(response, subject, limit, deadline))
        except ValueError:
            self._oddities.add("answers")
            raise ServiceFault(f"{subject}: the answer is not JSON") from None
        if found is None:
            self._oddities.add("answers")
            raise BadResponse(f"{subject}: the answer is not what was asked for")
        return found

    def json(self, response: requests.Response, subject: str, limit: int, deadline: Deadline) -> bytes:
        """Return a 200's body; arguments and errors as of `object`."""
        if not response.ok or response.is_redirect:
            raise self.refusal(response, subject, deadline)
        if response.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
            raise BadResponse(f"{subject}: the answer is compressed, which we did not ask for")
        body = b"".join(pieces(response, limit + 1, deadline))
        if len(body) > limit:
            self._oddities.add("answers")
            raise BadResponse(f"{subject}: the answer is larger than {limit} bytes")
        return body

    def refusal(self, response: requests.Response, subject: str, deadline: Deadline) -> KallglotError:
        """Return what a refusal means for `subject`."""
        status = response.status_code
        text = f"{subject}: the API answers {status}"
        if status >= 400:  # noqa: PLR2004 - client errors; a redirect's body is never read
            error = parse_error(b"".join(pieces(response, ERROR_LIMIT, deadline)))
            if error is not None and error.code:
                request = error.request_id or response.headers.get("X-Request-ID")
                text += f" {error.code[:60]!r}" + (f" (request {request[:60]!r})" if request else "")
        return MEANINGS.get(status, BadResponse)(text)


def streamed(url: Secret, size: int | None = None) -> Lease:
    """Return the lease of a URL that needs the key on every request and never runs out."""
    return Lease(url, ends=float("inf"), metered=True, size=size)


def may_be_audio(response: requests.Response) -> bool:
    """Tell whether an answer says that it is audio, or does not say: a login page or an error is none."""
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return kind in ("", "application/octet-stream", "binary/octet-stream") or kind.startswith("audio/")
