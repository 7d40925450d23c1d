"""The parts that speak to the service."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kallglotfs import __version__
from kallglotfs.clock import Deadline
from kallglotfs.errors import KallglotError, KeyRefused, MountError, NotPermitted, RateLimited
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

if TYPE_CHECKING:
    from collections.abc import Callable

    from kallglotfs.catalog.store import CatalogStore
    from kallglotfs.clock import Clock
    from kallglotfs.config.settings import Settings
    from kallglotfs.model import Lease, Rendition, Secret

log = logging.getLogger(__name__)

USER_AGENT = f"kallglotfs/{__version__}"
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
    key: ApiKey


def build_remote(
    settings: Settings, read_key: Callable[[], Secret], store: CatalogStore, clock: Clock, tally: Tally
) -> Remote:
    """Build the parts that speak to the service.

    Args:
        settings: of the mount.
        read_key: reads the API key afresh.
        store: what is known already.
        clock: what tells the time.
        tally: counts requests.

    Raises:
        CredentialError: there is no usable key.
        ConfigError: the environment names certificates or a proxy that cannot be used.
    """
    budget = Budget(clock, settings.throttle_timeout)
    reach = Reach(settings.api_url)
    key = ApiKey(read_key, clock)
    session = ApiSession(
        settings.api_url,
        Transport(USER_AGENT, ApiGate(settings.api_url, reach), proxy_credentials=True),
        key,
        budget,
        clock,
        tally,
    )
    api = Api(session, clock)

    def acquire(rendition: Rendition, deadline: Deadline) -> Lease:
        return service.lease(rendition, deadline)

    broker = LeaseBroker(acquire, clock)
    service = KallglotService(api, broker.offer, store.recording)
    storage = Storage(
        broker, Transport(USER_AGENT, StorageGate(reach), proxy_credentials=False), session, clock, tally
    )
    return Remote(api, service, broker, storage, budget, key)


def check_key(settings: Settings, read_key: Callable[[], Secret], clock: Clock) -> str:
    """Ask the service, once and briefly, whether it accepts the key.

    A service that cannot be asked is no reason not to mount: the network may come later.

    Returns:
        Why that could not be found out, which is in the log as well; empty when the key is accepted.

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
        Tally(),
    )
    try:
        Api(session, clock).check_key(Deadline(clock, min(CHECK_TIMEOUT, settings.timeout)))
    except KeyRefused:
        raise MountError("the API key is refused (401); check the key and its account") from None
    except (RateLimited, NotPermitted) as error:
        doubt = f"the key could not be checked: {error}"
    except KallglotError as error:
        doubt = f"the service cannot be asked yet, mounting all the same: {error}"
    else:
        return ""
    log.warning("%s", doubt)
    return doubt
