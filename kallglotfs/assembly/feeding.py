"""What feeds the catalog: the sources, which ask by themselves, and the webhooks, which are told."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from kallglotfs.catalog.adding import Adder
from kallglotfs.catalog.back_fill import BackFill
from kallglotfs.catalog.ids_file import IdsFile
from kallglotfs.catalog.processing import Processing
from kallglotfs.catalog.source_store import SourceStore
from kallglotfs.catalog.sources import Sources
from kallglotfs.clock import Deadline
from kallglotfs.urgency import Urgency
from kallglotfs.vfs.naming import is_recording_id, is_session_id
from kallglotfs.webhooks.endpoint import Endpoint
from kallglotfs.webhooks.secrets import WebhookSecrets

if TYPE_CHECKING:
    from kallglotfs.catalog.catalog import Catalog
    from kallglotfs.catalog.session_store import SessionStore
    from kallglotfs.catalog.sessions import Sessions
    from kallglotfs.catalog.sources import Source
    from kallglotfs.catalog.store import CatalogStore
    from kallglotfs.clock import Clock
    from kallglotfs.config.settings import Settings
    from kallglotfs.remote.service import KallglotService


class Feeding:
    """Sources and webhooks of a mount, as its settings have them.

    Args:
        settings: of the mount.
        store: where recordings are kept.
        session_store: where sessions are kept.
        service: who is asked.
        catalog: is told what is new.
        sessions: lists sessions.
        clock: what tells the time.

    Raises:
        ConfigError: an address cannot be listened on.
    """

    def __init__(
        self,
        settings: Settings,
        store: CatalogStore,
        session_store: SessionStore,
        service: KallglotService,
        catalog: Catalog,
        sessions: Sessions,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._adder = Adder(store, service, is_recording_id, is_session_id, clock, settings.timeout)
        sources: list[Source] = [Processing(store, service, self._deadline, clock, catalog.noted)]
        ids_file = self._ids_file()
        if ids_file is not None:
            sources.append(ids_file)
        if settings.backfill:
            sources.append(BackFill(service, session_store, sessions, self._deadline, is_session_id))
        self._sources = Sources(sources, SourceStore(store.database), clock)
        self._webhooks: Endpoint | None = None
        if settings.webhook_listen is not None:
            self._webhooks = Endpoint(
                settings.webhook_listen,
                WebhookSecrets(settings.webhook_secret_file).read,
                store.database,
                catalog.noted,
                is_recording_id,
                is_session_id,
                clock,
            )

    def start(self) -> None:
        """Begin, and go on until `stop`."""
        self._sources.start()
        if self._webhooks is not None:
            self._webhooks.start()

    def stop(self) -> None:
        """Take in nothing more."""
        if self._webhooks is not None:
            self._webhooks.stop()
        self._sources.stop()

    def adopt(self, settings: Settings) -> None:
        """Take over the settings that may change; what is under way goes on as it began."""
        before, self._settings = self._settings, settings
        self._adder.set_timeout(settings.timeout)
        if settings.ids_file != before.ids_file:
            self._sources.replace(IdsFile.name, self._ids_file())

    def source_states(self) -> dict[str, Any]:
        """Return how far each source has come, for the status."""
        return {name: dataclasses.asdict(state) for name, state in self._sources.states().items()}

    def webhook_state(self) -> dict[str, Any]:
        """Return what webhooks have brought so far, for the status; nothing where there are none."""
        if self._webhooks is None:
            return {}
        counts = dataclasses.asdict(self._webhooks.counts())
        return {name: dict(value) if name == "refused" else value for name, value in counts.items()}

    def _deadline(self) -> Deadline:
        return Deadline(self._clock, self._settings.timeout, Urgency.BACKGROUND)

    def _ids_file(self) -> IdsFile | None:
        path = self._settings.ids_file
        return None if path is None else IdsFile(path, self._adder)
