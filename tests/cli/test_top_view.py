"""What `kallglotfs top` and `status` draw, from states that no mount of a test gets into."""

from __future__ import annotations

from typing import Any

import pytest
from rich.cells import cell_len

from kallglotfs.cli import status, top
from kallglotfs.cli.main import main
from kallglotfs.cli.status_text import text
from kallglotfs.cli.top_view import View, heading, row
from kallglotfs.cli.trend import Trend
from kallglotfs.control.survey import Found, State

NASTY = "/recordings/\x1b[2J\u202e" + "録音" * 200 + ".mp3"


def nested(depth: int) -> dict[str, Any]:
    """Return dictionaries in each other."""
    found: dict[str, Any] = {}
    for _ in range(depth):
        found = {"used": found}
    return found


def state(**changes: Any) -> dict[str, Any]:
    """Return a state with much in it."""
    return {
        "version": "0.1.0",
        "profile": "default",
        "mount_point": "/mnt/calls",
        "api": "api.kallglot.com",
        "pid": 4711,
        "started": 1000.0,
        "uptime": 100.0,
        "counts": {"served_bytes": 1 << 40, "fetched_bytes": 5, "memory_hits": 3, "memory_misses": 1},
        "spending": {"recordings": 9, "dearest": [{"id": f"rec_{n}", "requests": n} for n in range(9)]},
        "budget": {"limit": 60, "remaining": 0, "resets_in": 12.3, "waiting": 4},
        "leases": {"kept": 3, "valid": 2},
        "memory": {"blocks": 1, "extents": 0, "used": 1 << 28, "capacity": 1 << 28, "hits": 3, "misses": 1},
        "disk": {"hits": 0, "misses": 0, "used": 5, "capacity": 10, "failing": True},
        "open_files": {
            "count": 600,
            "by_process": [
                {"pid": n, "program": "sox\x1b[31m", "count": 12, "files": [NASTY] * 10} for n in range(50)
            ],
        },
        "known": {"recordings": 12},
        "sources": {"processing": {"last_run": None, "last_error": "the API answers 500", "found": 0}},
        "webhooks": {"received": 3, "stored": 0, "duplicates": 0, "failed": 0,
                     "refused": {"signature wrong": 3}, "last_error": "signature wrong"},
        "errors": [
            {"kind": "TimedOut", "count": 2, "message": "slow " * 60, "path": NASTY, "moment": 900.0,
             "advice": "look at the network"}
        ],
        **changes,
    }  # fmt: skip


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 60), (60, 24), (30, 8), (2, 2), (1, 1)])
@pytest.mark.parametrize("trouble", ["", "the daemon is gone; " * 20])
def test_every_screen_fits(width: int, height: int, trouble: str) -> None:
    """In columns, not characters; nothing of a name reaches the terminal as a command."""
    trend = Trend()
    for uptime in range(300):
        trend.add(state(uptime=float(uptime)))
    lines = View(width, height).lines("/mnt/" + "long/" * 50, state(), trend, trouble, 1000.0)
    assert 0 < len(lines) <= height
    for line in lines:
        assert cell_len(line.plain) <= width
        assert line.plain.isprintable()


def test_a_mount_that_never_answered_has_a_screen() -> None:
    """It says why."""
    lines = View(80, 24).lines("/mnt/calls", None, Trend(), "it hangs", 1000.0)
    assert [line.plain for line in lines][1] == "! it hangs"


def test_rates_are_by_the_daemon_s_own_clock_and_begin_anew_with_it() -> None:
    """No rate from one look, none across a restart, a gap where it did not answer."""
    trend = Trend()
    trend.add(state(counts={"served_bytes": 0}))
    assert trend.last.served is None
    trend.add(state(uptime=102.0, counts={"served_bytes": 500, "memory_hits": 3, "memory_misses": 1}))
    assert (trend.last.served, trend.last.hits, trend.last.requests) == (250, 0.75, 0)
    trend.add(state(started=2000.0, uptime=1.0, counts={"served_bytes": 9}))
    assert trend.last.served is None
    trend.add(None)
    trend.add(state(started=2000.0, uptime=3.0, counts={"served_bytes": 19}))
    assert trend.row(lambda point: point.served) == [None, 250, None, None, None]


def test_the_rows_of_a_pipe_stand_below_their_headings() -> None:
    """Whatever is known."""
    trend = Trend()
    trend.add(state())
    for known in (state(), state(budget={"limit": None, "remaining": None, "resets_in": None, "waiting": 0})):
        line = row(known, trend.last, 1000.0)
        assert len(line) <= 80
        assert line[heading().index("FILES") :] == "600"


def test_the_text_says_what_asks_for_something() -> None:
    """A budget that is used up, a disk that fails, webhooks that are all refused, a source that fails."""
    said = text(Found("/mnt/calls", "default", State.OK, 4711, 0, status=state()))
    unwrapped = " ".join(said.split())
    for words in (
        "the API budget is used up and 4 wait; it is reset in 12 s",
        "the disk tier cannot write",
        "all webhooks were refused",
        "never ran, 0 found; the API answers 500",
        "and 45 more processes",
        "-> look at the network",
    ):
        assert words in unwrapped
    assert all(line.isprintable() for line in said.splitlines())


def test_a_daemon_of_another_version_is_told_as_such() -> None:
    """Where something is missing that we would show."""
    known = state()
    del known["spending"]
    said = text(Found("/mnt/calls", "default", State.OK, 4711, 0, status=known))
    assert "another version (0.1.0)" in said


def test_commands_are_not_broken_over_lines() -> None:
    """They are there to be copied."""
    point = "/mnt/a folder/calls"
    advice = f"it may be stopped (kill -CONT 4711); if it stays so, and it may: kallglotfs umount '{point}'"
    said = text(Found(point, "default", State.SILENT, 4711, 0, "the daemon does not answer", advice))
    assert f"kallglotfs umount '{point}'" in said


@pytest.mark.parametrize(
    "changes",
    [
        {"uptime": "long"},
        {"uptime": 1e300 * 1e300},
        {"counts": []},
        {"budget": {"limit": [], "remaining": None}},
        {"errors": [1]},
        {"memory": nested(600)},
        {"open_files": {"count": 1, "by_process": [{"program": 5, "pid": 1, "count": 1, "files": []}]}},
    ],
)
def test_what_a_daemon_tells_amiss_spoils_its_own_entry_alone(
    changes: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In text and in JSON; `top` says so in one line and goes on."""
    other = Found("/mnt/well", "default", State.OK, status=state(version=None))
    amiss = Found("/mnt/calls", "default", State.OK, status=state(**changes))
    monkeypatch.setattr(status, "survey", lambda *_: [amiss, other])
    for arguments in ([], ["--json"]):
        main(["status", *arguments])
        assert "/mnt/well" in capsys.readouterr().out
    assert "ERROR" in text(amiss)
    screen = top._Screen("/mnt/calls", 0.01)
    monkeypatch.setattr(screen._watch, "look", lambda: amiss.status)
    assert not screen.once()
    assert "cannot be read" in capsys.readouterr().out
    monkeypatch.setattr(screen._watch, "look", state)
    assert screen.once()
