"""The scenarios by name, in the order in which they run and are reported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.scenarios import (
    disk_tier,
    first_byte,
    growth,
    mpv,
    players,
    random_reads,
    reread,
    rsync,
    scale,
    sequential,
    start_up,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.figures import Result
    from bench.stage import Stage

SCENARIOS: dict[str, Callable[[Stage], Result]] = {
    "seq-shaped": sequential.shaped,
    "seq-raw": sequential.raw,
    "reread": reread.run,
    "disk-tier": disk_tier.run,
    "first-byte": first_byte.run,
    "random-64k": random_reads.run,
    "rsync": rsync.run,
    "players": players.run,
    "mpv": mpv.run,
    "growth": growth.run,
    "scale": scale.run,
    "start-up": start_up.run,
}
