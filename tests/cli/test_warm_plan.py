"""What warm says before it begins, and what it is asked for: figures and words, without a mount."""

from __future__ import annotations

import time
from typing import Any

import pytest

from kallglotfs.cli import moments, warm_targets
from kallglotfs.cli.warm_plan import Plan

MIB = 1024 * 1024
ROOM: dict[str, Any] = {
    "capacity": 100 * MIB, "used": 10 * MIB, "free": None, "limit": None, "remaining": None, "seconds": None,
}  # fmt: skip


def plan_of(*files: dict[str, Any], sessions: dict[str, int] | None = None) -> Plan:
    """Return a plan as answers of a mount make it."""
    plan = Plan()
    usual = {"size": MIB, "have": 0, "room": MIB + 8192, "requests": 1, "state": "ready"}
    listed = [
        usual | {"name": f"rec_{index}.mp3", "item": f"rec_{index}"} | file
        for index, file in enumerate(files)
    ]
    plan.add(
        {
            "files": listed,
            "sessions": [{"id": key, "requests": count} for key, count in (sessions or {}).items()],
        }
    )
    return plan


def test_bytes_and_requests_are_told() -> None:
    """Files that are there cost nothing; what is unknown makes the figures a least."""
    plan = plan_of(
        {"have": MIB, "requests": 0}, {}, {"size": None, "room": 0, "state": "unknown", "requests": 2}
    )
    assert list(plan.lines(ROOM)) == [
        "3 files: 1 on disk already (1.0 MiB), 2 to fetch",
        "costs at least 3 API requests (3 s at 60 a minute; the service has not told its limit yet)",
        "at least 1.0 MiB to fetch (0 s at 100 Mbit/s) and 1 file whose size is not known yet",
        "disk cache: 10.0 MiB of 100M in use",
    ]
    assert plan.unknown == {"rec_2"}
    told = "".join(plan.lines({**ROOM, "limit": 60, "remaining": 50, "seconds": 90.0}))
    assert "(1 min at the budget, 50 of 60 left)" in told


def test_what_cannot_be_had_is_passed_over() -> None:
    """In processing and gone, said by number; sessions to ask for are counted."""
    plan = plan_of({"state": "processing"}, {"state": "gone"}, {}, sessions={"sess_a": 3, "sess_b": 0})
    lines = list(plan.lines(ROOM))
    assert "passed over: 1 still being processed" in lines
    assert "passed over: 1 not there any more" in lines
    assert "sessions that have to be listed, or their documents fetched: 1" in lines
    assert plan.requests == 4


def test_whether_it_fits_is_told() -> None:
    """More than disk_cache is refused, as is more than the filesystem has; what is evicted makes room."""
    plan = plan_of(*({"size": 40 * MIB, "room": 41 * MIB} for _ in range(3)))
    assert "123 MiB are wanted on the disk, and disk_cache allows 100M" in (plan.unfit(ROOM) or "")
    assert plan.unfit({**ROOM, "capacity": 200 * MIB}) is None
    full = plan.unfit({**ROOM, "capacity": 200 * MIB, "free": 20 * MIB})
    assert "123 MiB more are wanted on the disk, and its filesystem has 20.0 MiB to spare" in (full or "")
    assert plan.unfit({**ROOM, "capacity": 200 * MIB, "used": 190 * MIB, "free": 20 * MIB}) is None


def test_moments_and_ages_are_read() -> None:
    """Ages count from now, days begin in UTC as by-date has it; all else is refused."""
    assert warm_targets.moment("2026-11-20") == 1_795_132_800
    assert warm_targets.moment("2026-11-20T01:00+01:00") == 1_795_132_800
    assert abs(time.time() - warm_targets.moment("7d") - 7 * 86400) < 60
    assert moments.age_seconds("90m") == 5400
    for text in ("", "d", "7", "-1d", "7w", "9999999d", "²d", "tomorrow"):
        with pytest.raises(ValueError, match="examples"):
            moments.age_seconds(text)
    with pytest.raises(ValueError, match="neither an age nor a day"):
        warm_targets.moment("tomorrow")


def test_ids_and_names_are_no_paths() -> None:
    """What has the form of an id or of a file's name stands for itself, whatever lies around."""
    for text in ("rec_a", "sess_b", "rec_a.mp3", "rec_a@16000.wav"):
        assert not warm_targets.is_path(text)
        assert list(warm_targets.items_of(text, "/mnt", by_id=False)) == [text]
    for text in ("./rec_a", "/mnt", "notes.txt", ""):
        assert warm_targets.is_path(text)
