"""What the command line says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Options:
    """How to run.

    Attributes:
        seconds: how long the readers read, warm-up not counted.
        warm_up: seconds they read before the baseline is taken.
        weather: whether URLs live 30 s and 5 % of all requests fail somehow.
        readers: sequential, random, churning.
        files: how many recordings there are.
        memory_cache: bytes of the mount's memory tier; less than the recordings together.
        disk_cache: bytes of its disk tier; 0 for none.
        preads: reads at random instead of all that; 0 for none.
        mount_options: more of them, by name.
        seed: of everything that is left to chance.
        json: where to write the figures, None for nowhere.
    """

    seconds: float = 900.0
    warm_up: float = 60.0
    weather: bool = False
    readers: tuple[int, int, int] = (32, 16, 16)
    files: int = 96
    memory_cache: int = 64 * MIB
    disk_cache: int = 0
    preads: int = 0
    mount_options: tuple[tuple[str, str], ...] = ()
    seed: int = 1
    json: Path | None = None
