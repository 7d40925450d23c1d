"""Install and remove, step by step. Nothing is touched unless everything can be done."""

from __future__ import annotations

import enum
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kallglotfs.errors import UsageError
from kallglotfs.install.record import found_at, identity, read_record, write_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kallglotfs.install.plan import Item, Plan


class Occupied(UsageError):
    """Something that is not ours stands where we would install."""


class Did(enum.Enum):
    """What a step did, in the words that are shown."""

    INSTALLED = "installed"
    UPDATED = "updated"
    THERE = "already there"
    REMOVED = "removed"
    GONE = "already gone"
    LEFT = "left, changed since it was installed"


@dataclass(frozen=True, slots=True)
class Step:
    """One line of what was done.

    Attributes:
        did: what.
        path: to what, as the running system names it.
    """

    did: Did
    path: str


class Installation:
    """An installation at a place.

    Args:
        plan: what belongs where.
        root: `/`, or the tree that is being staged.
        dry: do everything but change something.
    """

    def __init__(self, plan: Plan, root: Path, *, dry: bool = False) -> None:
        self._plan = plan
        self._root = root
        self._dry = dry
        self._record_file = self._real(plan.places.record)
        self._record = read_record(self._record_file, plan.places.record)

    def install(self) -> Iterator[Step]:
        """Install what is missing, update what is ours, remove what is ours and shipped no more.

        Raises:
            Occupied: before anything is changed: something else stands in the way.
            OSError: a directory cannot be written.
        """
        todo = [(item, self._state(item)) for item in self._plan.items]
        theirs = [item.path for item, did in todo if did is None]
        if theirs:
            more = f" (and {len(theirs) - 1} more)" if len(theirs) > 1 else ""
            raise Occupied(
                f"{theirs[0]}{more}: there is something that was not installed by this; not touched"
            )
        # Written down before it is done, so that whatever interrupts this, a removal knows.
        for item, did in todo:
            if did is not Did.THERE:
                self._record.files.setdefault(item.path, []).append(identity(item))
                self._note_directories(item.path)
        self._keep()
        for item, did in todo:
            assert did is not None
            if did is not Did.THERE:
                self._put(item)
                self._record.files[item.path] = [identity(item)]
            yield Step(did, item.path)
        wanted = {item.path for item in self._plan.items}
        yield from self._remove([path for path in self._record.files if path not in wanted])
        self._keep()

    def uninstall(self) -> Iterator[Step]:
        """Remove what was installed, as far as it is still as it was, and the directories made for it.

        Raises:
            OSError: a directory cannot be written.
        """
        yield from self._remove(list(self._record.files))
        if self._dry:
            return
        if self._record.files:
            self._keep()
            return
        self._record_file.unlink(missing_ok=True)
        for directory in reversed(self._record.directories):
            try:
                self._real(directory).rmdir()
            except OSError:
                # Somebody else uses it by now.
                continue

    def _real(self, path: str) -> Path:
        return self._root / path.lstrip("/")

    def _state(self, item: Item) -> Did | None:
        """Return what is to be done about an item; None where it cannot be done."""
        place = self._real(item.path)
        found = found_at(place)
        if found == identity(item):
            return Did.THERE
        if found is None:
            return Did.INSTALLED
        if self._record.knows(item.path, found):
            return Did.UPDATED
        # Where all directories of programs are one, the link's place holds the program itself.
        if item.target and os.path.realpath(place) == os.path.realpath(self._real(item.target)):
            return Did.THERE
        return None

    def _put(self, item: Item) -> None:
        if self._dry:
            return
        place = self._real(item.path)
        if not item.target:
            write_file(place, item.content)
            return
        place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.symlink_to(item.target)

    def _note_directories(self, path: str) -> None:
        """Note which directories above a place are missing, so that a removal takes them as well."""
        for above in reversed(Path(path).parents):
            if str(above) not in self._record.directories and not os.path.lexists(self._real(str(above))):
                self._record.directories.append(str(above))

    def _remove(self, paths: list[str]) -> Iterator[Step]:
        for path in paths:
            found = found_at(self._real(path))
            if found is not None and not self._record.knows(path, found):
                yield Step(Did.LEFT, path)
                continue
            if found is not None and not self._dry:
                self._real(path).unlink()
            del self._record.files[path]
            yield Step(Did.REMOVED if found is not None else Did.GONE, path)

    def _keep(self) -> None:
        """Write the record, unless there is nothing to say."""
        if self._dry or not (self._record.files or self._record_file.exists()):
            return
        self._note_directories(self._plan.places.record)
        write_file(self._record_file, self._record.to_bytes())
