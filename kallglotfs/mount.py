"""The composition root: builds the parts of a mount, runs it, takes it down.

Everything is built after the fork, so that no thread or connection is left behind in the parent.
"""

from __future__ import annotations

import logging
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kallglotfs import __version__, libfuse
from kallglotfs.catalog.adding import Adder
from kallglotfs.catalog.back_fill import BackFill
from kallglotfs.catalog.catalog import Catalog
from kallglotfs.catalog.ids_file import IdsFile
from kallglotfs.catalog.processing import Processing
from kallglotfs.catalog.retention import Retention
from kallglotfs.catalog.session_store import SessionStore
from kallglotfs.catalog.sessions import Sessions
from kallglotfs.catalog.source_store import SourceStore
from kallglotfs.catalog.sources import Sources
from kallglotfs.catalog.store import CatalogStore, catalog_path
from kallglotfs.clock import Clock, Deadline
from kallglotfs.content.arena import BLOCK
from kallglotfs.content.cache import SMALL_FILE, BlockCache
from kallglotfs.content.disk import DiskTier
from kallglotfs.content.documents import Documents
from kallglotfs.content.reader import Reader
from kallglotfs.errors import KallglotError, KeyRefused, MountError, NotPermitted, RateLimited
from kallglotfs.mountpoint import mounted_at
from kallglotfs.negotiation import raise_read_ahead
from kallglotfs.operations import Operations
from kallglotfs.programs import DeniedPrograms
from kallglotfs.remote.api import Api
from kallglotfs.remote.api_session import ApiSession
from kallglotfs.remote.budget import Budget
from kallglotfs.remote.keys import ApiKey
from kallglotfs.remote.leases import LeaseBroker
from kallglotfs.remote.schema import Reading
from kallglotfs.remote.service import KallglotService
from kallglotfs.remote.storage import Storage
from kallglotfs.remote.transport import Transport
from kallglotfs.vfs.by_date import BY_DATE, ByDate
from kallglotfs.vfs.filesystem import FileSystem
from kallglotfs.vfs.naming import RECORDINGS, is_recording_id, is_session_id
from kallglotfs.vfs.recordings import Recordings
from kallglotfs.vfs.renditions import Renditions
from kallglotfs.vfs.sessions import SESSIONS
from kallglotfs.vfs.sessions import Sessions as SessionBranch
from kallglotfs.vfs.tree import Tree
from kallglotfs.vfs.walk import DEPTH, Walk
from kallglotfs.webhooks.endpoint import Endpoint
from kallglotfs.webhooks.secrets import WebhookSecrets

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from kallglotfs.catalog.sources import Source
    from kallglotfs.config.settings import Settings
    from kallglotfs.model import Lease, Rendition, Secret

log = logging.getLogger(__name__)

USER_AGENT = f"kallglotfs/{__version__}"
#: Fetches that readers wait for, at one time; a stalled host keeps its readers' threads for `timeout`.
DEMAND_THREADS = 64
#: Seconds the key check may take: a network that is down must not stop the mount.
CHECK_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Remote:
    """The parts that speak to the service."""

    api: Api
    service: KallglotService
    broker: LeaseBroker
    storage: Storage
    budget: Budget


def build_remote(
    settings: Settings, read_key: Callable[[], Secret], store: CatalogStore, clock: Clock
) -> Remote:
    """Build the parts that speak to the service.

    Args:
        settings: of the mount.
        read_key: reads the API key afresh.
        store: what is known already.
        clock: what tells the time.

    Raises:
        CredentialError: there is no usable key.
    """
    budget = Budget(clock, settings.throttle_timeout)
    session = ApiSession(
        settings.api_url,
        Transport(USER_AGENT, proxy_credentials=True),
        ApiKey(read_key, clock),
        budget,
        clock,
    )
    api = Api(session, clock)

    def acquire(rendition: Rendition, deadline: Deadline) -> Lease:
        return service.lease(rendition, deadline)

    broker = LeaseBroker(acquire, clock)
    service = KallglotService(api, broker.offer, store.recording)
    storage = Storage(broker, Transport(USER_AGENT, proxy_credentials=False), session, clock)
    return Remote(api, service, broker, storage, budget)


def open_store(settings: Settings, profile: str, clock: Clock) -> CatalogStore:
    """Open the catalog of a profile.

    Raises:
        ConfigError: `state_dir` cannot be used.
    """
    return CatalogStore(catalog_path(settings.state_dir, profile, settings.api_url), clock)


def open_cache(settings: Settings, read_key: Callable[[], Secret], clock: Clock) -> DiskTier:
    """Open the disk tier.

    Raises:
        ConfigError: `cache_dir` cannot be used.
        CredentialError: there is no usable key.
    """
    return DiskTier(settings.cache_dir, settings.disk_cache, read_key, clock)


def check_key(settings: Settings, read_key: Callable[[], Secret], clock: Clock) -> None:
    """Ask the service, once and briefly, whether it accepts the key.

    A service that cannot be asked is no reason not to mount: the network may come later.

    Raises:
        MountError: the key is refused.
        CredentialError: there is no usable key.
    """
    # A budget without patience: waiting for the rate limit would say nothing of the key.
    session = ApiSession(
        settings.api_url,
        Transport(USER_AGENT, proxy_credentials=True),
        ApiKey(read_key, clock),
        Budget(clock, 0.0),
        clock,
    )
    try:
        Api(session, clock).check_key(Deadline(clock, min(CHECK_TIMEOUT, settings.timeout)))
    except KeyRefused:
        raise MountError("the API key is refused (401); check the key and its account") from None
    except (RateLimited, NotPermitted) as error:
        log.warning("the key could not be checked: %s", error)
    except KallglotError as error:
        log.warning("the service cannot be asked yet, mounting all the same: %s", error)


class Mount:
    """One mount from its parts to its end.

    Args:
        settings: all of them.
        profile: the profile's name, the mount's source.
        mount_point: absolute path, checked.
        read_key: reads the API key afresh.
        binding: libfuse, from `libfuse.load`.
    """

    def __init__(
        self,
        settings: Settings,
        profile: str,
        mount_point: str,
        read_key: Callable[[], Secret],
        binding: ModuleType,
    ) -> None:
        self._settings = settings
        self._mount_point = mount_point
        self._clock = Clock()
        self._store = open_store(settings, profile, self._clock)
        self._remote = build_remote(settings, read_key, self._store, self._clock)
        self._disk = open_cache(settings, read_key, self._clock) if settings.disk_cache else None
        self._demand = ThreadPoolExecutor(DEMAND_THREADS, thread_name_prefix="demand")
        self._ahead = ThreadPoolExecutor(settings.streams, thread_name_prefix="ahead")
        self._session = libfuse.Session(binding, mount_point, profile, allow_other=settings.allow_other)
        self._operations = self._build()

    def serve(self, ready: Callable[[], None]) -> int:
        """Mount, call `ready` once the mount answers, and serve until it ends.

        Returns:
            The exit code.

        Raises:
            MountError: the mount cannot be made.
        """
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: self._session.stop())
        try:
            self._session.start(self._operations)
            self._check_answer()
            self._retention.start()
            self._sources.start()
            if self._webhooks is not None:
                self._webhooks.start()
            log.info("mounted on %s", self._mount_point)
            ready()
            self._session.wait()
            log.info("unmounted %s", self._mount_point)
        finally:
            if self._webhooks is not None:
                self._webhooks.stop()
            self._demand.shutdown(wait=False, cancel_futures=True)
            self._ahead.shutdown(wait=False, cancel_futures=True)
            self._retention.stop()
            self._sources.stop()
            if self._disk is not None:
                self._disk.close()
            self._store.close()
        return 0

    def _build(self) -> Operations:
        settings, clock = self._settings, self._clock
        blocks = BlockCache(
            settings.memory_cache,
            self._remote.storage,
            self._demand,
            self._ahead,
            clock,
            settings.timeout,
            self._disk,
        )
        catalog = Catalog(
            self._store, self._remote.service, self._demand, clock, settings.timeout, blocks.forget
        )
        documents = Documents(self._disk)
        sessions = Sessions(
            SessionStore(self._store.database),
            self._store,
            self._remote.service,
            Reading(),
            documents,
            self._demand,
            clock,
            settings.timeout,
            is_recording_id,
        )

        def let_go(subject: str) -> None:
            blocks.forget(subject)
            documents.destroy(subject)
            catalog.noted(subject)

        self._retention = Retention(self._store, let_go, clock)
        self._sources = self._build_sources(catalog, sessions)
        self._webhooks = (
            Endpoint(
                settings.webhook_listen,
                WebhookSecrets(settings.webhook_secret_file).read,
                self._store.database,
                catalog.noted,
                is_recording_id,
                is_session_id,
                clock,
            )
            if settings.webhook_listen is not None
            else None
        )
        denied = DeniedPrograms(settings.deny_programs)
        mounted = clock.wall()
        renditions = Renditions(catalog, blocks, settings.formats, settings.sample_rate, mounted)
        tree = Tree(
            {
                RECORDINGS: Recordings(renditions, mounted),
                SESSIONS: SessionBranch(sessions, renditions, mounted),
                BY_DATE: ByDate(catalog, renditions, mounted),
            },
            mounted,
        )
        depth = max(1, min(DEPTH, settings.memory_cache // 4 // (SMALL_FILE * BLOCK)))
        walk = Walk(renditions, catalog, blocks, self._remote.budget.spare, clock.now, depth)
        reader = Reader(blocks, clock, settings.streams, settings.memory_cache // 2)
        return Operations(
            FileSystem(tree, renditions, blocks, reader, catalog, walk),
            clock,
            settings.timeout,
            self._session.interrupted,
            uid=os.getuid() if settings.uid is None else settings.uid,
            gid=os.getgid() if settings.gid is None else settings.gid,
            umask=settings.umask,
            denied=lambda: denied.has(self._session.caller()),
            on_init=self._session.connected,
        )

    def _build_sources(self, catalog: Catalog, sessions: Sessions) -> Sources:
        settings, clock, service = self._settings, self._clock, self._remote.service

        def deadline() -> Deadline:
            return Deadline(clock, settings.timeout)

        sources: list[Source] = [Processing(self._store, service, deadline, clock, catalog.noted)]
        if settings.ids_file is not None:
            adder = Adder(self._store, service, is_recording_id, is_session_id, clock, settings.timeout)
            sources.append(IdsFile(settings.ids_file, adder))
        if settings.backfill:
            store = SessionStore(self._store.database)
            sources.append(BackFill(service, store, sessions, deadline, is_session_id))
        return Sources(sources, SourceStore(self._store.database), clock)

    def _check_answer(self) -> None:
        """Make sure that the mount is there and answers."""
        try:
            raise_read_ahead(Path(self._mount_point).stat().st_dev)
        except OSError as error:
            self._session.stop()
            raise MountError(f"{self._mount_point}: the mount does not answer: {error.strerror}") from None
        found = mounted_at(self._mount_point)
        if found is None or not found.kind.startswith("fuse"):
            self._session.stop()
            raise MountError(f"{self._mount_point}: the kernel shows no mount")
