"""The disk tier's directory, looked at from outside: what is in it, whether it is whole, and away with it.

User: `assembly/cached.py`, for `kallglotfs cache`. Works beside any number of mounts: a block has its name
only once it is whole, and one that goes is a miss to whoever looks for it. A mount counts by what it has seen
itself, so it is told when something was removed here (`DiskTier.recount`).

Threading: none.
"""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kallglotfs.content.arena import BLOCK
from kallglotfs.content.block_files import FAN, FILE, FOLDER, BlockFiles, is_hex
from kallglotfs.content.block_scan import is_being_written, is_given_up
from kallglotfs.content.cache_directory import CacheDirectory, opened, taken
from kallglotfs.content.ranges import block_count, block_range
from kallglotfs.content.sealing import LARGEST, OVERHEAD, Sealer, identify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kallglotfs.model import Rendition, Secret, Validator

_SALT = "salt"


@dataclass(frozen=True, slots=True)
class BlockFile:
    """The file of a block.

    Attributes:
        name: of the block, as `block_files.py` knows it.
        size: bytes of the file.
        taken: bytes it takes on the disk.
        used: when it was last used, epoch seconds.
    """

    name: bytes
    size: int
    taken: int
    used: float


@dataclass(frozen=True, slots=True)
class Folder:
    """The blocks of one recording, or of one session's documents."""

    name: bytes
    blocks: tuple[BlockFile, ...]

    @property
    def taken(self) -> int:
        """Bytes that its blocks take on the disk."""
        return sum(block.taken for block in self.blocks)

    @property
    def used(self) -> float:
        """When one of its blocks was last used, epoch seconds."""
        return max((block.used for block in self.blocks), default=0.0)


@dataclass(frozen=True, slots=True)
class Place:
    """What a block must be: which one of which version, and how long."""

    rendition: Rendition
    validator: Validator
    index: int
    length: int


class Inspection:
    """Looks at a cache directory.

    Args:
        path: the directory, which exists.

    Raises:
        ConfigError: it is a link, another user's or open to others, or cannot be opened.

    Attributes:
        strays: paths in it that are none of ours; told by `folders`.
        leftovers: paths of files that nobody will finish writing; the same.
    """

    def __init__(self, path: Path) -> None:
        self._directory = CacheDirectory(path)
        self._files = BlockFiles(self._directory)
        self._sealer: Sealer | None = None
        self._buffer = memoryview(bytearray(LARGEST + OVERHEAD))
        self._block = memoryview(bytearray(LARGEST))
        self.strays: list[str] = []
        self.leftovers: list[str] = []

    def unlock(self, secret: Secret) -> bool:
        """Make it possible to tell what a block is; False where the directory has no usable salt."""
        salt = self._directory.found_salt()
        self._sealer = None if salt is None else Sealer(secret, salt)
        return self._sealer is not None

    def folders(self, now: float) -> Iterator[Folder]:
        """Yield what is there.

        Args:
            now: epoch seconds.

        Raises:
            OSError: the directory cannot be read.
        """
        self.strays.clear()
        self.leftovers.clear()
        with opened(".", self._directory.root) as root:
            for fan in sorted(os.listdir(root)):  # noqa: PTH208 - a descriptor
                if fan == _SALT or not self._leads(fan, FAN, "", root, now):
                    continue
                with contextlib.suppress(FileNotFoundError), opened(fan, root) as middle:
                    for folder in sorted(os.listdir(middle)):  # noqa: PTH208
                        if not self._leads(folder, FOLDER, f"{fan}/", middle, now):
                            continue
                        with contextlib.suppress(FileNotFoundError), opened(folder, middle) as inside:
                            found = self._folder(fan, folder, inside, now)
                        if found.blocks:
                            yield found

    def folder_of(self, subject: str) -> bytes:
        """Return the name of the folder of a recording or session."""
        assert self._sealer is not None
        return self._sealer.folder(subject)

    def places(self, rendition: Rendition, validator: Validator) -> dict[bytes, Place]:
        """Return the blocks that a version has, by name."""
        assert self._sealer is not None
        return {
            self._sealer.name(rendition, identify(rendition, validator, index)): Place(
                rendition, validator, index, len(block_range(index, BLOCK, validator.size))
            )
            for index in range(block_count(validator.size, BLOCK))
        }

    def fault(self, block: BlockFile, place: Place) -> str | None:
        """Read a block and return what is wrong with it, None when it is whole, or gone by now."""
        assert self._sealer is not None
        try:
            length, _ = self._files.read(block.name, 0.0, self._buffer)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            return f"cannot be read ({error.strerror})"
        if length != place.length + OVERHEAD:
            return f"{length} bytes, should be {place.length + OVERHEAD}"
        identity = identify(place.rendition, place.validator, place.index)
        if not self._sealer.open(identity, self._buffer[:length], self._block[: place.length]):
            return "its seal is broken"
        return None

    def remove(self, name: bytes) -> None:
        """Remove a block; one that is gone is no error."""
        self._files.remove(name)

    def remove_leftovers(self) -> None:
        """Remove the files that nobody will finish writing, as the last look has found them."""
        for path in self.leftovers:
            self._directory.unlink(path)
            if "/" in path:
                self._directory.rmdir(path.rpartition("/")[0])

    def clear(self, folder: bytes) -> None:
        """Remove a folder with all that is in it.

        Raises:
            OSError: something stays; the rest has been removed.
        """
        self._files.clear(folder, lambda _: None)

    def _leads(self, entry: str, length: int, above: str, directory: int, now: float) -> bool:
        """Tell whether an entry is a directory of ours; take note of what is none."""
        with contextlib.suppress(FileNotFoundError):
            if is_being_written(entry):
                if is_given_up(entry, directory, now):
                    self.leftovers.append(above + entry)
                return False
            mode = os.stat(entry, dir_fd=directory, follow_symlinks=False).st_mode
            if is_hex(entry, length) and stat.S_ISDIR(mode):
                return True
            self.strays.append(above + entry)
        return False

    def _folder(self, fan: str, folder: str, inside: int, now: float) -> Folder:
        name = bytes.fromhex(fan + folder)
        blocks = []
        for entry in os.listdir(inside):
            with contextlib.suppress(FileNotFoundError):
                found = os.stat(entry, dir_fd=inside, follow_symlinks=False)
                if is_hex(entry, FILE) and stat.S_ISREG(found.st_mode):
                    file = BlockFile(name + bytes.fromhex(entry), found.st_size, taken(found), found.st_mtime)
                    blocks.append(file)
                elif not is_being_written(entry):
                    self.strays.append(f"{fan}/{folder}/{entry}")
                elif is_given_up(entry, inside, now):
                    self.leftovers.append(f"{fan}/{folder}/{entry}")
        return Folder(name, tuple(blocks))
