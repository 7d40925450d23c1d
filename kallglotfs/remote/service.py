"""How to find a recording and the way to its bytes, at the fewest API requests.

Both generations and cut-down installations go through here, told apart by what they answer. The floor is
one request per cold recording and format: the metadata's `download_url` is already the native format's
lease, and where `/download` is the only route, one 302 proves both that the recording exists and that it
can be read.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from kallglotfs.errors import NotFound, NotReady
from kallglotfs.model import (
    DEFAULT_FORMAT,
    FORMATS,
    ORIGINAL_RATE,
    Delivery,
    Lease,
    Recording,
    Rendition,
    Status,
)
from kallglotfs.remote.answers import Metadata, RouteForbidden, RouteMissing
from kallglotfs.remote.routes import Route, Routes
from kallglotfs.single_flight import SingleFlight

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from kallglotfs.clock import Deadline
    from kallglotfs.remote.api import Api, SessionPage

log = logging.getLogger(__name__)


class KallglotService:
    """Finds recordings and leases.

    Args:
        api: the routes.
        offer: takes a lease that an answer brought along.
        known: returns what is already known of a recording, at no cost.
    """

    def __init__(
        self,
        api: Api,
        offer: Callable[[Rendition, Lease], None],
        known: Callable[[str], Recording | None],
    ) -> None:
        self._api = api
        self._offer = offer
        self._known = known
        self._routes = Routes()
        self._lookups: SingleFlight[Recording] = SingleFlight()

    def look_up(self, rendition: Rendition, deadline: Deadline) -> Recording:
        """Ask the service what a recording is.

        Args:
            rendition: what was asked for; its format is tried where only `/download` answers.
            deadline: of the whole.

        Raises:
            NotFound: there is none.
            NotPermitted, NotReady, TimedOut, Unreachable, BadResponse: as they say.
        """
        return self._lookups.run(rendition.recording_id, lambda: self._look_up(rendition, deadline), deadline)

    def lease(self, rendition: Rendition, deadline: Deadline) -> Lease:
        """Get a fresh lease.

        Raises:
            NotFound: the recording or this format of it does not exist.
            NotReady: still being processed.
            NotPermitted, TimedOut, Unreachable, BadResponse: as they say.
        """
        known = self._known(rendition.recording_id)
        if known is not None and known.delivery is Delivery.STREAMED:
            return self._stream(rendition, known.size)
        if self._routes.download is Route.ABSENT:
            if known is not None and self._routes.streams and known.delivery is Delivery.UNKNOWN:
                return self._stream(rendition, known.size)
            return self._lease_from_metadata(rendition, deadline)
        if rendition.format not in FORMATS:
            # The service converts to none but these; the metadata alone leads to a native one.
            return self._lease_from_metadata(rendition, deadline)
        try:
            lease = self._api.download(rendition, deadline)
        except (RouteMissing, RouteForbidden):
            if self._routes.download is Route.PRESENT or self._routes.metadata is Route.ABSENT:
                raise
            return self._lease_from_metadata(rendition, deadline, missing=True)
        self._routes.download = Route.PRESENT
        return lease

    def session_recordings(self, session_id: str, deadline: Deadline) -> Iterator[Recording]:
        """List a session's recordings; raises as `Api.session_recordings`."""
        with self._on_route("recordings"):
            for recording in self._api.session_recordings(session_id, deadline):
                self._note_delivery(recording)
                yield recording

    def session_document(self, session_id: str, kind: str, deadline: Deadline) -> bytes:
        """Return the JSON of a session or its transcript; raises as `Api.session_document`."""
        with self._on_route(kind):
            return self._api.session_document(session_id, kind, deadline)

    def sessions(self, cursor: Mapping[str, str], deadline: Deadline) -> SessionPage:
        """Return a page of the list of sessions; raises as `Api.sessions`."""
        return self._api.sessions(cursor, deadline)

    @contextlib.contextmanager
    def _on_route(self, name: str) -> Iterator[None]:
        """Ask one of the sessions' routes; what the key's scope forbids is not asked again in this run."""
        if self._routes.sessions.get(name) is Route.ABSENT:
            raise RouteForbidden(f"this key or installation does not give the {name} of sessions")
        try:
            yield
        except RouteForbidden:
            # 403 speaks of the key, whatever the session; once it has answered, of the session alone.
            if self._routes.sessions.get(name) is not Route.PRESENT:
                self._routes.sessions[name] = Route.ABSENT
            raise
        self._routes.sessions[name] = Route.PRESENT

    def _look_up(self, rendition: Rendition, deadline: Deadline) -> Recording:
        if self._routes.metadata is Route.ABSENT:
            return self._look_up_by_download(rendition, deadline)
        try:
            return self._metadata(rendition.recording_id, deadline).recording
        except NotReady:
            return Recording(rendition.recording_id, status=Status.PROCESSING)
        except (RouteMissing, RouteForbidden):
            if self._routes.metadata is Route.PRESENT or self._routes.download is Route.ABSENT:
                raise
            recording = self._look_up_by_download(rendition, deadline)
            log.info("this installation has no metadata route: only downloads are asked from now on")
            self._routes.metadata = Route.ABSENT
            return recording

    def _look_up_by_download(self, rendition: Rendition, deadline: Deadline) -> Recording:
        """Prove a recording by its download, where nothing else answers."""
        try:
            lease = self._api.download(rendition, deadline)
        except NotReady:
            return Recording(rendition.recording_id, status=Status.PROCESSING)
        self._routes.download = Route.PRESENT
        self._offer(rendition, lease)
        return Recording(
            rendition.recording_id, delivery=Delivery.UNKNOWN if lease.metered else Delivery.SIGNED
        )

    def _lease_from_metadata(
        self, rendition: Rendition, deadline: Deadline, *, missing: bool = False
    ) -> Lease:
        """Get a lease from the metadata, where `/download` did not give one.

        Args:
            rendition: for which.
            deadline: of the whole.
            missing: whether `/download` has just said that it, or the recording, is not there.
        """
        found = self._metadata(rendition.recording_id, deadline)
        if found.recording.delivery is Delivery.STREAMED:
            self._routes.download = Route.ABSENT
            return self._stream(rendition, found.recording.size)
        if missing and found.lease is not None:
            # The recording is there, so it is the route that is not.
            self._routes.download = Route.ABSENT
        if found.lease is not None and rendition == found.recording.native():
            return found.lease
        if found.recording.status is not Status.READY:
            raise NotReady(f"{rendition.recording_id}: {found.recording.status}")
        raise NotFound(f"{rendition.recording_id}: not to be had as {rendition.format}")

    def _metadata(self, recording_id: str, deadline: Deadline) -> Metadata:
        found = self._api.metadata(recording_id, deadline)
        self._routes.metadata = Route.PRESENT
        self._note_delivery(found.recording)
        if found.lease is not None and found.recording.status is Status.READY:
            self._offer(found.recording.native(), found.lease)
        return found

    def _note_delivery(self, recording: Recording) -> None:
        if recording.delivery is Delivery.STREAMED:
            self._routes.streams = True

    def _stream(self, rendition: Rendition, size: int | None) -> Lease:
        """Return generation 2's only rendition: MP3 as it was recorded."""
        if rendition.format != DEFAULT_FORMAT or rendition.rate != ORIGINAL_RATE:
            raise NotFound(f"{rendition.recording_id}: this service converts nothing")
        return self._api.audio(rendition.recording_id, size)
