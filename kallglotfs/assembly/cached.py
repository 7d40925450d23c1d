"""What is cached on disk, told by recording: the catalog knows the names, the cache directory has the blocks.

Used by `kallglotfs cache`, in a process of its own, mounted or not. Asks no service.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kallglotfs.assembly.stores import open_store
from kallglotfs.catalog.session_documents import SESSION, TRANSCRIPT
from kallglotfs.catalog.session_store import SessionStore
from kallglotfs.config.credentials import Credentials
from kallglotfs.content.inspection import Inspection
from kallglotfs.model import Rendition, Validator
from kallglotfs.vfs.naming import format_name

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from kallglotfs.catalog.store import CatalogStore
    from kallglotfs.clock import Clock
    from kallglotfs.config.settings import Settings
    from kallglotfs.content.inspection import BlockFile, Folder, Place
    from kallglotfs.model import Secret

#: Seconds for which a block that fits no known version may be one whose version is not written down yet.
YOUNG = 300.0


@dataclass(frozen=True, slots=True)
class Copy:
    """What is cached of one version of a rendition.

    Attributes:
        size: bytes of the whole.
        have: blocks that are there.
        of: blocks of the whole.
    """

    rendition: Rendition
    size: int
    have: int
    of: int

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return self.have == self.of


@dataclass(frozen=True, slots=True)
class Holding:
    """What is cached of one recording, or of one session's documents.

    Attributes:
        subject: its id.
        folder: its blocks, those of old versions included.
        copies: by rendition.
        old: bytes that are of no version that is known now.
    """

    subject: str
    folder: Folder
    copies: tuple[Copy, ...]
    old: int

    @property
    def complete(self) -> bool:
        """Whether something is there, and nothing is missing of what is there."""
        return bool(self.copies) and all(copy.complete for copy in self.copies)


@dataclass(slots=True)
class Survey:
    """What is in a cache directory.

    Attributes:
        holdings: what belongs to what the catalog knows.
        others: folders of what it does not know: another profile's, or sealed under another key.
        strays: paths that are none of ours.
        leftovers: paths of files that nobody will finish writing.
    """

    holdings: list[Holding] = field(default_factory=list)
    others: list[Folder] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)

    @property
    def taken(self) -> int:
        """Bytes on the disk."""
        return sum(each.folder.taken for each in self.holdings) + sum(each.taken for each in self.others)

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        folders = [*(each.folder for each in self.holdings), *self.others]
        return sum(len(folder.blocks) for folder in folders)


@dataclass(frozen=True, slots=True)
class Broken:
    """A block that is not what it should be.

    Attributes:
        subject: the id it belongs to.
        name: of the block.
        what: which block of what, in words.
        reason: what is wrong with it.
    """

    subject: str
    name: bytes
    what: str
    reason: str


@contextlib.contextmanager
def open_cached(settings: Settings, profile: str, clock: Clock, *, named: bool) -> Iterator[Cached | None]:
    """Give who looks at the cache of a profile, None where there is no cache directory.

    Args:
        settings: say where it is.
        profile: whose catalog and key.
        clock: what tells the time.
        named: whether names are to be told, for which the key is needed.

    Raises:
        ConfigError: a directory cannot be used.
        CredentialError: there is no usable key.
    """
    try:
        settings.cache_dir.lstat()
    except (FileNotFoundError, NotADirectoryError):
        yield None
        return
    inspection = Inspection(settings.cache_dir)
    credentials = Credentials(settings.api_key_file, profile=profile)
    if not named:
        yield Cached(inspection, None, credentials.read, clock)
        return
    store = open_store(settings, profile, clock)
    try:
        yield Cached(inspection, store, credentials.read, clock)
    finally:
        store.close()


class Cached:
    """Looks at what is cached.

    Args:
        inspection: of the cache directory.
        store: the catalog, None where the blocks' names cannot be told.
        read_key: reads the API key; asked once.
        clock: what tells the time.

    Raises:
        CredentialError: as `read_key` says.
    """

    def __init__(
        self,
        inspection: Inspection,
        store: CatalogStore | None,
        read_key: Callable[[], Secret],
        clock: Clock,
    ) -> None:
        self._inspection = inspection
        self._clock = clock
        self._store = store if store is not None and inspection.unlock(read_key()) else None

    def survey(self) -> Survey:
        """Return what is there.

        Raises:
            OSError: the directory cannot be read.
        """
        folders = {folder.name: folder for folder in self._inspection.folders(self._clock.wall())}
        survey = Survey()
        for subject, folder in self._known(folders):
            survey.holdings.append(self._holding(subject, folder))
            del folders[folder.name]
        survey.holdings.sort(key=lambda each: (-each.folder.used, each.subject))
        survey.others = list(folders.values())
        survey.strays = list(self._inspection.strays)
        survey.leftovers = list(self._inspection.leftovers)
        return survey

    def chosen(self, subjects: Collection[str], age: float | None) -> list[Folder]:
        """Return the folders of ids, a session's with those of its recordings.

        Without any: all, or all that were not used for `age` seconds.

        Raises:
            OSError: the directory cannot be read.
        """
        now = self._clock.wall()
        wanted = set()
        for subject in subjects if self._store is not None else ():
            assert self._store is not None
            ids = (subject, *self._store.ids_of_session(subject))
            wanted |= {self._inspection.folder_of(each) for each in ids}
        return [
            folder
            for folder in self._inspection.folders(now)
            if (folder.name in wanted if subjects else age is None or now - folder.used > age)
        ]

    def destroy(self, folders: Iterable[Folder]) -> int:
        """Remove folders of blocks; return how many could not be removed."""
        left = 0
        for folder in folders:
            try:
                self._inspection.clear(folder.name)
            except OSError:
                left += 1
        return left

    def repair(self, broken: Iterable[Broken]) -> None:
        """Remove broken blocks, and what was given up half-written."""
        for each in broken:
            self._inspection.remove(each.name)
        self._inspection.remove_leftovers()

    def check(
        self, begin: Callable[[int], None], advance: Callable[[int], None]
    ) -> tuple[Survey, list[Broken]]:
        """Open the seal of every block whose version is known.

        Args:
            begin: told the bytes that will be looked at.
            advance: told the bytes that have been looked at.

        Returns:
            What is there, and what is broken, blocks that fit no known version included.

        Raises:
            OSError: the directory cannot be read.
        """
        survey = self.survey()
        begin(sum(each.folder.taken for each in survey.holdings))
        broken = [each for holding in survey.holdings for each in self._check(holding, advance)]
        return survey, broken

    def _check(self, holding: Holding, advance: Callable[[int], None]) -> Iterator[Broken]:
        subject = holding.subject
        places = self._places(subject)
        for block in holding.folder.blocks:
            place = places.get(block.name)
            reason = self._fault(block, place)
            if reason is not None:
                what = (
                    f"block {place.index} of {shown(place.rendition)}" if place else f"a block of {subject}"
                )
                yield Broken(subject, block.name, what, reason)
            advance(block.taken)

    def _fault(self, block: BlockFile, place: Place | None) -> str | None:
        if place is not None:
            return self._inspection.fault(block, place)
        if self._clock.wall() - block.used < YOUNG:
            return None
        return "of no version that is known now"

    def _known(self, folders: dict[bytes, Folder]) -> Iterator[tuple[str, Folder]]:
        """Yield what the catalog knows and the cache has."""
        for subject in self._subjects():
            folder = folders.get(self._inspection.folder_of(subject))
            if folder is not None:
                yield subject, folder

    def _subjects(self) -> Iterator[str]:
        if self._store is not None:
            yield from (recording.id for recording in self._store.everything())
            yield from SessionStore(self._store.database).ids()

    def _holding(self, subject: str, folder: Folder) -> Holding:
        names = {block.name for block in folder.blocks}
        copies, claimed = [], set()
        for rendition, validator in self._versions(subject):
            places = self._inspection.places(rendition, validator).keys()
            found = names & places
            if found:
                copies.append(Copy(rendition, validator.size, len(found), len(places)))
                claimed |= found
        old = sum(block.taken for block in folder.blocks if block.name not in claimed)
        return Holding(subject, folder, tuple(copies), old)

    def _places(self, subject: str) -> dict[bytes, Place]:
        places: dict[bytes, Place] = {}
        for rendition, validator in self._versions(subject):
            places |= self._inspection.places(rendition, validator)
        return places

    def _versions(self, subject: str) -> Iterator[tuple[Rendition, Validator]]:
        """Yield the versions that are known of a recording, or of a session's documents."""
        assert self._store is not None
        for rendition, facts in self._store.renditions(subject):
            yield rendition, facts.validator
        sessions = SessionStore(self._store.database)
        for kind in (SESSION, TRANSCRIPT):
            told = sessions.told(subject, kind)
            if told is not None:
                yield Rendition(subject, kind), Validator(told.size)


def shown(rendition: Rendition) -> str:
    """Return what a rendition is called: as its file is, or a session's document."""
    if rendition.format in (SESSION, TRANSCRIPT):
        return f"{rendition.recording_id} ({rendition.format})"
    return format_name(rendition)
