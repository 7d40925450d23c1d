"""A session's folder, with what is known of it faked: names, links, subtitles, and who is asked for what."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NoReturn

import pytest

from fakes import FakeClock
from kallglotfs.errors import IsADirectory, NotADirectory, NotFound
from kallglotfs.model import Kind, Recording, Session, Status, Transcript, Turn
from kallglotfs.patience import Patience
from kallglotfs.vfs.renditions import Renditions
from kallglotfs.vfs.sessions import Sessions

if TYPE_CHECKING:
    from collections.abc import Iterator

ID = "sess_a"
MADE = datetime(2026, 3, 2, 9, 14, 46, tzinfo=UTC)


class Nobody:
    """Stands for catalog and storage: links need neither."""

    def __getattr__(self, name: str) -> NoReturn:
        raise AssertionError(f"{name} was asked for")


@dataclass
class Known:
    """Sessions as they are known; counts what would be asked of the service."""

    found: list[Recording] = field(default_factory=list)
    said: Transcript | None = None
    asked: list[str] = field(default_factory=list)

    def ids(self) -> Iterator[str]:
        yield from ("../x", "sess_", ID)

    def enter(self, session_id: str, patience: Patience) -> Session:
        if session_id != ID:
            self.asked.append("enter")
            raise NotFound("none")
        return Session(ID, created_at=MADE)

    def recordings(self, session_id: str, patience: Patience) -> list[Recording]:
        self.asked.append("recordings")
        return self.found

    def known_recordings(self, session_id: str) -> list[Recording]:
        return self.found

    def document(self, session_id: str, kind: str, patience: Patience) -> bytes:
        return b"{}"

    def transcript(self, session_id: str, patience: Patience) -> Transcript:
        if self.said is None:
            raise NotFound("none")
        return self.said

    def languages(self, session_id: str, patience: Patience) -> tuple[str, ...] | None:
        return None if self.said is None else self.said.languages()

    def has_session_document(self, session_id: str) -> bool:
        return True


def branch(known: Known, formats: tuple[str, ...] = ("native",), rate: int = 0) -> Sessions:
    """Return the branch on what is known."""
    return Sessions(known, known, Renditions(Nobody(), Nobody(), formats, rate, 0.0), 5.0)


PATIENCE = Patience(FakeClock(), 1.0, lambda: False)
SAID = Transcript(complete=True, turns=(Turn("agent", "en", "Hello", (("es", "Hola"),), 1.0),))


def names(known: Known, *options: object) -> list[str]:
    """List the session, having looked at everything that is listed."""
    made = branch(known, *options)  # type: ignore[arg-type]
    found = list(made.entries((ID,), PATIENCE))
    for entry in found:
        attrs = made.attributes((ID, entry.name), PATIENCE)
        assert attrs.kind is entry.kind
        if attrs.kind is Kind.TEXT:
            assert attrs.size == len(made.text((ID, entry.name), PATIENCE))
    return [entry.name for entry in found]


def test_two_recordings_of_one_channel_are_two_files() -> None:
    """The id tells them apart; so do their subtitles."""
    known = Known([Recording("rec_1", channel="agent"), Recording("rec_2", channel="agent")], SAID)
    assert names(known) == [
        "agent_rec_1.es.vtt", "agent_rec_1.mp3", "agent_rec_1.vtt", "agent_rec_2.es.vtt", "agent_rec_2.mp3",
        "agent_rec_2.vtt", "session.json", "transcript.json", "transcript.txt",
    ]  # fmt: skip


def test_only_ready_recordings_are_shown() -> None:
    """And without a transcript no subtitles."""
    known = Known([Recording("rec_1"), Recording("rec_2", status=Status.PROCESSING)])
    assert names(known) == ["rec_1.mp3", "session.json"]
    with pytest.raises(NotFound):
        branch(known).attributes((ID, "rec_1.vtt"), PATIENCE)
    with pytest.raises(NotFound):
        branch(known).attributes((ID, "rec_2.mp3"), PATIENCE)


def test_subtitles_are_called_as_the_links_are() -> None:
    """One track for all formats of a rate."""
    known = Known([Recording("rec_1", channel="agent")], SAID)
    assert [name for name in names(known, ("mp3", "wav", "ogg"), 8000) if "@" in name] == [
        "agent_rec_1@8000.es.vtt", "agent_rec_1@8000.mp3", "agent_rec_1@8000.ogg", "agent_rec_1@8000.vtt",
        "agent_rec_1@8000.wav",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["x", "rec_", "rec_1", "rec_1.", "rec_.vtt", "AGENT_rec_1.mp3", "agent rec_1.mp3", "x.vtt", ".vtt",
     "rec_1.!.vtt", "rec_1.mp3.jpg", "Session.json"],
)  # fmt: skip
def test_names_outside_the_grammar_are_not_asked_for(name: str) -> None:
    """Whatever a player probes for."""
    known = Known([Recording("rec_1", channel="agent")], SAID)
    with pytest.raises(NotFound):
        branch(known).attributes((ID, name), PATIENCE)
    assert known.asked == []


@pytest.mark.parametrize("name", ["x", "sess_", "sess_a.b", "sess_\u00fc", "SESS_a", "sess_" + "x" * 65])
def test_what_is_no_session_id_is_not_asked_for(name: str) -> None:
    """At no cost."""
    known = Known()
    with pytest.raises(NotFound):
        branch(known).attributes((name,), PATIENCE)
    assert known.asked == []


def test_only_ids_are_listed() -> None:
    """Whoever wrote the others into the catalog."""
    assert [entry.name for entry in branch(Known()).entries((), PATIENCE)] == [ID]


def test_files_are_no_directories_and_directories_no_files() -> None:
    """As POSIX has it."""
    made = branch(Known([Recording("rec_1")], SAID))
    for name in ("rec_1.mp3", "rec_1.vtt", "session.json"):
        with pytest.raises(NotADirectory):
            made.entries((ID, name), PATIENCE)
        with pytest.raises(NotADirectory):
            made.attributes((ID, name, "x"), PATIENCE)
    with pytest.raises(IsADirectory):
        made.text((ID,), PATIENCE)


def test_a_language_it_was_not_translated_into_is_not_there() -> None:
    """Though the name could be one."""
    with pytest.raises(NotFound):
        branch(Known([Recording("rec_1")], SAID)).attributes((ID, "rec_1.fr.vtt"), PATIENCE)
