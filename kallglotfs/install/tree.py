"""Changes below a directory that never leave it, whatever links somebody has put there.

Links between directories are followed as long as they stay inside; then every directory is opened below the
one before it without following links, so that none can be swapped in meanwhile.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from kallglotfs.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Tree:
    """The running system, or a tree that is being staged.

    Args:
        root: its top; itself it may be a link.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._top = os.path.realpath(root)

    def real(self, path: str) -> Path:
        """Return where a path of the system is now.

        Raises:
            UsageError: a link leads out of the tree.
        """
        self._inside(os.path.dirname(path))  # noqa: PTH120 - of "/" it is "/"
        return self._root / path.lstrip("/")

    def write(self, path: str, content: bytes) -> None:
        """Put a file in its place at once and whole, readable for everybody.

        Args:
            path: the place, as the system names it.
            content: all of it.
        """
        with self._parent(path, make=True) as (parent, name):
            draft = f".{name}.kallglotfs-new"
            with contextlib.suppress(FileNotFoundError):
                os.unlink(draft, dir_fd=parent)
            with os.fdopen(os.open(draft, _NEW, 0o644, dir_fd=parent), "wb") as file:
                file.write(content)
                os.fchmod(file.fileno(), 0o644)
            os.replace(draft, name, src_dir_fd=parent, dst_dir_fd=parent)

    def link(self, path: str, target: str) -> None:
        """Put a link in its place, instead of what was there."""
        with self._parent(path, make=True) as (parent, name):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=parent)
            os.symlink(target, name, dir_fd=parent)

    def remove(self, path: str) -> None:
        """Remove a file or a link; one that is not there is no failure."""
        with contextlib.suppress(FileNotFoundError), self._parent(path) as (parent, name):
            os.unlink(name, dir_fd=parent)

    def remove_directory(self, path: str) -> None:
        """Remove a directory, unless somebody else uses it by now."""
        with contextlib.suppress(OSError), self._parent(path) as (parent, name):
            os.rmdir(name, dir_fd=parent)

    def _inside(self, directory: str) -> str:
        """Return a directory without links, relative to the top."""
        named = self._root / directory.lstrip("/")
        real = os.path.realpath(named)
        if os.path.commonpath((self._top, real)) != self._top:
            raise UsageError(f"{named}: a link leads out of {self._root}; nothing is done there")
        return os.path.relpath(real, self._top)

    @contextlib.contextmanager
    def _parent(self, path: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
        """Give the open directory above a place, and the place's name in it.

        Raises:
            OSError: a directory cannot be made or entered; with its whole name.
        """
        above, name = os.path.split(path)
        at = Path(self._top)
        opened = os.open(at, _DIRECTORY)
        try:
            for part in Path(self._inside(above)).parts:
                at /= part
                below = _below(opened, part, make=make)
                os.close(opened)
                opened = below
            at /= name
            yield opened, name
        except OSError as error:
            error.filename, error.filename2 = str(at), None
            raise
        finally:
            os.close(opened)


def _below(parent: int, name: str, *, make: bool) -> int:
    if make:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=parent)
    return os.open(name, _DIRECTORY, dir_fd=parent)
