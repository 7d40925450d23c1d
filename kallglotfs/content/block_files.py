"""The files of the disk tier: one directory that is ours alone, one file for each block.

User: `disk.py`, which says what stands in the files. To this module a block is a name of 32 bytes, 16 for the
folder that a recording's blocks share and 16 of its own:

    cache_dir/                                  0700
        salt                                    0600, of the keys, see `sealing.py`
        3f/                                     two characters, so that no directory grows too long
            a1…(30)/                            a recording's folder
                07…(32)                         a block, 0600
                .4711-9d…-12                    a block that process 4711 is writing

Invariants:
1. Everything is reached from a descriptor of the directory: whoever replaces the path later replaces nothing.
2. A file under a block's name was written to its end by us, as far as the kernel got it to the disk. Nothing is
   synced: after a power cut a file may have holes, which its seal shows, and a cache is not worth the wait.
3. Links are never followed below the directory.

Threading: no state that changes, but the descriptor, which is replaced in place (`dup2`), so that a thread in
the middle of a call never meets a number that means something else by now.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import secrets
import stat
import weakref
from typing import TYPE_CHECKING

from kallglotfs.content.sealing import NAME, OVERHEAD, SALT
from kallglotfs.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: Bytes of the largest block. What claims to be longer is not a block of ours, and is not read into memory.
LARGEST = 4 * 1024 * 1024
#: Free space that is left to others, whatever `disk_cache` allows: 64 MiB let logs and databases on a small
#: disk go on; on a large one, 1 % is where ext4 and XFS begin to scatter new files.
FLOOR_BYTES, FLOOR_PART = 64 * 1024 * 1024, 100
#: Seconds after which a file that is being written has been given up, whoever wrote it: a block takes less
#: than one, and a writer on a disk that hangs for longer finds its file gone and goes on.
GIVEN_UP = 300.0

#: Times a folder is made anew that others remove, being empty, before a file is in it.
_RACES = 5
_UNIT = 512
_FOREIGN_BITS = stat.S_IRWXG | stat.S_IRWXO
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Not blocking: a FIFO in the place of a block must not stop a reader.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FAN, _FOLDER = 2, 2 * NAME - 2
_HEX = re.compile("[0-9a-f]+")
_WRITING = re.compile(r"\.(\d+)-([0-9a-f]{16})-\d+")


class BlockFiles:
    """Reads, writes and removes the files of blocks.

    Args:
        directory: where; made 0700, with the directories above it, where it is missing.

    Raises:
        ConfigError: the directory is a link, another user's or open to others, or cannot be made or opened.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory.absolute()
        self._root = _open_private(self._directory)
        # Closed when the last thread that may use it has let go of this object.
        weakref.finalize(self, os.close, self._root)
        self._token = secrets.token_hex(8)
        self._count = itertools.count()

    def salt(self) -> bytes:
        """Return the directory's salt, a new one where there is none or it is damaged.

        Raises:
            OSError: it can be neither read nor written.
        """
        try:
            found = self._read_salt()
        except FileNotFoundError:
            # Not over one that another mount has made since.
            self.keep_salt(secrets.token_bytes(SALT), replace=False)
        else:
            if len(found) == SALT:
                return found
            self.keep_salt(secrets.token_bytes(SALT), replace=True)
        found = self._read_salt()
        if len(found) != SALT:
            raise OSError(None, "the salt cannot be kept")
        return found

    def keep_salt(self, salt: bytes, *, replace: bool) -> None:
        """Write the directory's salt.

        Args:
            salt: the salt.
            replace: whether one that is there makes way.

        Raises:
            OSError: it cannot be written.
        """
        temporary = self._temporary()
        try:
            self._fill(temporary, (salt,))
            if replace:
                os.replace(temporary, "salt", src_dir_fd=self._root, dst_dir_fd=self._root)
                return
            with contextlib.suppress(FileExistsError):
                os.link(temporary, "salt", src_dir_fd=self._root, dst_dir_fd=self._root)
        finally:
            self._unlink(temporary)

    def holds(self, name: bytes) -> bool:
        """Tell whether a block has a file."""
        try:
            found = os.stat(_path(name), dir_fd=self._root, follow_symlinks=False)
        except OSError:
            return False
        return stat.S_ISREG(found.st_mode)

    def read(self, name: bytes, refresh: float) -> tuple[bytes, int]:
        """Return what a block's file holds, and the bytes it takes on the disk.

        Args:
            name: the block.
            refresh: epoch seconds; a file that was last used before then is marked as used now.

        Raises:
            FileNotFoundError: there is no such file.
            OSError: it cannot be read.
        """
        file = os.open(_path(name), _READ, dir_fd=self._root)
        try:
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST + OVERHEAD:
                return b"", 0
            content = os.read(file, found.st_size)
            if found.st_mtime < refresh:
                with contextlib.suppress(OSError):  # read-only: the order is then that of the last writing
                    os.utime(file)
            return content, _taken(found)
        finally:
            os.close(file)

    def write(self, name: bytes, pieces: tuple[bytes, ...], wanted: Callable[[], bool]) -> int | None:
        """Write a block's file.

        Args:
            name: the block.
            pieces: its content.
            wanted: asked right before the file gets its name.

        Returns:
            The bytes it takes on the disk, or None where it was not wanted any more.

        Raises:
            OSError: it cannot be written; nothing is left behind.
        """
        path = _path(name)
        folder = path[: _FAN + 1 + _FOLDER]
        for _ in range(_RACES):
            temporary = f"{folder}/{self._temporary()}"
            try:
                taken = self._fill(temporary, pieces)
                if wanted():
                    os.replace(temporary, path, src_dir_fd=self._root, dst_dir_fd=self._root)
                    return taken
            except FileNotFoundError:
                # There is no folder yet, or another thread or mount removed what it took for its last block.
                for missing in (folder[:_FAN], folder):
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(missing, 0o700, dir_fd=self._root)
                continue
            except BaseException:
                self._unlink(temporary)
                raise
            self._unlink(temporary)
            return None
        raise FileNotFoundError(None, "the folder is removed again and again")

    def remove(self, name: bytes) -> None:
        """Remove a block's file, and its folder with the last one; one that is gone or stays is nobody's trouble."""
        path = _path(name)
        self._unlink(path)
        with contextlib.suppress(OSError):
            os.rmdir(path[: _FAN + 1 + _FOLDER], dir_fd=self._root)

    def clear(self, folder: bytes, forget: Callable[[bytes], None]) -> None:
        """Remove a folder and all that is in it.

        Args:
            folder: the name its blocks begin with.
            forget: called with the name of each block before its file is removed.

        Raises:
            OSError: something stays; the rest has been removed.
        """
        text = folder.hex()
        path = f"{text[:_FAN]}/{text[_FAN:]}"
        failure = None
        with contextlib.suppress(FileNotFoundError), self._opened(path, self._root) as inside:
            for entry in os.listdir(inside):
                if _is_hex(entry, 2 * NAME):
                    forget(folder + bytes.fromhex(entry))
                try:
                    os.unlink(entry, dir_fd=inside)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    failure = error
        if failure is not None:
            raise failure
        with contextlib.suppress(OSError):
            os.rmdir(path, dir_fd=self._root)

    def scan(self, now: float) -> Iterator[tuple[int, bytes, int]]:
        """Yield every block's last use (epoch nanoseconds), name and bytes taken; remove what was given up.

        What cannot be read is left out, and what is not ours is left alone.

        Args:
            now: epoch seconds.

        Raises:
            OSError: the directory cannot be read.
        """
        with self._opened(".", self._root) as root:
            for fan in _folders(root, _FAN):
                with contextlib.suppress(OSError), self._opened(fan, root) as middle:
                    for folder in _folders(middle, _FOLDER):
                        with contextlib.suppress(OSError), self._opened(folder, middle) as inside:
                            yield from self._blocks(fan + folder, inside, now)
                        # Where the process ended between making the folder and the file.
                        with contextlib.suppress(OSError):
                            os.rmdir(folder, dir_fd=middle)
            for entry in os.listdir(root):
                self._give_up(entry, root, now)

    def has_room(self) -> bool:
        """Tell whether the filesystem has more free space than is left to others.

        Raises:
            OSError: it does not say.
        """
        found = os.fstatvfs(self._root)
        floor = max(FLOOR_BYTES, found.f_blocks * found.f_frsize // FLOOR_PART)
        # Some network filesystems count nothing.
        return found.f_blocks == 0 or found.f_bavail * found.f_frsize >= floor

    def restore(self) -> bool:
        """Make the directory anew where it was removed; tell whether it was.

        Raises:
            OSError: it cannot be made.
            ConfigError: what is in its place now is not safe.
        """
        if os.fstat(self._root).st_nlink:
            return False
        made = _open_private(self._directory)
        try:
            os.dup2(made, self._root, inheritable=False)
        finally:
            os.close(made)
        return True

    def _read_salt(self) -> bytes:
        file = os.open("salt", _READ, dir_fd=self._root)
        try:
            return os.read(file, SALT + 1)
        finally:
            os.close(file)

    def _temporary(self) -> str:
        return f".{os.getpid()}-{self._token}-{next(self._count)}"

    def _fill(self, path: str, pieces: tuple[bytes, ...]) -> int:
        file = os.open(path, _CREATE, 0o600, dir_fd=self._root)
        try:
            # A file takes a part only when there is no room for the rest.
            if os.writev(file, pieces) != sum(map(len, pieces)):
                raise OSError(None, "no space for a whole block")
            return _taken(os.fstat(file))
        finally:
            os.close(file)

    def _unlink(self, path: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(path, dir_fd=self._root)

    @contextlib.contextmanager
    def _opened(self, path: str, above: int) -> Iterator[int]:
        directory = os.open(path, _DIRECTORY, dir_fd=above)
        try:
            yield directory
        finally:
            os.close(directory)

    def _blocks(self, folder: str, inside: int, now: float) -> Iterator[tuple[int, bytes, int]]:
        start = bytes.fromhex(folder)
        with os.scandir(inside) as entries:
            for entry in entries:
                if _is_hex(entry.name, 2 * NAME):
                    with contextlib.suppress(OSError):
                        found = entry.stat(follow_symlinks=False)
                        if stat.S_ISREG(found.st_mode):
                            yield found.st_mtime_ns, start + bytes.fromhex(entry.name), _taken(found)
                else:
                    self._give_up(entry.name, inside, now)

    def _give_up(self, entry: str, inside: int, now: float) -> None:
        """Remove a file that nobody is writing any more."""
        match = _WRITING.fullmatch(entry)
        if match is None or match[2] == self._token:
            return
        with contextlib.suppress(OSError):
            found = os.stat(entry, dir_fd=inside, follow_symlinks=False)
            # Several mounts may share the directory, from containers too, where the process of another may seem
            # to be gone: its writer then finds its file missing, and writes it again.
            if now - found.st_mtime > GIVEN_UP or not _is_alive(int(match[1])):
                os.unlink(entry, dir_fd=inside)


def _open_private(directory: Path) -> int:
    """Open a directory that is ours alone, making it where it is missing.

    Raises:
        ConfigError: it is not, or cannot be.
    """
    try:
        try:
            opened = os.open(directory, _DIRECTORY)
        except FileNotFoundError:
            for missing in (*reversed(directory.parents), directory):
                # Path.mkdir would make those above with the usual mode.
                if not missing.exists():
                    missing.mkdir(mode=0o700, exist_ok=True)
            opened = os.open(directory, _DIRECTORY)
    except OSError as error:
        if directory.is_symlink():
            raise ConfigError(f"cache_dir: {directory}: is a link; name the directory itself") from None
        raise ConfigError(f"cache_dir: {error.filename or directory}: {error.strerror}") from None
    try:
        found = os.fstat(opened)
        if found.st_uid != os.geteuid():
            raise ConfigError(
                f"cache_dir: {directory}: belongs to another user; name a directory of your own"
            )
        if found.st_mode & _FOREIGN_BITS:
            raise ConfigError(f"cache_dir: {directory}: others may reach it; run chmod 700 {directory}")
    except ConfigError:
        os.close(opened)
        raise
    return opened


def _path(name: bytes) -> str:
    text = name.hex()
    return f"{text[:_FAN]}/{text[_FAN : _FAN + _FOLDER]}/{text[_FAN + _FOLDER :]}"


def _taken(found: os.stat_result) -> int:
    """Return what a file takes on the disk; at least its length, where the filesystem compresses."""
    return max(found.st_size, found.st_blocks * _UNIT)


def _folders(directory: int, length: int) -> list[str]:
    return [name for name in os.listdir(directory) if _is_hex(name, length)]


def _is_hex(name: str, length: int) -> bool:
    return len(name) == length and _HEX.fullmatch(name) is not None


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    # Our own number under another token: a process before us had it.
    return process != os.getpid()
