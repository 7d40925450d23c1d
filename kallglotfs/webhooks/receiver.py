"""The receiver as a WSGI application: from a request to a stored event, or a refusal.

An event is answered 200 once it is stored, and only then. What cannot be stored now is answered 503, upon
which the sender tries again. Answers have no body, and nothing of a request is logged but an event's id.

Threading: any thread; what it holds is the tally, and a text that is only ever replaced.
"""

from __future__ import annotations

import logging
import traceback
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

from kallglotfs.catalog.intake import Event, Outcome
from kallglotfs.errors import BadResponse, CredentialError, SystemFault
from kallglotfs.webhooks.signature import Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse

    from kallglotfs.clock import Clock
    from kallglotfs.model import Secret
    from kallglotfs.webhooks.counts import Tally
    from kallglotfs.webhooks.events import EventReader

log = logging.getLogger(__name__)

#: Refusals of one kind between two lines in the log: anybody may send them.
TOLD_EVERY = 1000


class Intake(Protocol):
    """Who stores events: `catalog.intake.Intake`."""

    def take(self, event: Event) -> Outcome:
        """Store an event."""


class Receiver:
    """Answers deliveries.

    Args:
        intake: who stores events.
        reader: reads them.
        read_secrets: reads the signing secrets afresh.
        tally: what counts.
        clock: what tells the time.
    """

    def __init__(
        self,
        intake: Intake,
        reader: EventReader,
        read_secrets: Callable[[], Iterable[Secret]],
        tally: Tally,
        clock: Clock,
    ) -> None:
        self._intake = intake
        self._reader = reader
        self._read_secrets = read_secrets
        self._tally = tally
        self._clock = clock
        #: Why the last event could not be stored, so that it is said once; empty since one could.
        self._failure = ""

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        """Answer one request (PEP 3333)."""
        try:
            status = self._answer(environ)
        except Exception as error:  # noqa: BLE001 - the sender must be told to try again
            # Not its message, which may repeat what was received.
            place = traceback.extract_tb(error.__traceback__)[-1]
            log.error(  # noqa: TRY400 - for the same reason
                "webhooks: unexpected %s in %s:%s", type(error).__name__, place.name, place.lineno
            )
            self._tally.failed("unexpected error")
            status = HTTPStatus.INTERNAL_SERVER_ERROR
        headers = [("Content-Length", "0")]
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            headers.append(("Allow", "POST"))
        start_response(f"{status.value} {status.phrase}", headers)
        return []

    def refused(self, reason: str) -> None:
        """Count a request that is refused, and say so now and then."""
        count = self._tally.refused(reason)
        if count % TOLD_EVERY == 1:
            log.warning("webhooks: a delivery is refused: %s (%d so far)", reason, count)

    def _answer(self, environ: dict[str, Any]) -> HTTPStatus:
        if environ["REQUEST_METHOD"] != "POST":
            self.refused("wrong method")
            return HTTPStatus.METHOD_NOT_ALLOWED
        body = environ["wsgi.input"].read()
        try:
            secrets = self._read_secrets()
        except CredentialError as error:
            self._failed(str(error))
            return HTTPStatus.SERVICE_UNAVAILABLE
        header = environ.get("HTTP_KALLGLOT_SIGNATURE")
        verdict = judge(header, body, secrets, self._clock.wall())
        if verdict is not Verdict.GOOD:
            self.refused(f"signature {verdict}")
            return HTTPStatus.UNAUTHORIZED
        try:
            event = self._reader.read(body)
        except BadResponse as error:
            self.refused(str(error))
            return HTTPStatus.BAD_REQUEST
        return self._store(event)

    def _store(self, event: Event) -> HTTPStatus:
        try:
            outcome = self._intake.take(event)
        except SystemFault as error:
            self._failed(f"the catalog cannot be written: {error}")
            return HTTPStatus.SERVICE_UNAVAILABLE
        self._failure = ""
        log.debug("webhooks: event %r: %s", event.id, outcome.value)
        if outcome is Outcome.STORED:
            self._tally.stored()
        else:
            self._tally.duplicate()
        return HTTPStatus.OK

    def _failed(self, reason: str) -> None:
        if self._failure != reason:
            log.warning("webhooks: %s", reason)
        self._failure = reason
        self._tally.failed(reason)
