"""The disk tier's directory: ours alone, reached by a descriptor, and what belongs to it as a whole.

Users: `block_files.py` and `block_scan.py`, which touch what is in it, `block_writer.py` and `disk.py`.

    cache_dir/                                  0700
        salt                                    0600, of the keys, see `sealing.py`
        3f/                                     two characters, so that no directory grows too long
            a1…(30)/                            a recording's folder
                07…(32)                         a block, 0600
                .4711-9d…-12                    a block that process 4711 is writing

Invariants:
1. Everything is reached from a descriptor of the directory: replacing the path later replaces nothing. Only
   where the directory was removed, `restore` goes by the path again, and is as strict as at the start.
2. Links are never followed below the directory.

Threading: nothing changes but the descriptor, which is replaced in place (`dup2`), so that a thread in the
middle of a call never meets a number that means something else by now.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import stat
import weakref
from typing import TYPE_CHECKING

from kallglotfs.content.sealing import LARGEST, SALT
from kallglotfs.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Free space that is left to others, whatever `disk_cache` allows. 64 MiB let logs and databases on a small
#: disk go on for a while; on a large one, where more is written in that while, it is one part in 100.
FLOOR_BYTES, FLOOR_PART = 64 * 1024 * 1024, 100

#: How files are opened to read. Not blocking: a FIFO in the place of a block must not stop a reader.
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_UNIT = 512


class CacheDirectory:
    """Holds the directory open.

    Args:
        path: where; made 0700, with the directories above it, where it is missing.

    Raises:
        ConfigError: the directory is a link, another user's or open to others, or cannot be made or opened.

    Attributes:
        root: its descriptor, for the `dir_fd` of calls.
        token: tells the files that are written through this object from those of others.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self.root = _open_private(self._path)
        # Closed when the last thread that may use it has let go of this object.
        weakref.finalize(self, os.close, self.root)
        self.token = secrets.token_hex(8)
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

    def found_salt(self) -> bytes | None:
        """Return the directory's salt, None where there is none to be used; writes nothing."""
        try:
            found = self._read_salt()
        except OSError:
            return None
        return found if len(found) == SALT else None

    def keep_salt(self, salt: bytes, *, replace: bool) -> None:
        """Write the directory's salt.

        Args:
            salt: the salt.
            replace: whether one that is there makes way.

        Raises:
            OSError: it cannot be written.
        """
        temporary = self.temporary()
        try:
            self.create(temporary, (salt,))
            if replace:
                self.rename(temporary, "salt")
                return
            with contextlib.suppress(FileExistsError):
                os.link(temporary, "salt", src_dir_fd=self.root, dst_dir_fd=self.root)
        finally:
            self.unlink(temporary)

    def has_room(self) -> bool:
        """Tell whether the filesystem has more free space than is left to others.

        Raises:
            OSError: it does not say.
        """
        free = self.free()
        return free is None or free >= 0

    def free(self) -> int | None:
        """Return the bytes of free space beyond what is left to others; None where nothing is counted.

        Raises:
            OSError: it does not say.
        """
        found = os.fstatvfs(self.root)
        floor = max(FLOOR_BYTES, found.f_blocks * found.f_frsize // FLOOR_PART)
        # Some network filesystems count nothing.
        return None if found.f_blocks == 0 else found.f_bavail * found.f_frsize - floor

    def restore(self) -> bool:
        """Make the directory anew where it was removed; tell whether it was.

        Raises:
            OSError: it cannot be made.
            ConfigError: what is in its place now is not safe.
        """
        if os.fstat(self.root).st_nlink:
            return False
        made = _open_private(self._path)
        try:
            os.dup2(made, self.root, inheritable=False)
        finally:
            os.close(made)
        return True

    def temporary(self) -> str:
        """Return a name for a file that is being written, which no other process will give."""
        return f".{os.getpid()}-{self.token}-{next(self._count)}"

    def create(self, path: str, pieces: tuple[bytes, ...]) -> int:
        """Write a new file and return the bytes it takes on the disk.

        Raises:
            OSError: it is there already, or cannot be written to its end.
        """
        file = os.open(path, _CREATE, 0o600, dir_fd=self.root)
        try:
            # A file takes a part only when there is no room for the rest.
            if os.writev(file, pieces) != sum(map(len, pieces)):
                raise OSError(None, "no space for a whole block")
            return taken(os.fstat(file))
        finally:
            os.close(file)

    def rename(self, old: str, new: str) -> None:
        """Give a file a name, taking it from one that has it."""
        os.replace(old, new, src_dir_fd=self.root, dst_dir_fd=self.root)

    def unlink(self, path: str) -> None:
        """Remove a file; one that is gone or cannot be removed is no error."""
        with contextlib.suppress(OSError):
            os.unlink(path, dir_fd=self.root)

    def rmdir(self, path: str) -> None:
        """Remove a directory; one that is not empty or gone is no error."""
        with contextlib.suppress(OSError):
            os.rmdir(path, dir_fd=self.root)

    def _read_salt(self) -> bytes:
        file = os.open("salt", READ, dir_fd=self.root)
        try:
            return os.read(file, SALT + 1)
        finally:
            os.close(file)


@contextlib.contextmanager
def opened(path: str, above: int) -> Iterator[int]:
    """Open a directory below another one for as long as the block lasts.

    Raises:
        OSError: it is not there, a link, or cannot be opened.
    """
    directory = os.open(path, _DIRECTORY, dir_fd=above)
    try:
        yield directory
    finally:
        os.close(directory)


def taken(found: os.stat_result) -> int:
    """Return what a file takes on the disk."""
    # At least its length, for ZFS allocates late. Not the length of a damaged file that has grown by a hole:
    # it would push out everything else.
    return max(min(found.st_size, LARGEST), found.st_blocks * _UNIT)


def _open_private(path: Path) -> int:
    """Open a directory that is ours alone, making it where it is missing.

    Raises:
        ConfigError: it is not, or cannot be.
    """
    try:
        try:
            directory = os.open(path, _DIRECTORY)
        except FileNotFoundError:
            # Path.mkdir would make those above with the usual mode.
            for missing in (*reversed(path.parents), path):
                if not missing.exists():
                    missing.mkdir(mode=0o700, exist_ok=True)
            directory = os.open(path, _DIRECTORY)
    except OSError as error:
        if path.is_symlink():
            raise ConfigError(f"cache_dir: {path}: is a link; name the directory itself") from None
        raise ConfigError(f"cache_dir: {error.filename or path}: {error.strerror}") from None
    found = os.fstat(directory)
    if found.st_uid == os.geteuid() and not found.st_mode & _OTHERS:
        return directory
    os.close(directory)
    if found.st_uid != os.geteuid():
        raise ConfigError(f"cache_dir: {path}: belongs to another user; name a directory of your own")
    raise ConfigError(f"cache_dir: {path}: others may reach it; run chmod 700 {path}")
