"""Install and remove, step by step. Nothing is touched unless everything can be done."""

from __future__ import annotations

import enum
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kallglotfs.errors import SystemFault, UsageError
from kallglotfs.install.record import found_at, identity, read_record
from kallglotfs.install.tree import Tree

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

    Raises:
        SystemFault: the record is damaged, or names what cannot have been installed.
        UsageError: a link leads out of the tree.
    """

    def __init__(self, plan: Plan, root: Path, *, dry: bool = False) -> None:
        self._plan = plan
        self._root = root
        self._tree = Tree(root)
        self._dry = dry
        self._record_file = self._tree.real(plan.places.record)
        self._record = read_record(self._record_file, plan.places.record)
        # What is removed is taken from the record: whoever could edit it must gain nothing by that.
        for path in self._record.files:
            self._mind(path, known=plan.places.may_hold(path))
        for path in self._record.directories:
            self._mind(path, known=plan.places.may_need(path))

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
        self._tree.remove(self._plan.places.record)
        for directory in reversed(self._record.directories):
            self._tree.remove_directory(directory)

    def _mind(self, path: str, *, known: bool) -> None:
        if not known:
            raise SystemFault(
                f"{self._plan.places.record}: names {path}, which is no place of this installation; "
                "nothing is touched"
            )

    def _state(self, item: Item) -> Did | None:
        """Return what is to be done about an item; None where it cannot be done."""
        place = self._tree.real(item.path)
        found = found_at(place)
        if found == identity(item):
            return Did.THERE
        if found is None:
            return Did.INSTALLED
        if self._record.knows(item.path, found):
            return Did.UPDATED
        # Where all directories of programs are one, the link's place holds the program itself.
        if item.target and os.path.realpath(place) == os.path.realpath(self._root / item.target.lstrip("/")):
            return Did.THERE
        return None

    def _put(self, item: Item) -> None:
        if self._dry:
            return
        if item.target:
            self._tree.link(item.path, item.target)
        else:
            self._tree.write(item.path, item.content)

    def _note_directories(self, path: str) -> None:
        """Note which directories above a place are missing, so that a removal takes them as well."""
        for above in reversed(Path(path).parents):
            if str(above) not in self._record.directories and not os.path.lexists(
                self._tree.real(str(above))
            ):
                self._record.directories.append(str(above))

    def _remove(self, paths: list[str]) -> Iterator[Step]:
        for path in paths:
            found = found_at(self._tree.real(path))
            if found is not None and not self._record.knows(path, found):
                yield Step(Did.LEFT, path)
                continue
            if found is not None and not self._dry:
                self._tree.remove(path)
            del self._record.files[path]
            yield Step(Did.REMOVED if found is not None else Did.GONE, path)

    def _keep(self) -> None:
        """Write the record, unless there is nothing to say."""
        if self._dry or not (self._record.files or self._record_file.exists()):
            return
        self._note_directories(self._plan.places.record)
        self._tree.write(self._plan.places.record, self._record.to_bytes())
