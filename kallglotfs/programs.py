"""Programs that may not open anything: who is calling, by the name it runs under.

Threading: stateless.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Bytes that Linux keeps of a program's name (TASK_COMM_LEN less one).
KEPT = 15


class DeniedPrograms:
    """Tells whether a caller is one of the programs that are kept out.

    Args:
        names: as `ps` shows them; longer ones are cut as Linux cuts them.
        proc: where procfs is.
    """

    def __init__(self, names: Iterable[str], proc: Path = Path("/proc")) -> None:
        self._names = frozenset(os.fsencode(name)[:KEPT] for name in names)
        self._proc = proc

    def has(self, pid: int) -> bool:
        """Tell whether a thread belongs to such a program.

        Args:
            pid: the thread, as FUSE names the caller; 0 (another PID namespace) is nobody we know.
        """
        if pid <= 0 or not self._names:
            return False
        try:
            if self._comm(str(pid)) in self._names:
                return True
            # Threads may have names of their own: their process has the program's.
            status = (self._proc / str(pid) / "status").read_text(errors="replace")
            group = next(line.split()[1] for line in status.splitlines() if line.startswith("Tgid:"))
            return group != str(pid) and self._comm(group) in self._names
        except (OSError, StopIteration, IndexError):
            return False

    def _comm(self, pid: str) -> bytes:
        return (self._proc / pid / "comm").read_bytes().removesuffix(b"\n")
