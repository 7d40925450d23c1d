"""What was installed, written down: so that an upgrade and a removal touch what is ours and nothing else."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kallglotfs.errors import SystemFault

if TYPE_CHECKING:
    from pathlib import Path

    from kallglotfs.install.plan import Item


def identity(item: Item) -> str:
    """Return what tells an item from another at the same place."""
    return f"link:{item.target}" if item.target else f"sha256:{hashlib.sha256(item.content).hexdigest()}"


def found_at(path: Path) -> str | None:
    """Return the identity of what stands at a place, None where nothing does."""
    if path.is_symlink():
        return f"link:{path.readlink()}"
    if path.is_file():
        return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    return "other" if path.exists() else None


@dataclass(slots=True)
class Record:
    """The identities of what was installed, and the directories that were made for it.

    Attributes:
        files: identities by path; more than one while an upgrade is under way.
        directories: those made, parents first.
    """

    files: dict[str, list[str]] = field(default_factory=dict)
    directories: list[str] = field(default_factory=list)

    def knows(self, path: str, found: str | None) -> bool:
        """Return whether what was found at a place is as it was installed."""
        return found in self.files.get(path, ())

    def to_bytes(self) -> bytes:
        """Return the record as it is kept."""
        kept = {"files": self.files, "directories": self.directories}
        return (json.dumps(kept, indent=1, sort_keys=True) + "\n").encode()


def read_record(path: Path, shown: str) -> Record:
    """Return what was written down, an empty record where nothing was.

    Args:
        path: the file.
        shown: its name in messages.

    Raises:
        SystemFault: the file is not one of ours.
    """
    try:
        kept = json.loads(path.read_bytes())
        files = {str(name): [str(each) for each in prints] for name, prints in kept["files"].items()}
        return Record(files, [str(each) for each in kept["directories"]])
    except FileNotFoundError:
        return Record()
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SystemFault(f"{shown}: damaged, so what was installed is not known") from None
