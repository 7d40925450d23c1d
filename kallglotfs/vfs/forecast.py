"""What it takes to have a recording on disk: bytes, room and requests, told without asking anybody.

User: `assembly/questions.py`, for `kallglotfs warm`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from kallglotfs.errors import NotFound
from kallglotfs.model import DEFAULT_FORMAT, ORIGINAL_RATE, Rendition, Status
from kallglotfs.vfs.naming import format_name
from kallglotfs.vfs.on_disk import Keeper, missing_of

if TYPE_CHECKING:
    from kallglotfs.model import Recording, RenditionFacts
    from kallglotfs.vfs.renditions import Renditions


class Shelf(Keeper, Protocol):
    """The disk tier: `content.disk.DiskTier`."""

    def room_for(self, size: int) -> int:
        """Return the bytes that a file of `size` bytes takes there."""


class Knowledge(Protocol):
    """What is asked of the catalog."""

    def known(self, recording_id: str) -> Recording | None:
        """Return what is known without asking."""

    def is_listed(self, recording: Recording) -> bool:
        """Tell whether a listing shows it."""

    def facts(self, rendition: Rendition) -> RenditionFacts | None:
        """Return what the storage confirmed."""


class Leases(Protocol):
    """Who has leases."""

    def has(self, rendition: Rendition) -> bool:
        """Tell whether one is at hand that costs nothing."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What bringing a file to the disk takes.

    Attributes:
        name: of the file.
        size: bytes, None where nobody knows yet.
        have: bytes of it that are on the disk.
        room: bytes that all of it takes there.
        requests: API requests.
        state: "ready", "processing", "gone", or "unknown" where the service has to be asked what it is.
    """

    name: str
    size: int | None
    have: int
    room: int
    requests: int
    state: str


class Forecasts:
    """Tells what it takes.

    Args:
        renditions: which there are.
        catalog: what is known.
        shelf: the disk tier.
        leases: tells whether a lease is at hand.
        rate: the sample rate in Hz of files that are asked for by id and format.
    """

    def __init__(
        self, renditions: Renditions, catalog: Knowledge, shelf: Shelf, leases: Leases, rate: int
    ) -> None:
        self._renditions = renditions
        self._catalog = catalog
        self._shelf = shelf
        self._leases = leases
        self._rate = rate

    def forecast(self, recording_id: str, audio_format: str | None, *, used: bool) -> list[Forecast]:
        """Return what it takes to have the files that directories show of a recording; asks nobody.

        Args:
            recording_id: whose.
            audio_format: a format to have instead, None for those that directories show.
            used: whether what is there counts as used, so that others are evicted before it.
        """
        recording = self._catalog.known(recording_id)
        if audio_format is not None:
            return [self.forecast_of(Rendition(recording_id, audio_format, self._rate), used=used)]
        if recording is None:
            return [self.forecast_of(Rendition(recording_id, DEFAULT_FORMAT, self._rate), used=used)]
        return [self.forecast_of(each, used=used) for each in self._renditions.shown(recording)]

    def forecast_of(self, rendition: Rendition, *, used: bool) -> Forecast:
        """Return what it takes to have one file; as `forecast`."""
        recording = self._catalog.known(rendition.recording_id)
        name = format_name(rendition)
        if recording is None:
            native = rendition.format == DEFAULT_FORMAT and rendition.rate == ORIGINAL_RATE
            return Forecast(name, None, 0, 0, 1 if native else 2, "unknown")
        if recording.status is Status.PROCESSING:
            return Forecast(name, None, 0, 0, 0, "processing")
        if not self._catalog.is_listed(recording):
            return Forecast(name, None, 0, 0, 0, "gone")
        size, have = recording.size if rendition == recording.native() else None, 0
        try:
            facts = self._catalog.facts(rendition)
        except NotFound:
            facts = None
        if facts is not None:
            size = facts.validator.size
            have = size - missing_of(self._shelf, rendition, facts.validator, used=used)
        free = (facts is not None and have == size) or self._leases.has(rendition)
        room = 0 if size is None else self._shelf.room_for(size)
        return Forecast(name, size, have, room, 0 if free else 1, "ready")
