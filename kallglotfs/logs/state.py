"""The state of a mount, written to the log because somebody has asked for it (SIGUSR1)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from kallglotfs.logs.fields import pairs
from kallglotfs.logs.repeats import ASKED_FOR

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger(ASKED_FOR)


def tell(status: Mapping[str, Any], *, as_json: bool) -> None:
    """Write it: one line for each part, or one object, whatever `log_level` says.

    Args:
        status: from `Status.status`.
        as_json: as one object.
    """
    if as_json:
        log.info("status", extra={"status": dict(status)})
        return
    parts = {name: part for name, part in status.items() if isinstance(part, dict)}
    mount = {name: value for name, value in status.items() if name not in parts}
    for name, part in {"mount": mount, **parts}.items():
        log.info("status of %s: %s", name, pairs(part) or "-")
