"""`/.kallglotfs/` on a real mount: the state of everything, at no cost and without a secret."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from conftest import environment
from kallglotfs.demo.knobs import Fault

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import MountedFolder
    from kallglotfs.demo.requestlog import RequestLog
    from kallglotfs.demo.server import DemoServer

SIZE = 700_000


def test_the_state_is_there_and_not_listed(
    service: DemoServer, mount: Callable[..., MountedFolder], requests_made: RequestLog, tmp_path: Path
) -> None:
    """JSON for people and programs, what was fetched and served, what it cost."""
    service.add_recording("rec_a", size=SIZE)
    folder = mount(disk_cache="64M", cache_dir=tmp_path / "cache")
    own = folder.path / ".kallglotfs"
    assert ".kallglotfs" not in os.listdir(folder.path)
    assert sorted(os.listdir(own)) == ["known.csv", "metrics", "status.json", "why"]
    assert (folder.recordings / "rec_a.mp3").read_bytes() == service.audio("rec_a")
    state = json.loads((own / "status.json").read_text())
    assert state["pid"] == folder.process.pid
    assert state["mount_point"] == str(folder.path)
    assert state["counts"]["api_requests"] == requests_made.count("api") == 1
    assert state["counts"]["fetched_bytes"] == SIZE
    assert state["counts"]["served_bytes"] >= SIZE
    assert state["known"]["recordings"] == 1
    assert state["disk"]["failing"] is False
    assert requests_made.count("api") == 1


def test_metrics_are_what_prometheus_reads(
    service: DemoServer, mount: Callable[..., MountedFolder], requests_made: RequestLog
) -> None:
    """Parsed by its own parser."""
    service.knobs.change({"rate_limit": 60})
    service.add_recording("rec_a", size=SIZE)
    folder = mount()
    assert (folder.recordings / "rec_a.mp3").read_bytes() == service.audio("rec_a")
    text = (folder.path / ".kallglotfs" / "metrics").read_text()
    samples = {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["kallglotfs_api_requests_total"] == requests_made.count("api") == 1
    assert samples["kallglotfs_fetched_bytes_total"] == SIZE
    assert samples["kallglotfs_budget_limit"] == 60
    assert 0 <= samples["kallglotfs_uptime_seconds"] < 120


def test_why_tells_the_story_of_a_recording(
    service: DemoServer, mount: Callable[..., MountedFolder], requests_made: RequestLog
) -> None:
    """What is known, cached, spent, and what went wrong last; of a recording nobody knows it tells that."""
    service.add_recording("rec_a", size=SIZE)
    folder = mount(timeout="2s")
    why = folder.path / ".kallglotfs" / "why"
    assert os.listdir(why) == []
    assert json.loads((why / "rec_never").read_text())["known"] is False
    assert requests_made.count("api") == 0
    (folder.recordings / "rec_a.mp3").read_bytes()
    assert os.listdir(why) == ["rec_a"]
    told = json.loads((why / "rec_a").read_text())
    assert (told["known"], told["status"], told["api_requests"]) == (True, "ready", 1)
    assert told["cached_bytes"] == {"memory": SIZE}
    assert 3000 < told["renditions"][0]["lease_seconds_left"] < 3600
    assert told["last_error"] is None
    service.knobs.faults = [Fault("api", "status", status=402, times=-1)]
    assert not os.access(folder.recordings / "rec_b.mp3", os.F_OK)
    told = json.loads((why / "rec_b").read_text())
    assert "402" in told["last_error"]
    assert not (why / "not-an-id").exists()


def test_the_known_recordings_are_a_table_that_can_be_added_elsewhere(
    service: DemoServer, mount: Callable[..., MountedFolder], tmp_path: Path
) -> None:
    """A CSV with the ids in front, which `kallglotfs add` reads."""
    folder = mount()
    os.listdir(folder.path / "sessions" / "sess_01HDELIVERY")
    table = tmp_path / "known.csv"
    table.write_bytes((folder.path / ".kallglotfs" / "known.csv").read_bytes())
    with table.open() as lines:
        rows = list(csv.DictReader(lines))
    assert [row["id"] for row in rows] == ["rec_01HABC987654321", "rec_01HDELIVERYA", "rec_01HDELIVERYC"]
    assert rows[0]["created_at"] == "2026-03-02T09:14:46Z"
    added = subprocess.run(
        [sys.executable, "-m", "kallglotfs", "add", "--file", table, "--api-url", service.api_url,
         "--state-dir", tmp_path / "elsewhere"],
        env=environment(service.api_key), capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert "3 recordings added" in added.stdout


def test_nothing_of_it_is_secret(service: DemoServer, mount: Callable[..., MountedFolder]) -> None:
    """No key, no signature."""
    folder = mount()
    session = folder.path / "sessions" / "sess_01HDELIVERY"
    for name in os.listdir(session):
        (session / name).read_bytes()
    own = folder.path / ".kallglotfs"
    everything = b"".join((own / name).read_bytes() for name in ("status.json", "metrics", "known.csv"))
    everything += b"".join((own / "why" / name).read_bytes() for name in os.listdir(own / "why"))
    assert len(everything) > 3000
    for secret in (service.api_key, "signature=", "+15550100"):
        assert secret.encode() not in everything
