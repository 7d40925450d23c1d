"""Everything below the FUSE callbacks, built and wired; started and stopped together.

Everything is built after the fork, so that no thread or connection is left behind in the parent.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kallglotfs import __version__
from kallglotfs.assembly.questions import Questions
from kallglotfs.assembly.remote import build_remote
from kallglotfs.assembly.stores import open_cache, open_store
from kallglotfs.catalog.adding import Adder
from kallglotfs.catalog.back_fill import BackFill
from kallglotfs.catalog.catalog import Catalog
from kallglotfs.catalog.ids_file import IdsFile
from kallglotfs.catalog.processing import Processing
from kallglotfs.catalog.retention import Remains, Retention
from kallglotfs.catalog.session_store import SessionStore
from kallglotfs.catalog.sessions import Sessions
from kallglotfs.catalog.source_store import SourceStore
from kallglotfs.catalog.sources import Sources
from kallglotfs.clock import Deadline
from kallglotfs.content.arena import BLOCK
from kallglotfs.content.cache import SMALL_FILE, BlockCache
from kallglotfs.content.documents import Documents
from kallglotfs.content.reader import Reader
from kallglotfs.control import places
from kallglotfs.control.server import ControlServer
from kallglotfs.exporter import Exporter
from kallglotfs.openers import Openers
from kallglotfs.remote.session_schema import Reading
from kallglotfs.status import Identity, Status
from kallglotfs.tally import Tally
from kallglotfs.urgency import Urgency
from kallglotfs.vfs.by_date import BY_DATE, ByDate
from kallglotfs.vfs.filesystem import FileSystem
from kallglotfs.vfs.insight import INSIGHT, Insight
from kallglotfs.vfs.naming import RECORDINGS, is_recording_id, is_session_id
from kallglotfs.vfs.recordings import Recordings
from kallglotfs.vfs.renditions import Renditions
from kallglotfs.vfs.sessions import SESSIONS
from kallglotfs.vfs.sessions import Sessions as SessionBranch
from kallglotfs.vfs.tree import Tree
from kallglotfs.vfs.walk import DEPTH, Walk
from kallglotfs.vfs.warming import Warming
from kallglotfs.webhooks.endpoint import Endpoint
from kallglotfs.webhooks.secrets import WebhookSecrets

if TYPE_CHECKING:
    from collections.abc import Callable

    from kallglotfs.catalog.sources import Source
    from kallglotfs.clock import Clock
    from kallglotfs.config.settings import Settings
    from kallglotfs.model import Recording, Rendition, Secret

log = logging.getLogger(__name__)

#: Threads for fetches whose readers are gone.
SPARE_THREADS = 32


class Parts:
    """The parts of one mount.

    Args:
        settings: all of them.
        profile: the profile's name.
        mount_point: absolute path.
        read_key: reads the API key afresh.
        drop_pages: has the kernel drop its pages of a path.
        callbacks: how many callbacks there may be at one time.
        clock: what tells the time.

    Raises:
        ConfigError: a directory cannot be used, or an address not be listened on.
        CredentialError: there is no usable key.

    Attributes:
        filesystem: what the callbacks ask.
        demand: the threads that fetch what somebody waits for.
    """

    def __init__(
        self,
        settings: Settings,
        profile: str,
        mount_point: str,
        read_key: Callable[[], Secret],
        drop_pages: Callable[[str], None],
        callbacks: int,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._tally = Tally()
        self._store = open_store(settings, profile, clock)
        self._session_store = SessionStore(self._store.database)
        self._remote = build_remote(settings, read_key, self._store, clock, self._tally)
        self._disk = open_cache(settings, read_key, clock) if settings.disk_cache else None
        # One thread for each callback, and some for those whose readers are gone. A bulk reader whose turn at
        # the API is a minute off keeps nobody waiting.
        self.demand = ThreadPoolExecutor(callbacks + SPARE_THREADS, thread_name_prefix="demand")
        self._ahead = ThreadPoolExecutor(settings.streams, thread_name_prefix="ahead")
        self._blocks = BlockCache(
            settings.memory_cache,
            self._remote.storage,
            self.demand,
            self._ahead,
            clock,
            settings.timeout,
            self._disk,
            self._tally,
        )
        documents = Documents(self._disk)
        self._retention = self._build_retention(documents, drop_pages)
        catalog = Catalog(
            self._store,
            self._remote.service,
            self.demand,
            clock,
            settings.timeout,
            self._retention.gone,
            self._retention.doubt,
        )
        sessions = Sessions(
            self._session_store,
            self._store,
            self._remote.service,
            Reading(),
            documents,
            self.demand,
            clock,
            settings.timeout,
            is_recording_id,
        )
        self._adder = Adder(
            self._store, self._remote.service, is_recording_id, is_session_id, clock, settings.timeout
        )
        self._timed = (self._blocks, catalog, sessions, self._adder)
        self._sources = self._build_sources(catalog, sessions)
        self._webhooks = self._build_webhooks(catalog)
        identity = Identity(
            __version__,
            profile,
            mount_point,
            urlsplit(settings.api_url).netloc,
            os.getpid(),
            round(clock.wall(), 3),
        )
        self.openers = Openers()
        self._status = self._build_status(identity)
        self._exporter = (
            None if settings.metrics is None else Exporter(settings.metrics, self._status.metrics)
        )
        mounted = clock.wall()
        renditions = Renditions(catalog, self._blocks, settings.formats, settings.sample_rate, mounted)
        reader = Reader(self._blocks, clock, settings.streams, settings.memory_cache // 2)
        self.filesystem = self._build_filesystem(catalog, sessions, renditions, reader, mounted)
        questions = Questions(
            settings,
            self._build_warming(catalog, renditions, reader),
            self._disk,
            catalog,
            sessions,
            documents,
            self._remote.budget,
            self._tally,
            clock,
        )
        self._control = ControlServer(
            places.home() / places.name_of(mount_point),
            {
                "hello": lambda _: dataclasses.asdict(identity),
                "status": lambda asked: self._status.confidential(brief=bool(asked.get("brief"))),
                **questions.handlers(),
            },
        )

    def start(self) -> None:
        """Begin with what runs by itself."""
        self._retention.start()
        self._sources.start()
        if self._webhooks is not None:
            self._webhooks.start()
        if self._exporter is not None:
            self._exporter.start()
        self._control.start()

    def received(self) -> int:
        """Return the bytes that have come from the storage so far."""
        return self._tally.counts().get("fetched_bytes", 0)

    def stop(self) -> None:
        """End everything, without waiting for what still sits in a network call."""
        self._control.stop()
        if self._exporter is not None:
            self._exporter.stop()
        log.info("passed over in the service's answers: %s", self._remote.api.oddities)
        if self._webhooks is not None:
            self._webhooks.stop()
        self.demand.shutdown(wait=False, cancel_futures=True)
        self._ahead.shutdown(wait=False, cancel_futures=True)
        self._retention.stop()
        self._sources.stop()
        if self._disk is not None:
            self._disk.close()
        self._store.close()

    def adopt(self, settings: Settings) -> None:
        """Take over the settings that may change; what is under way goes on as it began."""
        before, self._settings = self._settings, settings
        for part in self._timed:
            part.set_timeout(settings.timeout)
        self._remote.budget.set_patience(settings.throttle_timeout)
        if self._disk is not None and settings.disk_cache != before.disk_cache:
            self._disk.resize(settings.disk_cache)
        if settings.ids_file != before.ids_file:
            self._sources.replace(IdsFile.name, self._ids_file())

    def renew_key(self) -> None:
        """Take over the key that is kept now."""
        self._remote.key.renew()

    def status(self) -> dict[str, Any]:
        """Return the state of everything."""
        return self._status.status()

    def _build_retention(self, documents: Documents, drop_pages: Callable[[str], None]) -> Retention:
        def let_go(subject: str) -> bool:
            documents.forget(subject)
            return self._blocks.forget(subject)

        def look_up(rendition: Rendition) -> Recording:
            deadline = Deadline(self._clock, self._settings.timeout, Urgency.BACKGROUND)
            return self._remote.service.look_up(rendition, deadline)

        remains = Remains(
            lambda recording_id: self.filesystem.end(recording_id),  # noqa: PLW0108 - there is none yet
            lambda recording_id: self.filesystem.paths(recording_id),  # noqa: PLW0108
            let_go,
            drop_pages,
        )
        return Retention(self._store, remains, look_up, self.demand, self._clock)

    def _build_sources(self, catalog: Catalog, sessions: Sessions) -> Sources:
        settings, clock, service = self._settings, self._clock, self._remote.service

        def deadline() -> Deadline:
            return Deadline(clock, self._settings.timeout, Urgency.BACKGROUND)

        sources: list[Source] = [Processing(self._store, service, deadline, clock, catalog.noted)]
        ids_file = self._ids_file()
        if ids_file is not None:
            sources.append(ids_file)
        if settings.backfill:
            sources.append(BackFill(service, self._session_store, sessions, deadline, is_session_id))
        return Sources(sources, SourceStore(self._store.database), clock)

    def _ids_file(self) -> IdsFile | None:
        path = self._settings.ids_file
        return None if path is None else IdsFile(path, self._adder)

    def _build_webhooks(self, catalog: Catalog) -> Endpoint | None:
        settings = self._settings
        if settings.webhook_listen is None:
            return None
        return Endpoint(
            settings.webhook_listen,
            WebhookSecrets(settings.webhook_secret_file).read,
            self._store.database,
            catalog.noted,
            is_recording_id,
            is_session_id,
            self._clock,
        )

    def _build_warming(self, catalog: Catalog, renditions: Renditions, reader: Reader) -> Warming | None:
        if self._disk is None:
            return None
        return Warming(
            renditions,
            catalog,
            self._blocks,
            reader,
            self._disk,
            self._remote.broker,
            self._clock,
            self._settings.timeout,
            self._settings.sample_rate,
        )

    def _build_filesystem(
        self, catalog: Catalog, sessions: Sessions, renditions: Renditions, reader: Reader, mounted: float
    ) -> FileSystem:
        settings, clock = self._settings, self._clock
        tree = Tree(
            {
                RECORDINGS: Recordings(renditions, mounted),
                SESSIONS: SessionBranch(sessions, renditions, mounted),
                BY_DATE: ByDate(catalog, renditions, mounted),
                INSIGHT: Insight(self._status, self._store.everything, clock.wall),
            },
            mounted,
        )
        depth = max(1, min(DEPTH, settings.memory_cache // 4 // (SMALL_FILE * BLOCK)))
        walk = Walk(renditions, catalog, self._blocks, self._remote.budget.can_spare, clock.now, depth)
        return FileSystem(tree, renditions, self._blocks, reader, catalog, walk, clock, self._tally)

    def _build_status(self, identity: Identity) -> Status:
        def cached(recording_id: str) -> dict[str, int]:
            in_memory = {"memory": self._blocks.cached(recording_id)}
            return in_memory if self._disk is None else in_memory | {"disk": self._disk.cached(recording_id)}

        return Status(
            identity,
            self._tally,
            self._store,
            cached,
            self._remote.broker.seconds_left,
            {
                "budget": self._remote.budget.state,
                "leases": self._remote.broker.state,
                "memory": self._memory_state,
                "disk": lambda: {} if self._disk is None else dataclasses.asdict(self._disk.counts()),
                "open_files": lambda: {"count": self.filesystem.open_files()},
                "known": lambda: {"recordings": self._store.count(self._clock.theirs())},
                "sources": self._source_states,
                "webhooks": self._webhook_state,
                "passed_over": self._remote.api.oddities.counts,
            },
            self.openers.by_process,
            self._clock,
        )

    def _memory_state(self) -> dict[str, int]:
        counts = self._tally.counts()
        counted = {name: counts.get(f"memory_{name}", 0) for name in ("hits", "misses")}
        return {**self._blocks.state(), **counted}

    def _source_states(self) -> dict[str, Any]:
        return {name: dataclasses.asdict(state) for name, state in self._sources.states().items()}

    def _webhook_state(self) -> dict[str, Any]:
        if self._webhooks is None:
            return {}
        counts = dataclasses.asdict(self._webhooks.counts())
        return {name: dict(value) if name == "refused" else value for name, value in counts.items()}
