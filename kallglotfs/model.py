"""The values everything else speaks about. Frozen, without behaviour that needs the network."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

#: Formats the service converts to (`format=` of `/download`).
FORMATS = ("mp3", "wav", "ogg")
#: Sample rates in Hz the service converts to (`sample_rate=` of `/download`).
RATES = (8000, 16000, 22050, 44100, 48000)
#: The rate of a rendition that is not resampled.
ORIGINAL_RATE = 0
#: What an installation gives that says nothing about a recording's own format.
DEFAULT_FORMAT = "mp3"


class Secret:
    """A text that is never shown by accident: `repr`, `str` and formatting are masked.

    It is not copied, pickled or taken for JSON either, and has no `__dict__` that a debugger would print.

    Args:
        text: the secret itself.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the secret text; only for putting it on the wire."""
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __repr__(self) -> str:
        return "Secret(****)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")

    def __getstate__(self) -> object:
        raise TypeError("a secret is not pickled")


class Status(enum.StrEnum):
    """Where a recording is in its life, as the API names it."""

    PROCESSING = "processing"
    READY = "ready"
    FAILED = "failed"


class Delivery(enum.StrEnum):
    """How the service hands out a recording's bytes."""

    #: Not told yet.
    UNKNOWN = "unknown"
    #: Generation 1: a signed storage URL.
    SIGNED = "signed"
    #: Generation 2: streamed by the API itself, MP3 only.
    STREAMED = "streamed"


@dataclass(frozen=True, slots=True)
class Recording:
    """What the service says about one recording. `None` means it did not say.

    Attributes:
        size: bytes of the native format.
        duration: seconds.
        sample_rate: Hz, of the native format.
        format: the native format.
        created_at: aware UTC time.
        expires_at: end of the retention period, aware UTC time.
    """

    id: str
    session_id: str | None = None
    channel: str | None = None
    duration: float | None = None
    status: Status = Status.READY
    format: str = DEFAULT_FORMAT
    size: int | None = None
    sample_rate: int | None = None
    bit_depth: int | None = None
    created_at: datetime | None = None
    expires_at: datetime | None = None
    delivery: Delivery = Delivery.UNKNOWN

    def native(self) -> Rendition:
        """Return the rendition that needs no conversion (generation 2 streams MP3 whatever the rest says)."""
        native = DEFAULT_FORMAT if self.delivery is Delivery.STREAMED else self.format
        return Rendition(self.id, native)


@dataclass(frozen=True, slots=True)
class Rendition:
    """One recording in one format at one sample rate: what a file name stands for."""

    recording_id: str
    format: str
    rate: int = ORIGINAL_RATE


@dataclass(frozen=True, slots=True)
class Validator:
    """Tells one version of a rendition's bytes from another: size in bytes and, where sent, the ETag."""

    size: int
    etag: str | None = None

    def accepts(self, other: Validator) -> bool:
        """Tell whether `other` may be the same version: an ETag that is not sent contradicts nothing."""
        if self.size != other.size:
            return False
        return self.etag is None or other.etag is None or self.etag == other.etag


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to fetch a rendition for a while.

    Attributes:
        url: where the bytes are; secret, for its signature opens them to anyone.
        ends: when to stop using it, on the clock of `clock.Clock.now` (seconds).
        metered: True when every request on it is an API request (generation 2) and carries the key.
        size: bytes the metadata states, for an answer that does not tell; None where it states none.
    """

    url: Secret
    ends: float
    metered: bool = False
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """What the service says about one session, a call. `None` means it did not say.

    Attributes:
        created_at: aware UTC time, as the others.
        started_at: when the two began to talk.
        ended_at: when they hung up.
    """

    id: str
    status: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """What one of them said in one go.

    Attributes:
        speaker: `agent`, `customer` or what the service calls them.
        language: of `text`; "" where it is not told.
        text: the words.
        translations: language and words, one for each language.
        moment: when it was said: epoch seconds, or seconds from the beginning; None where it is not told.
    """

    speaker: str
    language: str
    text: str
    translations: tuple[tuple[str, str], ...] = ()
    moment: float | None = None


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said in a session.

    Attributes:
        complete: whether it will not change any more.
        turns: in the order in which they were said.
        duration: seconds of the call, None where it is not told.
        session_id: of which session it says it is, None where it does not.
    """

    complete: bool
    turns: tuple[Turn, ...]
    duration: float | None = None
    session_id: str | None = None

    def languages(self) -> tuple[str, ...]:
        """Return the languages into which it has been translated."""
        return tuple(sorted({language for turn in self.turns for language, _ in turn.translations}))


class Kind(enum.Enum):
    """What a path is."""

    DIRECTORY = "directory"
    AUDIO = "audio"
    #: A file whose content is made when it is opened.
    TEXT = "text"
    LINK = "link"


@dataclass(frozen=True, slots=True)
class Attrs:
    """What `stat` shows of a path.

    Attributes:
        mtime: seconds since the epoch.
        size: bytes; 0 for a directory.
        rendition: what an audio file shows.
        target: where a link leads.
        text: whether it is a file whose content is made.
    """

    mtime: float
    size: int = 0
    rendition: Rendition | None = None
    target: str | None = None
    text: bool = False

    @property
    def kind(self) -> Kind:
        """What it is."""
        if self.rendition is not None:
            return Kind.AUDIO
        if self.target is not None:
            return Kind.LINK
        return Kind.TEXT if self.text else Kind.DIRECTORY


@dataclass(frozen=True, slots=True)
class Entry:
    """A name in a directory."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class RenditionFacts:
    """What the storage confirmed of a rendition, kept over restarts.

    Attributes:
        validator: the version's size and ETag.
        modified: the storage's Last-Modified, or the moment of the first contact; epoch seconds.
    """

    validator: Validator
    modified: float = field(default=0.0)
