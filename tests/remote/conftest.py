"""The remote parts, wired as a mount wires them, against servers that a test scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fakes import NoSleep
from kallglotfs.clock import Deadline
from kallglotfs.model import Recording, Secret
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
from kallglotfs.tally import Tally
from scripted import Scripted, scripted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kallglotfs.model import Lease, Rendition


class Wired:
    """API, broker, service and storage on two scripted origins."""

    def __init__(self, api: Scripted, storage: Scripted) -> None:
        self.api_server = api
        self.storage_server = storage
        self.clock = NoSleep()
        self.tally = Tally()
        self.key = "sk_test_good"
        self.known: dict[str, Recording] = {}
        reach = Reach(f"{api.origin}/v1")
        self.transports = (
            Transport("test", ApiGate(f"{api.origin}/v1", reach), proxy_credentials=True),
            Transport("test", StorageGate(reach), proxy_credentials=False),
        )
        self.session = ApiSession(
            f"{api.origin}/v1",
            self.transports[0],
            ApiKey(lambda: Secret(self.key), self.clock),
            Budget(self.clock, 90),
            self.clock,
            self.tally,
        )
        self.api = Api(self.session, self.clock)

        def acquire(rendition: Rendition, deadline: Deadline) -> Lease:
            return self.service.lease(rendition, deadline)

        self.broker = LeaseBroker(acquire, self.clock)
        self.service = KallglotService(self.api, self.broker.offer, self.known.get)
        self.storage = Storage(self.broker, self.transports[1], self.session, self.clock, self.tally)

    def close(self) -> None:
        """Close what is kept open."""
        for transport in self.transports:
            transport.close()

    def deadline(self, seconds: float = 5) -> Deadline:
        """Return a deadline on the real clock."""
        return Deadline(self.clock, seconds)


@pytest.fixture
def wire() -> Callable[[Scripted, Scripted], Wired]:
    """Wire the parts to an API and a storage that a test has made."""
    return Wired


@pytest.fixture
def wired() -> Iterator[Wired]:
    """Both origins, up for one test."""
    with scripted() as api, scripted() as storage:
        yield Wired(api, storage)
