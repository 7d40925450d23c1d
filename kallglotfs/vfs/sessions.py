"""`/sessions/<id>/`: a call with its recordings, its transcript and the subtitles of its recordings.

    session.json                what the service says of the call
    transcript.json, .txt       what was said
    <channel>_<id>.mp3          a link to the recording
    <channel>_<id>.vtt          its subtitles, where players look for them
    <channel>_<id>.es.vtt       the same, translated

Any session can be entered, listed or not.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

from kallglotfs.errors import NotADirectory, NotFound
from kallglotfs.model import Attrs, Entry, Kind, Status
from kallglotfs.vfs.branch import no_directory, no_text
from kallglotfs.vfs.dialogue import begin_of, dialogue, subtitles
from kallglotfs.vfs.naming import channel_prefix, format_name, is_session_id, link_to
from kallglotfs.vfs.renditions import created_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kallglotfs.model import Recording, Session, Transcript
    from kallglotfs.patience import Patience
    from kallglotfs.vfs.renditions import Renditions

SESSIONS = "sessions"
SESSION_FILE = "session.json"
TRANSCRIPT_FILES = ("transcript.json", "transcript.txt")
#: Depth of a link in a session's directory.
DEPTH = 2
#: What a file beside a recording may be called, less what comes behind its id: other names cost nothing.
_STEM = r"(?:[a-z][a-z0-9-]*_)?rec_[A-Za-z0-9]+(?:@[0-9]+)?"
_LINK = re.compile(rf"{_STEM}\.[a-z0-9]{{2,8}}")
_SUBTITLES = re.compile(rf"({_STEM})(?:\.([a-z]{{2,3}}(?:-[a-z0-9]{{1,8}})*))?\.vtt")


class Knowledge(Protocol):
    """What is asked of `catalog.sessions.Sessions`."""

    def ids(self) -> Iterator[str]:
        """Stream the ids of the known sessions."""

    def enter(self, session_id: str, patience: Patience) -> Session:
        """Return a session that exists."""

    def recordings(self, session_id: str, patience: Patience) -> list[Recording]:
        """Return its recordings, listed anew where that is due."""

    def known_recordings(self, session_id: str) -> list[Recording]:
        """Return those that are known."""


class Documents(Protocol):
    """What is asked of `catalog.session_documents.SessionDocuments`."""

    def document(self, session_id: str, kind: str, patience: Patience) -> bytes:
        """Return a session's JSON, or its transcript's."""

    def transcript(self, session_id: str, patience: Patience) -> Transcript:
        """Return what was said."""

    def languages(self, session_id: str, patience: Patience) -> tuple[str, ...] | None:
        """Return the languages of translations, None where there is no transcript."""

    def has_session_document(self, session_id: str) -> bool:
        """Tell whether there may be a session document."""


class Sessions:
    """The branch of sessions.

    Args:
        sessions: what is known of them.
        documents: theirs.
        renditions: which formats a directory shows.
        mounted: the time of what has none, epoch seconds.
    """

    def __init__(
        self, sessions: Knowledge, documents: Documents, renditions: Renditions, mounted: float
    ) -> None:
        self._sessions = sessions
        self._documents = documents
        self._renditions = renditions
        self._mounted = mounted

    def attributes(self, parts: tuple[str, ...], patience: Patience) -> Attrs:
        """Return what `stat` shows; raises as `Branch.attributes`."""
        if not parts:
            return Attrs(self._mounted)
        session_id, *below = parts
        if not is_session_id(session_id):
            raise NotFound("no such name")
        session = self._sessions.enter(session_id, patience)
        moment = self._moment(session)
        if not below:
            return Attrs(moment)
        name, *further = below
        target = self._target(session_id, name, patience)
        if target is not None:
            attrs = Attrs(moment, len(target), target=target)
        else:
            attrs = Attrs(moment, len(self._text(session_id, name, patience)), text=True)
        if further:
            raise NotADirectory("not a directory")
        return attrs

    def entries(self, parts: tuple[str, ...], patience: Patience) -> Iterator[Entry]:
        """Return the names in a directory; raises as `Branch.entries`."""
        if not parts:
            return (Entry(each, Kind.DIRECTORY) for each in self._sessions.ids() if is_session_id(each))
        if len(parts) > 1:
            raise no_directory(self, parts, patience)
        self.attributes(parts, patience)
        return iter(self._listing(parts[0], patience))

    def text(self, parts: tuple[str, ...], patience: Patience) -> bytes:
        """Return a document; raises as `Branch.text`."""
        if len(parts) != DEPTH:
            raise no_text()
        return self._text(parts[0], parts[1], patience)

    def _listing(self, session_id: str, patience: Patience) -> list[Entry]:
        ready = [
            each for each in self._sessions.recordings(session_id, patience) if each.status is Status.READY
        ]
        entries = [Entry(name, Kind.LINK) for recording in ready for name in self._links(recording)]
        languages = self._documents.languages(session_id, patience)
        if languages is not None:
            entries += [Entry(name, Kind.TEXT) for name in TRANSCRIPT_FILES]
            for stem in (stem for each in ready for stem in self._stems(each)):
                entries += [Entry(f"{stem}.vtt", Kind.TEXT)]
                entries += [Entry(f"{stem}.{language}.vtt", Kind.TEXT) for language in languages]
        if self._documents.has_session_document(session_id):
            entries.append(Entry(SESSION_FILE, Kind.TEXT))
        return sorted(entries, key=lambda entry: entry.name)

    def _links(self, recording: Recording) -> dict[str, str]:
        """Return the links to a recording: name and target."""
        prefix = channel_prefix(recording)
        return {
            prefix + format_name(each): link_to(each, DEPTH) for each in self._renditions.shown(recording)
        }

    def _stems(self, recording: Recording) -> list[str]:
        """Return how subtitles of a recording are called, as players look for them: as its links are."""
        stems = {name.rpartition(".")[0] for name in self._links(recording)}
        return sorted(stems) or [channel_prefix(recording) + recording.id]

    def _target(self, session_id: str, name: str, patience: Patience) -> str | None:
        """Return where a link leads, None where the name is another file's."""
        if name in (SESSION_FILE, *TRANSCRIPT_FILES) or name.endswith(".vtt"):
            return None
        if _LINK.fullmatch(name) is None:
            raise NotFound("no such name")
        recording = self._ready(session_id, lambda each: name in self._links(each), patience)
        if recording is None:
            raise NotFound("no such name")
        return self._links(recording)[name]

    def _ready(
        self, session_id: str, wanted: Callable[[Recording], bool], patience: Patience
    ) -> Recording | None:
        """Return the ready recording that is wanted; a list that is due is asked for where none is known."""
        for recordings in (
            self._sessions.known_recordings,
            lambda each: self._sessions.recordings(each, patience),
        ):
            for recording in recordings(session_id):
                if recording.status is Status.READY and wanted(recording):
                    return recording
        return None

    def _text(self, session_id: str, name: str, patience: Patience) -> bytes:
        if name == SESSION_FILE:
            return self._documents.document(session_id, "session", patience)
        if name == "transcript.json":
            return self._documents.document(session_id, "transcript", patience)
        if name == "transcript.txt":
            transcript = self._documents.transcript(session_id, patience)
            known = self._sessions.known_recordings(session_id)
            return dialogue(
                transcript, self._begin(session_id, transcript, known[0] if known else None, patience)
            )
        match = _SUBTITLES.fullmatch(name)
        if match is None:
            raise NotFound("no such name")
        stem = match[1]
        recording = self._ready(session_id, lambda each: stem in self._stems(each), patience)
        if recording is None:
            raise NotFound("no such name")
        transcript = self._documents.transcript(session_id, patience)
        language = match[2] or ""
        if language and language not in transcript.languages():
            raise NotFound("not translated into this language")
        return subtitles(transcript, self._begin(session_id, transcript, recording, patience), language)

    def _begin(
        self, session_id: str, transcript: Transcript, recording: Recording | None, patience: Patience
    ) -> float:
        session = self._sessions.enter(session_id, patience)
        started = None if session.started_at is None else session.started_at.timestamp()
        made = None if recording is None else created_at(recording)
        before = (
            made - recording.duration
            if made is not None and recording is not None and recording.duration is not None
            else None
        )
        return begin_of(transcript, (started, made, before))

    def _moment(self, session: Session) -> float:
        moment = session.created_at or session.started_at
        if moment is not None:
            return moment.timestamp()
        made = (created_at(each) for each in self._sessions.known_recordings(session.id))
        return min((each for each in made if each is not None), default=self._mounted)
