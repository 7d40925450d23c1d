"""The files of a mount: the catalog and the disk tier."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kallglotfs.catalog.store import CatalogStore, catalog_path
from kallglotfs.content.disk import DiskTier

if TYPE_CHECKING:
    from collections.abc import Callable

    from kallglotfs.clock import Clock
    from kallglotfs.config.settings import Settings
    from kallglotfs.model import Secret


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
