"""Writes to the catalog that may fail: a full disk costs no more than requests."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from kallglotfs.errors import SystemFault

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)


def written(write: Callable[[], object]) -> bool:
    """Write to the catalog, and tell whether that was possible.

    Args:
        write: does it; raises SystemFault where it cannot.
    """
    try:
        write()
    except SystemFault as error:
        log.warning("the catalog cannot be written: %s", error)
        return False
    return True
