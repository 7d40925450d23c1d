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
from kallglotfs.assembly.answering import Answering
from kallglotfs.assembly.feeding import Feeding
from kallglotfs.assembly.questions import OnDisk, Questions
from kallglotfs.assembly.remote import build_remote
from kallglotfs.assembly.stores import open_cache, open_store
from kallglotfs.catalog.catalog import Catalog
from kallglotfs.catalog.retention import Remains, Retention
from kallglotfs.catalog.session_documents import SessionDocuments
from kallglotfs.catalog.session_store import SessionStore
from kallglotfs.catalog.sessions import Sessions
from kallglotfs.clock import Deadline
from kallglotfs.content.arena import BLOCK
from kallglotfs.content.cache import SMALL_FILE, BlockCache
from kallglotfs.content.documents import Documents
from kallglotfs.content.reader import Reader
from kallglotfs.openers import Openers
from kallglotfs.remote.session_schema import Reading
from kallglotfs.status import Identity, Status
from kallglotfs.tally import Tally
from kallglotfs.urgency import Urgency
from kallglotfs.vfs.by_date import BY_DATE, ByDate
from kallglotfs.vfs.filesystem import FileSystem
from kallglotfs.vfs.forecast import Forecasts
from kallglotfs.vfs.insight import INSIGHT, Insight
from kallglotfs.vfs.naming import RECORDINGS, is_recording_id
from kallglotfs.vfs.recordings import Recordings
from kallglotfs.vfs.renditions import Renditions
from kallglotfs.vfs.sessions import SESSIONS
from kallglotfs.vfs.sessions import Sessions as SessionBranch
from kallglotfs.vfs.tree import Tree
from kallglotfs.vfs.walk import DEPTH, Walk
from kallglotfs.vfs.warming import Warming

if TYPE_CHECKING:
    from collections.abc import Callable

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
        session_store = SessionStore(self._store.database)
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
        shelf = Documents(self._disk)
        self._retention = self._build_retention(shelf, drop_pages)
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
            session_store,
            self._store,
            self._remote.service,
            self.demand,
            clock,
            settings.timeout,
            is_recording_id,
        )
        documents = SessionDocuments(
            session_store,
            self._remote.service,
            Reading(),
            shelf,
            sessions.is_past,
            self.demand,
            clock,
            settings.timeout,
        )
        self._timed = (self._blocks, catalog, sessions, documents)
        self._feeding = Feeding(
            settings, self._store, session_store, self._remote.service, catalog, sessions, clock
        )
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
        mounted = clock.wall()
        renditions = Renditions(catalog, self._blocks, settings.formats, settings.sample_rate, mounted)
        reader = Reader(self._blocks, clock, settings.streams, settings.memory_cache // 2)
        self.filesystem = self._build_filesystem(catalog, sessions, documents, renditions, reader, mounted)
        questions = Questions(
            settings,
            self._build_on_disk(catalog, renditions, reader),
            catalog,
            sessions,
            documents,
            shelf,
            self._remote.budget,
            self._tally,
            clock,
        )
        self._answering = Answering(settings, identity, self._status, questions)

    def start(self) -> None:
        """Begin with what runs by itself."""
        self._retention.start()
        self._feeding.start()
        self._answering.start()

    def received(self) -> int:
        """Return the bytes that have come from the storage so far."""
        return self._tally.counts().get("fetched_bytes", 0)

    def stop(self) -> None:
        """End everything, without waiting for what still sits in a network call."""
        self._answering.stop()
        log.info("passed over in the service's answers: %s", self._remote.api.oddities)
        self._feeding.stop()
        self.demand.shutdown(wait=False, cancel_futures=True)
        self._ahead.shutdown(wait=False, cancel_futures=True)
        self._retention.stop()
        if self._disk is not None:
            self._disk.close()
        self._store.close()

    def adopt(self, settings: Settings) -> None:
        """Take over the settings that may change; what is under way goes on as it began."""
        before, self._settings = self._settings, settings
        for part in self._timed:
            part.set_timeout(settings.timeout)
        self._feeding.adopt(settings)
        self._remote.budget.set_patience(settings.throttle_timeout)
        if self._disk is not None and settings.disk_cache != before.disk_cache:
            self._disk.resize(settings.disk_cache)

    def renew_key(self) -> None:
        """Take over the key that is kept now."""
        self._remote.key.renew()

    def status(self) -> dict[str, Any]:
        """Return the state of everything."""
        return self._status.status()

    def _build_retention(self, shelf: Documents, drop_pages: Callable[[str], None]) -> Retention:
        def let_go(subject: str) -> bool:
            shelf.forget(subject)
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

    def _build_on_disk(self, catalog: Catalog, renditions: Renditions, reader: Reader) -> OnDisk | None:
        if self._disk is None:
            return None
        return OnDisk(
            self._disk,
            Forecasts(renditions, catalog, self._disk, self._remote.broker, self._settings.sample_rate),
            Warming(
                renditions, catalog, self._blocks, reader, self._disk, self._clock, self._settings.timeout
            ),
        )

    def _build_filesystem(
        self,
        catalog: Catalog,
        sessions: Sessions,
        documents: SessionDocuments,
        renditions: Renditions,
        reader: Reader,
        mounted: float,
    ) -> FileSystem:
        settings, clock = self._settings, self._clock
        tree = Tree(
            {
                RECORDINGS: Recordings(renditions, mounted),
                SESSIONS: SessionBranch(sessions, documents, renditions, mounted),
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
                "sources": self._feeding.source_states,
                "webhooks": self._feeding.webhook_state,
                "passed_over": self._remote.api.oddities.counts,
            },
            self.openers.by_process,
            self._clock,
        )

    def _memory_state(self) -> dict[str, int]:
        counts = self._tally.counts()
        counted = {name: counts.get(f"memory_{name}", 0) for name in ("hits", "misses")}
        return {**self._blocks.state(), **counted}
