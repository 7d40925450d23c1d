"""Sessions of a service that sends odd things, on a real mount, with the requests they cost."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from conftest import mounted, wait_until
from scripted import Asked, Scripted, reply, scripted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import MountedFolder
    from kallglotfs.demo.requestlog import RequestLog
    from kallglotfs.demo.server import DemoServer

ID = "sess_a"
DELIVERY = "sess_01HDELIVERY"


class Odd:
    """A scripted service: recordings and transcript of one session, as bytes or JSON."""

    def __init__(self, script: Scripted) -> None:
        self.script = script
        self.recordings: object = []
        self.transcript: object = {"status": "completed", "turns": []}
        script.answer = self.answer

    @property
    def api_url(self) -> str:
        return f"{self.script.origin}/v1"

    api_key = "sk_test_odd"

    def answer(self, asked: Asked) -> bytes:
        if asked.path.endswith("/recordings"):
            return self.sent({"object": "list", "data": self.recordings, "has_more": False}, self.recordings)
        if asked.path.endswith("/transcript"):
            return self.sent(self.transcript, self.transcript)
        return reply(404, b'{"error": {"type": "not_found", "code": "not_found"}}')

    @staticmethod
    def sent(value: object, whole: object) -> bytes:
        body = whole if isinstance(whole, bytes) else json.dumps(value).encode()
        return reply(200, body, Content_Type="application/json")

    def count(self) -> int:
        return len(self.script.asked)


@pytest.fixture
def odd() -> Iterator[Odd]:
    """The service."""
    with scripted() as script:
        yield Odd(script)


@pytest.fixture
def folder(odd: Odd, tmp_path: Path) -> Iterator[MountedFolder]:
    """A mount of it."""
    options: dict[str, object] = {"formats": "native"}
    with mounted(odd, tmp_path / "mnt", tmp_path / "state", None, options) as made:  # type: ignore[arg-type]
        odd.script.asked.clear()
        yield made


def test_odd_channels_ids_and_numbers_cost_no_other_recording(odd: Odd, folder: MountedFolder) -> None:
    """Each is shown under a name that can be opened; what is no id is left out."""
    made = {"created_at": "2026-03-02T09:14:46Z", "size": 5, "format": "mp3", "status": "ready"}
    odd.recordings = [
        {"id": "rec_a", "channel": "../x"} | made, {"id": "rec_b", "channel": "a b"} | made,
        {"id": "rec_c", "channel": "x" * 300} | made, {"id": "rec_d", "channel": "AGENT"} | made,
        {"id": "rec_e", "channel": "agent"} | made, {"id": "rec_f", "channel": "agent"} | made,
        {"id": "rec_f", "channel": "agent"} | made, {"id": "../../etc", "channel": "agent"} | made,
        5, None, [],
        {"id": ["rec_g"]}, {"id": "rec_h", "format": "x/y", "duration": 1e400,
        "sample_rate": 10**30} | made,
        {"id": "rec_i"}, {"id": "rec_j", "channel": "\ud800", "created_at": "9999-12-31T23:59:59.9999999Z"},
        {"id": "rec_k", "session_id": 7} | made, {"id": "rec_l", "status": "failed"},
        {"id": "rec_" + "x" * 300},
    ]  # fmt: skip
    odd.transcript = {
        "status": "completed",
        "turns": [{"text": "hi", "translation": {"language": "../x", "text": "y"}}],
    }
    names = sorted(os.listdir(folder.path / "sessions" / ID))
    links = [name for name in names if name.endswith(".mp3")]
    assert links == [
        "agent_rec_e.mp3", "agent_rec_f.mp3", "rec_a.mp3", "rec_b.mp3", "rec_c.mp3", "rec_d.mp3",
        "rec_h.mp3",
        "rec_i.mp3", "rec_j.mp3", "rec_k.mp3",
    ]  # fmt: skip
    assert len([name for name in names if name.endswith(".vtt")]) == len(links)
    assert odd.count() == 2
    assert "cannot be written" not in folder.log
    for name in names:
        if name != "session.json":  # this service has none
            path = folder.path / "sessions" / ID / name
            assert path.is_symlink() if name in links else path.stat().st_size > 0
    assert len(os.listdir(folder.recordings)) == len(links)
    day = folder.path / "by-date" / "2026" / "03" / "02"
    assert len(os.listdir(day)) == 8
    assert all((day / name).is_symlink() for name in os.listdir(day))


@pytest.mark.parametrize(
    "body", [b"<html>", b"", b"[]", b"\xff", b'{"data": 5}', b'"x"', b"[" * 50_000, b"null"]
)
def test_a_list_that_is_none_ends_in_time(odd: Odd, folder: MountedFolder, body: bytes) -> None:
    """An error or an empty folder, and no request for each look."""
    odd.recordings = odd.transcript = body
    began = time.monotonic()
    for _ in range(3):
        shown = subprocess.run(
            ["ls", folder.path / "sessions" / ID], capture_output=True, text=True, timeout=20, check=False
        )
        assert set(shown.stdout.split()) <= {"session.json", "transcript.json", "transcript.txt"}
        assert shown.returncode == 0 or os.strerror(errno.EIO) in shown.stderr
    assert time.monotonic() - began < 25
    assert odd.count() <= 12


def test_a_transcript_of_many_turns_can_be_read(odd: Odd, folder: MountedFolder) -> None:
    """Twenty thousand, three megabytes; the folder stays in use meanwhile."""
    odd.recordings = [{"id": "rec_a", "channel": "agent", "created_at": "2026-03-02T09:14:46Z", "size": 5}]
    odd.transcript = {
        "status": "completed",
        "turns": [
            {"sequence": at, "speaker": "agent", "text": f"turn {at} " + "word " * 15, "timestamp": at}
            for at in range(20_000)
        ],
    }
    session = folder.path / "sessions" / ID
    assert (session / "agent_rec_a.vtt").read_text().count("-->") == 20_000
    assert (session / "transcript.txt").read_text().count("Agent:") == 20_000
    began = time.monotonic()
    for name in os.listdir(session):
        if name != "session.json":
            (session / name).lstat()
    assert time.monotonic() - began < 20
    assert odd.count() == 2


def test_a_transcript_that_is_too_large_is_an_error_and_nothing_else_suffers(
    odd: Odd, folder: MountedFolder
) -> None:
    """Twenty megabytes: the recordings are listed without it."""
    odd.recordings = [{"id": "rec_a", "created_at": "2026-03-02T09:14:46Z", "size": 5}]
    odd.transcript = {"status": "completed", "turns": [{"text": "x" * 20_000_000}]}
    session = folder.path / "sessions" / ID
    assert sorted(os.listdir(session)) == ["rec_a.mp3", "session.json"]
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        (session / "transcript.txt").read_bytes()
    assert (session / "rec_a.mp3").stat().st_size == 5


def test_names_outside_the_grammar_cost_nothing(
    service: DemoServer, mount: Callable[..., MountedFolder], requests_made: RequestLog
) -> None:
    """What players and desktops probe for, in a session that is known and young."""
    folder = mount()
    session = folder.path / "sessions" / DELIVERY
    os.listdir(session)
    requests_made.clear()
    for name in (
        ".hidden", "folder.jpg", "mixed_rec_01HABC987654321.srt.x",
        "mixed_rec_01HABC987654321.lrc1234567", "rec_.vtt",
        "x.vtt", "mixed_rec_01HABC987654321.nonsense!.vtt", "AGENT_rec_01HDELIVERYA.wav",
        "a" * 255, "desktop.ini",
    ):  # fmt: skip
        assert not (session / name).exists()
        assert not (folder.path / "by-date" / name).exists()
        assert not (folder.path / name).exists()
    for name in ("sess_", "sess_a.b", "SESS_a", "sess_" + "x" * 65, "rec_a", "sess_ü"):
        assert not (folder.path / "sessions" / name).exists()
    assert requests_made.count("api") == 0


def test_without_the_scope_one_request_learns_it(
    service: DemoServer, mount: Callable[..., MountedFolder], requests_made: RequestLog
) -> None:
    """403: what is known is shown, and no session costs another."""
    service.knobs.change({"scopes": ["recordings:read"]})
    folder = mount()
    (folder.recordings / "rec_01HABC987654321.mp3").stat()
    requests_made.clear()
    for _ in range(3):
        names = os.listdir(folder.path / "sessions" / DELIVERY)
        assert "mixed_rec_01HABC987654321.mp3" in names
        for other in ("sess_b", "sess_c"):
            with pytest.raises(PermissionError):
                os.listdir(folder.path / "sessions" / other)
    assert requests_made.count("api") <= 2


def test_without_the_routes_what_is_known_is_shown(
    service: DemoServer, mount: Callable[..., MountedFolder], requests_made: RequestLog
) -> None:
    """404 for everything below a session."""
    service.knobs.change({"sessions": False})
    folder = mount()
    (folder.recordings / "rec_01HABC987654321.mp3").stat()
    requests_made.clear()
    for _ in range(3):
        assert "mixed_rec_01HABC987654321.mp3" in os.listdir(folder.path / "sessions" / DELIVERY)
    assert requests_made.count("api") <= 2


def test_a_dead_network_shows_what_is_known_in_time(
    service: DemoServer, mount: Callable[..., MountedFolder], requests_made: RequestLog
) -> None:
    """Within the time a call may take once, then at once; what is not known is an errno."""
    folder = mount(timeout="2s")
    known = folder.path / "sessions" / DELIVERY
    names = os.listdir(known)
    service.knobs.change({"faults": [{"kind": "api", "action": "stall_headers", "times": -1}]})
    began = time.monotonic()
    assert os.listdir(known) == names
    assert time.monotonic() - began < 6
    began = time.monotonic()
    with pytest.raises(OSError, match=os.strerror(errno.ETIMEDOUT)):
        os.listdir(folder.path / "sessions" / "sess_other")
    assert time.monotonic() - began < 8
    assert service.knobs.faults[0].fired


def test_all_formats_at_another_rate_have_their_subtitles(
    service: DemoServer, mount: Callable[..., MountedFolder]
) -> None:
    """Named as their links are, so that players find them."""
    folder = mount(formats="all", sample_rate=8000)
    names = os.listdir(folder.path / "sessions" / DELIVERY)
    assert "mixed_rec_01HABC987654321@8000.mp3" in names
    assert "mixed_rec_01HABC987654321@8000.wav" in names
    assert names.count("mixed_rec_01HABC987654321@8000.vtt") == 1


def test_the_whole_mount_is_copied_links_as_links_and_recordings_once(
    service: DemoServer, mount: Callable[..., MountedFolder], requests_made: RequestLog, tmp_path: Path
) -> None:
    """One request a recording and one for the session's document; the second time none."""
    folder = mount()
    os.listdir(folder.path / "sessions" / DELIVERY)
    requests_made.clear()
    command = ["rsync", "-a", "--stats", f"{folder.path}/", f"{tmp_path}/out/"]
    for expected in (4, 0):
        subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        assert requests_made.count("api") == expected
        requests_made.clear()
    out = tmp_path / "out"
    assert (out / "sessions" / DELIVERY / "mixed_rec_01HABC987654321.mp3").is_symlink()
    assert len(list((out / "by-date" / "2026" / "03" / "02").iterdir())) == 3
    for name in os.listdir(folder.recordings):
        assert (out / "recordings" / name).read_bytes() == service.audio(name.partition(".")[0])


@pytest.mark.parametrize(
    ("command", "cold", "warm"),
    [
        (["find", "."], 0, 0),
        (["find", ".", "-size", "+1"], 1, 0),
        (["du", "-a", "."], 1, 0),
        (["ls", "-lR", "."], 1, 0),
        (["getfattr", "-d", "-R", "."], 1, 0),
        (["tar", "-cf", "/dev/null", "."], 1, 0),
    ],
)
def test_walking_costs_what_is_documented(
    command: list[str], cold: int, warm: int,
    service: DemoServer, mount: Callable[..., MountedFolder], requests_made: RequestLog,
) -> None:  # fmt: skip
    """Of known recordings and a session that was listed: its document, once, where sizes are asked for."""
    folder = mount()
    os.listdir(folder.path / "sessions" / DELIVERY)
    for expected in (cold, warm):
        requests_made.clear()
        subprocess.run(command, cwd=folder.path, capture_output=True, timeout=60, check=False)
        assert requests_made.count("api") == expected, requests_made


def test_a_transcript_that_goes_on_is_read_whole_each_time(odd: Odd, folder: MountedFolder) -> None:
    """An open file keeps what it had; reads behind its end are empty."""
    odd.transcript = {"status": "in_progress", "turns": [{"text": "first"}]}
    path = folder.path / "sessions" / ID / "transcript.txt"
    with path.open("rb") as file:
        begin = file.read()
        odd.transcript = {"status": "completed", "turns": [{"text": "first"}, {"text": "second"}]}
        assert wait_until(lambda: b"second" in path.read_bytes(), 25)
        file.seek(0)
        assert file.read() == begin
        assert os.pread(file.fileno(), 100, len(begin) + 5000) == b""
        assert os.pread(file.fileno(), 3, 2) == begin[2:5]
    assert b"not complete" in begin
    assert subprocess.run(["tail", "-n", "2", path], capture_output=True, timeout=10, check=True).stdout
    asked = odd.count()
    path.read_bytes()
    assert odd.count() == asked
