"""What the service says: asked once, as a mount asks, and every answer noted.

A known recording is looked up, which tells in one request whether the key is accepted, which generation
answers, what time it is there, and where the storage is; without one, an id that names nothing is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kallglotfs.assembly.remote import USER_AGENT
from kallglotfs.clock import Deadline
from kallglotfs.errors import KallglotError, NotFound
from kallglotfs.model import Recording, Status
from kallglotfs.remote.api import Api
from kallglotfs.remote.api_session import ApiSession
from kallglotfs.remote.budget import Budget
from kallglotfs.remote.gates import ApiGate, StorageGate
from kallglotfs.remote.keys import ApiKey
from kallglotfs.remote.leases import LeaseBroker
from kallglotfs.remote.reach import Reach
from kallglotfs.remote.service import KallglotService
from kallglotfs.remote.storage import Storage
from kallglotfs.remote.transport import Transport
from kallglotfs.remote.witness import Witness
from kallglotfs.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    from kallglotfs.clock import Clock
    from kallglotfs.config.settings import Settings
    from kallglotfs.model import Lease, Rendition, Secret
    from kallglotfs.remote.witness import Answer

#: API requests that are made at most, whatever happens. As a rule it is one; two in generation 2, and where
#: there is no route of metadata or a signed URL is refused.
MOST = 3
#: Seconds for the API's answer, and for the storage's.
ASKING, FETCHING = 5.0, 5.0


@dataclass(frozen=True, slots=True)
class Heard:
    """The outcome of the conversation with the API.

    Attributes:
        answers: in their order.
        error: what it ended with, None where it went well.
        recording: what was found of the known recording.
    """

    answers: tuple[Answer, ...]
    error: KallglotError | None
    recording: Recording | None


class Contact:
    """The parts of a mount that speak to the service, for one conversation.

    Args:
        settings: of the profile.
        read_key: reads the API key.
        clock: what tells the time.

    Raises:
        KallglotError: there is no usable key, or the environment cannot work.
    """

    def __init__(self, settings: Settings, read_key: Callable[[], Secret], clock: Clock) -> None:
        self._clock = clock
        reach = Reach(settings.api_url)
        self._witness = Witness(USER_AGENT, ApiGate(settings.api_url, reach), clock, MOST)
        # No patience: what the rate limit says is one of the answers.
        budget = Budget(clock, 0.0)
        session = ApiSession(settings.api_url, self._witness, ApiKey(read_key, clock), budget, clock, Tally())
        self._api = Api(session, clock)
        broker = LeaseBroker(self._lease, clock)
        self._service = KallglotService(self._api, broker.offer, lambda _: None)
        plain = Transport(USER_AGENT, StorageGate(reach), proxy_credentials=False)
        self._storage = Storage(broker, plain, session, clock, Tally())

    @property
    def requests(self) -> int:
        """API requests spent so far."""
        return self._witness.asked

    def ask(self, known: Recording | None) -> Heard:
        """Ask the API.

        Args:
            known: a recording to look up, None where none is known.
        """
        deadline = Deadline(self._clock, ASKING)
        recording, trouble = None, None
        try:
            if known is None:
                self._api.check_key(deadline)
            else:
                recording = self._service.look_up(known.native(), deadline)
        except KallglotError as error:
            trouble = error
        return Heard(tuple(self._witness.answers), trouble, recording)

    def fetch(self, recording: Recording) -> bool:
        """Ask the storage for the first byte of a recording.

        Returns:
            Whether ranges are honoured.

        Raises:
            KallglotError: it cannot be had.
        """
        if recording.status is not Status.READY:
            raise NotFound(f"{recording.id} is not ready")
        body = self._storage.open(recording.native(), 0, 1, None, Deadline(self._clock, FETCHING))
        body.close()
        return body.ranged

    def _lease(self, rendition: Rendition, deadline: Deadline) -> Lease:
        return self._service.lease(rendition, deadline)
