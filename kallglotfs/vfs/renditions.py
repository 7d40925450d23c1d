"""The renditions a mount can show: which exist, which are listed, what their files look like.

Users: the branches of the tree, and `filesystem.py`, which pins a version when a file is opened.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Protocol

from kallglotfs.errors import NotFound
from kallglotfs.model import (
    DEFAULT_FORMAT,
    FORMATS,
    ORIGINAL_RATE,
    Attrs,
    Delivery,
    Recording,
    Rendition,
    RenditionFacts,
    Status,
)
from kallglotfs.vfs.naming import format_name, parse_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kallglotfs.model import Validator
    from kallglotfs.patience import Patience

#: In `formats`: the format a recording was made in.
NATIVE = "native"


class Knowledge(Protocol):
    """What is needed of the catalog."""

    def recording(self, rendition: Rendition, patience: Patience) -> Recording:
        """Return the recording behind a name."""

    def known(self, recording_id: str) -> Recording | None:
        """Return what is known without asking."""

    def listed(self, start: str = "") -> Iterator[Recording]:
        """Stream the recordings to list, from an id on."""

    def facts(self, rendition: Rendition) -> RenditionFacts | None:
        """Return what the storage confirmed."""

    def confirm(self, rendition: Rendition, facts: RenditionFacts) -> None:
        """Keep what the storage said."""

    def missing(self, rendition: Rendition, reason: str) -> None:
        """Remember that the storage has not got it."""


class Contact(Protocol):
    """Who knows what the storage has: the block cache."""

    def contact(self, rendition: Rendition, patience: Patience) -> RenditionFacts:
        """Ask the storage for version and size."""


class Renditions:
    """Knows the renditions of recordings.

    Args:
        catalog: what is known.
        contact: asked for a size that nobody knows yet.
        formats: the formats a listing shows: `native` or names.
        rate: the sample rate in Hz a listing shows, 0 for the original.
        mounted: the time of what has none, epoch seconds.
    """

    def __init__(
        self, catalog: Knowledge, contact: Contact, formats: Sequence[str], rate: int, mounted: float
    ) -> None:
        self._catalog = catalog
        self._contact = contact
        self._formats = tuple(formats)
        self._rate = rate
        self._mounted = mounted

    def attributes(self, rendition: Rendition, patience: Patience) -> Attrs:
        """Return what `stat` shows of a rendition's file.

        Raises:
            NotFound: no such recording, or not in this format.
            KallglotError: as the service says.
        """
        recording = self.recording(rendition, patience)
        created = created_at(recording)
        if recording.status is Status.PROCESSING:
            return Attrs(created or self._mounted, 0, rendition)
        facts = self._catalog.facts(rendition)
        size = _native_size(recording, rendition)
        if facts is None and (size is None or created is None):
            facts = self.confirmed(rendition, patience)
        if facts is not None:
            return Attrs(created or facts.modified, facts.validator.size, rendition)
        assert size is not None and created is not None  # noqa: PT018
        return Attrs(created, size, rendition)

    def recording(self, rendition: Rendition, patience: Patience) -> Recording:
        """Return the recording of a rendition that exists.

        Raises:
            NotFound: no such recording, or it does not come in this format.
        """
        if rendition.format not in FORMATS:
            known = self._catalog.known(rendition.recording_id)
            if known is None or rendition != known.native():
                raise NotFound("no such format")
        recording = self._catalog.recording(rendition, patience)
        if not _comes_as(recording, rendition):
            raise NotFound("this service converts nothing")
        return recording

    def pinned(self, rendition: Rendition) -> Validator | None:
        """Return the version the storage confirmed, None when it was never asked."""
        facts = self._catalog.facts(rendition)
        return None if facts is None else facts.validator

    def confirmed(self, rendition: Rendition, patience: Patience) -> RenditionFacts:
        """Ask the storage what it has, and remember it.

        Raises:
            KallglotError: as the service says.
        """
        try:
            facts = self._contact.contact(rendition, patience)
        except NotFound as error:
            self._catalog.missing(rendition, str(error))
            raise
        self._catalog.confirm(rendition, facts)
        return facts

    def following(self, rendition: Rendition, count: int) -> list[Rendition]:
        """Return up to `count` renditions that the listing shows behind one, in its order."""
        behind = itertools.dropwhile(
            lambda each: _place(each) <= _place(rendition), self.listed(rendition.recording_id)
        )
        return list(itertools.islice(behind, count))

    def listed(self, start: str = "") -> Iterator[Rendition]:
        """Stream what the listing shows, from an id on, in the order in which programs sort names."""
        for recording in self._catalog.listed(start):
            yield from self.shown(recording)

    def shown(self, recording: Recording) -> Iterator[Rendition]:
        """Yield the renditions of a recording that a directory shows."""
        native = recording.native()
        for name in sorted({native.format if name == NATIVE else name for name in self._formats}):
            rendition = Rendition(recording.id, name, self._rate)
            # What cannot be opened by its name is not listed, whoever wrote it into the catalog.
            if _comes_as(recording, rendition) and parse_name(format_name(rendition)) == rendition:
                yield rendition


def created_at(recording: Recording) -> float | None:
    """Return when a recording was made, epoch seconds."""
    return None if recording.created_at is None else recording.created_at.timestamp()


def _place(rendition: Rendition) -> tuple[str, str]:
    return (rendition.recording_id, rendition.format)


def _comes_as(recording: Recording, rendition: Rendition) -> bool:
    """Tell whether the service can give this rendition: generation 2 converts nothing."""
    if recording.delivery is Delivery.STREAMED:
        return rendition.format == DEFAULT_FORMAT and rendition.rate == ORIGINAL_RATE
    return rendition.format in FORMATS or rendition == recording.native()


def _native_size(recording: Recording, rendition: Rendition) -> int | None:
    """Return the size the service states, which is that of the format the recording was made in."""
    same = rendition.format == recording.format and rendition.rate == ORIGINAL_RATE
    return recording.size if same else None
