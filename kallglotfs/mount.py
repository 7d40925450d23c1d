"""The composition root: builds the parts of a mount, runs it, takes it down.

Everything is built after the fork, so that no thread or connection is left behind in the parent.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kallglotfs import __version__, libfuse
from kallglotfs.background import leave
from kallglotfs.callers import Callers
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
from kallglotfs.catalog.store import CatalogStore, catalog_path
from kallglotfs.clock import Deadline
from kallglotfs.content.arena import BLOCK
from kallglotfs.content.cache import SMALL_FILE, BlockCache
from kallglotfs.content.disk import DiskTier
from kallglotfs.content.documents import Documents
from kallglotfs.content.reader import Reader
from kallglotfs.errors import KallglotError, KeyRefused, MountError, NotPermitted, RateLimited
from kallglotfs.mountpoint import KIND, mounts_at
from kallglotfs.negotiation import raise_read_ahead
from kallglotfs.operations import Operations
from kallglotfs.programs import DeniedPrograms
from kallglotfs.remote.api import Api
from kallglotfs.remote.api_session import ApiSession
from kallglotfs.remote.budget import Budget
from kallglotfs.remote.gates import ApiGate, StorageGate
from kallglotfs.remote.keys import ApiKey
from kallglotfs.remote.leases import LeaseBroker
from kallglotfs.remote.reach import Reach
from kallglotfs.remote.schema import Reading
from kallglotfs.remote.service import KallglotService
from kallglotfs.remote.storage import Storage
from kallglotfs.remote.transport import Transport
from kallglotfs.request_limit import fitted, kernel_limit
from kallglotfs.unmounting import unmount
from kallglotfs.urgency import Urgency
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
    from kallglotfs.clock import Clock
    from kallglotfs.config.settings import Settings
    from kallglotfs.model import Lease, Recording, Rendition, Secret

log = logging.getLogger(__name__)

USER_AGENT = f"kallglotfs/{__version__}"
#: Fetches that readers wait for, at one time: one for each callback that libfuse may have under way, and some
#: for those whose readers are gone. A bulk reader whose turn at the API is a minute off keeps nobody waiting.
DEMAND_THREADS = libfuse.THREADS + 32
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
        ConfigError: the environment names certificates or a proxy that cannot be used.
    """
    budget = Budget(clock, settings.throttle_timeout)
    reach = Reach(settings.api_url)
    session = ApiSession(
        settings.api_url,
        Transport(USER_AGENT, ApiGate(settings.api_url, reach), proxy_credentials=True),
        ApiKey(read_key, clock),
        budget,
        clock,
    )
    api = Api(session, clock)

    def acquire(rendition: Rendition, deadline: Deadline) -> Lease:
        return service.lease(rendition, deadline)

    broker = LeaseBroker(acquire, clock)
    service = KallglotService(api, broker.offer, store.recording)
    storage = Storage(
        broker, Transport(USER_AGENT, StorageGate(reach), proxy_credentials=False), session, clock
    )
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
        ConfigError: the environment names certificates or a proxy that cannot be used.
    """
    # A budget without patience: waiting for the rate limit would say nothing of the key.
    session = ApiSession(
        settings.api_url,
        Transport(USER_AGENT, ApiGate(settings.api_url, Reach(settings.api_url)), proxy_credentials=True),
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


def _within_kernel_limit(settings: Settings) -> Settings:
    timeout, throttle_timeout = fitted(settings.timeout, settings.throttle_timeout, kernel_limit())
    return settings.model_copy(update={"timeout": timeout, "throttle_timeout": throttle_timeout})


class Mount:
    """One mount from its parts to its end.

    Args:
        settings: all of them.
        profile: the profile's name, the mount's source.
        mount_point: absolute path, checked.
        read_key: reads the API key afresh.
        binding: libfuse, from `libfuse.load`.
        clock: what tells the time.
    """

    def __init__(
        self,
        settings: Settings,
        profile: str,
        mount_point: str,
        read_key: Callable[[], Secret],
        binding: ModuleType,
        clock: Clock,
    ) -> None:
        settings = _within_kernel_limit(settings)
        self._settings = settings
        self._mount_point = mount_point
        self._clock = clock
        self._store = open_store(settings, profile, self._clock)
        self._remote = build_remote(settings, read_key, self._store, self._clock)
        self._disk = open_cache(settings, read_key, self._clock) if settings.disk_cache else None
        self._demand = ThreadPoolExecutor(DEMAND_THREADS, thread_name_prefix="demand")
        self._ahead = ThreadPoolExecutor(settings.streams, thread_name_prefix="ahead")
        self._session = libfuse.Session(
            binding, mount_point, profile, allow_other=settings.allow_other, leave=self._leave
        )
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
            try:
                self._check_mounted()
            except MountError:
                # Gone before anybody is told that it failed.
                self._session.stop()
                self._session.wait()
                raise
            self._retention.start()
            self._sources.start()
            if self._webhooks is not None:
                self._webhooks.start()
            log.info("mounted on %s", self._mount_point)
            ready()
            self._session.wait()
            log.info("unmounted %s", self._mount_point)
            log.info("passed over in the service's answers: %s", self._remote.api.oddities)
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
        documents = Documents(self._disk)

        def let_go(subject: str) -> bool:
            documents.destroy(subject)
            return blocks.forget(subject)

        remains = Remains(
            lambda recording_id: filesystem.end(recording_id),  # noqa: PLW0108 - there is none yet
            lambda recording_id: filesystem.paths(recording_id),  # noqa: PLW0108
            let_go,
            self._session.drop_pages,
        )

        def look_up(rendition: Rendition) -> Recording:
            return self._remote.service.look_up(rendition, Deadline(clock, settings.timeout))

        self._retention = Retention(self._store, remains, look_up, self._demand, clock)
        catalog = Catalog(
            self._store,
            self._remote.service,
            self._demand,
            clock,
            settings.timeout,
            self._retention.gone,
            self._retention.doubt,
        )
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
        walk = Walk(renditions, catalog, blocks, self._remote.budget.can_spare, clock.now, depth)
        callers = Callers(clock.now)
        reader = Reader(blocks, clock, settings.streams, settings.memory_cache // 2)
        filesystem = FileSystem(tree, renditions, blocks, reader, catalog, walk, clock)
        return Operations(
            filesystem,
            clock,
            settings.timeout,
            self._session.interrupted,
            self._session.caller,
            uid=os.getuid() if settings.uid is None else settings.uid,
            gid=os.getgid() if settings.gid is None else settings.gid,
            umask=settings.umask,
            denied=lambda: denied.has(self._session.caller()),
            on_init=self._session.connected,
            who=lambda: callers.of(self._session.caller()),
            throttle_timeout=settings.throttle_timeout,
        )

    def _build_sources(self, catalog: Catalog, sessions: Sessions) -> Sources:
        settings, clock, service = self._settings, self._clock, self._remote.service

        def deadline() -> Deadline:
            return Deadline(clock, settings.timeout, Urgency.BACKGROUND)

        sources: list[Source] = [Processing(self._store, service, deadline, clock, catalog.noted)]
        if settings.ids_file is not None:
            adder = Adder(self._store, service, is_recording_id, is_session_id, clock, settings.timeout)
            sources.append(IdsFile(settings.ids_file, adder))
        if settings.backfill:
            store = SessionStore(self._store.database)
            sources.append(BackFill(service, store, sessions, deadline, is_session_id))
        return Sources(sources, SourceStore(self._store.database), clock)

    def _check_mounted(self) -> None:
        """Make sure that the mount is there, and alone.

        Nothing in this process looks at what is mounted: killed while it waits for its own answer, it would
        never be gone. The kernel holds requests back until it has our answer to INIT, and then we answer.
        """
        if self._session.stopping:
            raise MountError(f"{self._mount_point}: told to stop while it was mounted")
        found = [each for each in mounts_at(self._mount_point) if each.kind != "autofs"]
        if not found or found[-1].kind != KIND:
            raise MountError(f"{self._mount_point}: the kernel shows no mount")
        if len(found) > 1:
            raise MountError(f"{self._mount_point}: in use, {found[0].source} was mounted there meanwhile")
        raise_read_ahead(found[-1].device)

    def _leave(self) -> None:
        """End the process although the session has not ended."""
        log.warning("%s: does not end by itself, leaving it", self._mount_point)
        if any(each.kind == KIND for each in mounts_at(self._mount_point)):
            with contextlib.suppress(MountError):
                unmount(self._mount_point, lazy=True)
        leave(0)
