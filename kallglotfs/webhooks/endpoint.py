"""The parts of the webhook receiver, put together. User: `mount.py`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from kallglotfs.catalog.intake import Intake
from kallglotfs.webhooks.counts import Counts, Tally
from kallglotfs.webhooks.events import EventReader
from kallglotfs.webhooks.listening import Listening
from kallglotfs.webhooks.receiver import Receiver
from kallglotfs.webhooks.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kallglotfs.catalog.database import Database
    from kallglotfs.clock import Clock
    from kallglotfs.config.addresses import Address
    from kallglotfs.model import Secret

log = logging.getLogger(__name__)


class Endpoint:
    """Receives webhooks for one catalog. It takes its address when it is made, and answers once started.

    Args:
        address: where to listen.
        read_secrets: reads the signing secrets afresh.
        database: the catalog's file.
        noted: told the ids of the recordings that events were about, once the catalog knows.
        is_recording: tells the form of a recording id.
        is_session: tells the form of a session id.
        clock: what tells the time.

    Raises:
        MountError: one cannot listen there.
    """

    def __init__(
        self,
        address: Address,
        read_secrets: Callable[[], Iterable[Secret]],
        database: Database,
        noted: Callable[[str], None],
        is_recording: Callable[[str], bool],
        is_session: Callable[[str], bool],
        clock: Clock,
    ) -> None:
        self._address = address
        self._tally = Tally(clock)
        self._listening = Listening(address)
        self._server = Server(
            Receiver(
                Intake(database, noted, clock),
                EventReader(is_recording, is_session),
                read_secrets,
                self._tally,
                clock,
            ),
            self._listening,
        )

    def start(self) -> None:
        """Receive from now on."""
        if not self._listening.is_local:
            log.warning(
                "webhook_listen: %s can be reached from other machines without TLS; "
                "better listen on 127.0.0.1, behind a proxy that has it",
                self._address,
            )
        self._server.start()
        log.info("receiving webhooks on %s", self._address)

    def stop(self) -> None:
        """Finish what is being stored and free the address."""
        self._server.stop()
        log.info("webhooks: %s", self._tally.counts())

    def counts(self) -> Counts:
        """Return what was received so far."""
        return self._tally.counts()
