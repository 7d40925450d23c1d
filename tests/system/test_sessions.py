"""Sessions, transcripts, subtitles and dates on a real mount, with the requests they cost."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import MountedFolder
    from kallglotfs.demo.requestlog import RequestLog
    from kallglotfs.demo.server import DemoServer

DELIVERY = "sess_01HDELIVERY"
HOTEL = "sess_01HHOTEL"


def test_a_session_that_nobody_listed_can_be_entered(
    service: DemoServer, mount: Callable[..., MountedFolder], requests_made: RequestLog
) -> None:
    """One request for its recordings and one for its transcript, once; then it is listed."""
    folder = mount()
    sessions = folder.path / "sessions"
    assert os.listdir(sessions) == []
    names = sorted(os.listdir(sessions / DELIVERY))
    assert names == [
        "agent_rec_01HDELIVERYA.vtt",
        "agent_rec_01HDELIVERYA.wav",
        "customer_rec_01HDELIVERYC.vtt",
        "customer_rec_01HDELIVERYC.wav",
        "mixed_rec_01HABC987654321.mp3",
        "mixed_rec_01HABC987654321.vtt",
        "session.json",
        "transcript.json",
        "transcript.txt",
    ]
    assert requests_made.count("api") == 2
    assert sorted(os.listdir(sessions / DELIVERY)) == names
    assert os.listdir(sessions) == [DELIVERY]
    assert len(os.listdir(folder.recordings)) == 3
    assert requests_made.count("api") == 2
    link = sessions / DELIVERY / "mixed_rec_01HABC987654321.mp3"
    assert os.readlink(link) == "../../recordings/rec_01HABC987654321.mp3"
    assert link.read_bytes() == service.audio("rec_01HABC987654321")
    assert requests_made.count("api") == 3


def test_the_transcript_is_json_text_and_subtitles(
    service: DemoServer, mount: Callable[..., MountedFolder], requests_made: RequestLog
) -> None:
    """All of one request; a completed one is not asked for again."""
    folder = mount()
    session = folder.path / "sessions" / HOTEL
    names = os.listdir(session)
    translated = [name for name in names if name.count(".") == 2]
    assert translated
    transcript = json.loads((session / "transcript.json").read_bytes())
    text = (session / "transcript.txt").read_text()
    for turn in transcript["turns"]:
        assert " ".join(turn["text"].split()[:3]) in text
    for name in translated:
        track = (session / name).read_text()
        assert track.startswith("WEBVTT\n\n")
        assert transcript["turns"][0]["translation"]["text"].split()[0] in track
    assert (session / "transcript.json").stat().st_size == len((session / "transcript.json").read_bytes())
    assert requests_made.count("api") == 2
    assert json.loads((session / "session.json").read_bytes())["id"] == HOTEL
    assert requests_made.count("api") == 3


def test_players_load_the_subtitles(service: DemoServer, mount: Callable[..., MountedFolder]) -> None:
    """The track lies where mpv looks for it, and every cue can be decoded."""
    folder = mount()
    session = folder.path / "sessions" / DELIVERY
    os.listdir(session)
    shown = subprocess.run(
        [
            "mpv", "--no-config", "--no-video", "--ao=null", "--sub-auto=exact", "--frames=1", "--cache=no",
            "--length=0.2", str(session / "mixed_rec_01HABC987654321.mp3"),
        ],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert "(+) Subs" in shown.stdout.replace("●", "(+)") or "Subs" in shown.stdout
    assert "webvtt" in shown.stdout
    packets = subprocess.run(
        ["ffprobe", "-v", "error", "-show_entries", "packet=pts_time,duration_time", "-of", "json",
         str(session / "mixed_rec_01HABC987654321.vtt")],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    cues = json.loads(packets.stdout)["packets"]
    assert len(cues) == 8
    assert float(cues[0]["pts_time"]) == pytest.approx(0.5, abs=0.6)
    assert float(cues[-1]["pts_time"]) == pytest.approx(36.7, abs=0.7)


def test_days_are_shown_without_a_request(
    service: DemoServer, mount: Callable[..., MountedFolder], requests_made: RequestLog
) -> None:
    """Links by the time of the recording, from what is known."""
    folder = mount()
    assert os.listdir(folder.path / "by-date") == []
    os.listdir(folder.path / "sessions" / DELIVERY)
    spent = requests_made.count("api")
    assert os.listdir(folder.path / "by-date") == ["2026"]
    assert os.listdir(folder.path / "by-date" / "2026") == ["03"]
    day = folder.path / "by-date" / "2026" / "03" / "02"
    assert sorted(os.listdir(day)) == [
        "091446Z_agent_41s_rec_01HDELIVERYA.wav",
        "091446Z_customer_41s_rec_01HDELIVERYC.wav",
        "091446Z_mixed_41s_rec_01HABC987654321.mp3",
    ]
    link = day / "091446Z_mixed_41s_rec_01HABC987654321.mp3"
    assert os.readlink(link) == "../../../../recordings/rec_01HABC987654321.mp3"
    assert not os.path.lexists(day / "091447Z_mixed_41s_rec_01HABC987654321.mp3")
    assert not os.path.lexists(folder.path / "by-date" / "2025")
    assert requests_made.count("api") == spent


def test_rsync_copies_a_month_and_then_nothing(
    service: DemoServer, mount: Callable[..., MountedFolder], requests_made: RequestLog, tmp_path: Path
) -> None:
    """One request per recording, none the second time."""
    folder = mount()
    os.listdir(folder.path / "sessions" / DELIVERY)
    requests_made.clear()
    command = ["rsync", "-aL", "--stats", f"{folder.path}/by-date/2026/03/", f"{tmp_path}/out/"]
    first = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "Number of regular files transferred: 3" in first.stdout
    copied = tmp_path / "out" / "02" / "091446Z_mixed_41s_rec_01HABC987654321.mp3"
    assert copied.read_bytes() == service.audio("rec_01HABC987654321")
    assert requests_made.count("api") == 3
    second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "Number of regular files transferred: 0" in second.stdout
    assert requests_made.count("api") == 3
