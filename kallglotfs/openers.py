"""Who has which file open: the process and the program that called `open`.

Used by `operations.py`, which is told who calls; read by `status.py`. FUSE does not tell who closes, nor who
has inherited a descriptor: an open file stays its opener's until the last of them is closed.

Threading: one lock, held for look-ups only; procfs is read without it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Processes, and files of each, that a report names; of the rest it gives the number.
MOST_PROCESSES, MOST_FILES = 50, 10


@dataclass(frozen=True, slots=True)
class Opener:
    """Who opened a file.

    Attributes:
        pid: the process; 0 where it is of another PID namespace.
        program: its name, as `ps` shows it, when it opened the file; empty where that could not be told.
        path: the file, from the mount on.
    """

    pid: int
    program: str
    path: str


class Openers:
    """Remembers who has which file open.

    Args:
        proc: where procfs is.
    """

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._lock = threading.Lock()
        self._open: dict[int, Opener] = {}

    def add(self, number: int, thread: int, path: str) -> None:
        """Take note that a file was opened; 50 us.

        Args:
            number: of the open file.
            thread: who opened it, as FUSE names the caller.
            path: of the file.
        """
        pid, program = self._who(thread)
        with self._lock:
            self._open[number] = Opener(pid, program, path)

    def remove(self, number: int) -> None:
        """Take note that a file was closed."""
        with self._lock:
            self._open.pop(number, None)

    def by_process(self) -> list[dict[str, Any]]:
        """Return the processes that have files open, those with most files first.

        Returns:
            For each: `pid`, `program`, `count` of its open files, and the paths of the first few as `files`.
        """
        with self._lock:
            opened = list(self._open.values())
        processes: dict[int, list[Opener]] = {}
        for each in opened:
            processes.setdefault(each.pid, []).append(each)
        most = sorted(processes.items(), key=lambda item: -len(item[1]))[:MOST_PROCESSES]
        return [
            {
                "pid": pid,
                # A shell opens what it then starts another program on.
                "program": self._name(pid) or files[0].program,
                "count": len(files),
                "files": [each.path for each in files[:MOST_FILES]],
            }
            for pid, files in most
        ]

    def _who(self, thread: int) -> tuple[int, str]:
        """Return the process of a thread, and its program's name: a thread may have a name of its own."""
        if thread <= 0:
            return 0, ""
        try:
            status = (self._proc / str(thread) / "status").read_text(errors="replace")
            pid = int(next(line.split()[1] for line in status.splitlines() if line.startswith("Tgid:")))
        except (OSError, StopIteration, IndexError, ValueError):
            return thread, ""
        return pid, self._name(pid)

    def _name(self, pid: int) -> str:
        try:
            return (self._proc / str(pid) / "comm").read_text(errors="replace").removesuffix("\n")
        except OSError:
            return ""
