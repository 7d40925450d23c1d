"""What a process takes: memory, threads, descriptors, from /proc."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Footprint:
    """One look at a process.

    Attributes:
        rss: resident bytes.
        pss: the same, shared pages divided among those who share them.
        threads: how many.
        files: open descriptors that are no sockets.
        connections: those that are.
    """

    rss: int
    pss: int
    threads: int
    files: int
    connections: int


def footprint(pid: int) -> Footprint:
    """Look at a process.

    Raises:
        OSError: it is gone, or not ours to look at.
    """
    root = Path(f"/proc/{pid}")
    memory = {}
    for line in (root / "smaps_rollup").read_text().splitlines()[1:]:
        name, _, amount = line.partition(":")
        memory[name] = int(amount.split()[0]) * 1024
    links = []
    for entry in (root / "fd").iterdir():
        try:
            links.append(str(entry.readlink()))
        except OSError:  # closed since it was listed
            continue
    return Footprint(
        rss=memory["Rss"],
        pss=memory["Pss"],
        threads=sum(1 for _ in (root / "task").iterdir()),
        files=sum(not link.startswith("socket:") for link in links),
        connections=sum(link.startswith("socket:") for link in links),
    )
