"""The table of metrics, the documents made from it, and the listener that serves it."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from conftest import environment
from kallglotfs.metrics import METRICS, PREFIX, markdown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import MountedFolder
    from kallglotfs.demo.requestlog import RequestLog
    from kallglotfs.demo.server import DemoServer

DOCS = Path(__file__).parent.parent / "docs"
#: Of prometheus_client, for every process on Linux.
PROCESS = {
    "process_virtual_memory_bytes",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_max_fds",
}
NAMES = {each.full_name: each for each in METRICS}


def test_names_follow_the_conventions() -> None:
    """Lower case, each once, units spelled out, a sentence of help; no label grows with the recordings."""
    assert len(NAMES) == len(METRICS)
    for each in METRICS:
        assert re.fullmatch(r"[a-z][a-z0-9_]+", each.name)
        assert each.help.endswith(".")
        assert not set(each.labels) & {"id", "recording", "path", "pid", "program", "file"}
        assert ("bytes" in each.name) == ("_bytes" in each.name)


def test_the_document_has_every_metric() -> None:
    """Its table is the one that is made from the code."""
    text = (DOCS / "monitoring.md").read_text()
    made = text.partition("<!-- made by: python -m kallglotfs.metrics -->\n")[2].partition("<!-- end -->")[0]
    assert made == markdown(), "run: python -m kallglotfs.metrics, and put it into docs/monitoring.md"


def expressions(value: Any) -> Iterator[str]:
    """Yield every query in a dashboard."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in ("expr", "query") and isinstance(inner, str):
                yield inner
            else:
                yield from expressions(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from expressions(inner)


def used_in(text: str) -> set[str]:
    return set(re.findall(rf"\b(?:{PREFIX}|process_)[a-z0-9_]+", text))


def test_every_query_of_the_dashboard_asks_for_a_metric_that_exists() -> None:
    """And shows labels that it has; panels do not lie over each other."""
    dashboard = json.loads((DOCS / "grafana.json").read_text())
    queries = list(expressions(dashboard))
    assert len(queries) > 20
    for query in queries:
        assert used_in(query) <= NAMES.keys() | PROCESS, query
    places = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & places
        places |= cells
        for target in panel["targets"]:
            labels = {"instance", "job"}
            for name in used_in(target["expr"]) & NAMES.keys():
                labels |= set(NAMES[name].labels)
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= labels


def test_every_alert_asks_for_a_metric_that_exists() -> None:
    """So do the examples of the document."""
    text = (DOCS / "monitoring.md").read_text()
    for line in re.findall(r"expr: (.*)", text):
        assert used_in(line) <= NAMES.keys() | PROCESS, line


@pytest.fixture
def port() -> int:
    """A free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(port: int, path: str, method: str = "GET") -> tuple[int, str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.headers.get("Content-Type", ""), answer.read().decode()
    finally:
        connection.close()


def samples(text: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_listener_serves_the_metrics_and_nothing_else(
    service: DemoServer, mount: Callable[..., MountedFolder], requests_made: RequestLog, port: int
) -> None:
    """What Prometheus parses, the same as the file in the mount, at no API request, without a secret."""
    service.knobs.change({"rate_limit": 60})
    service.add_recording("rec_a", size=700_000)
    folder = mount(metrics=f"127.0.0.1:{port}")
    assert (folder.recordings / "rec_a.mp3").read_bytes() == service.audio("rec_a")
    status, kind, text = get(port, "/metrics")
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    found = samples(text)
    assert found["kallglotfs_api_requests_total",] == requests_made.count("api") == 1
    assert found["kallglotfs_fetched_bytes_total",] == 700_000
    hits, misses = (found[f"kallglotfs_cache_{name}_total", "memory"] for name in ("hits", "misses"))
    assert hits + misses > 0
    assert found["kallglotfs_budget_limit",] == 60
    assert {name for name, *_ in found} <= NAMES.keys() | PROCESS
    assert "rec_a" not in text
    assert service.api_key not in text
    file = samples((folder.path / ".kallglotfs" / "metrics").read_text())
    assert file.keys() == found.keys()
    assert file["kallglotfs_fetched_bytes_total",] == found["kallglotfs_fetched_bytes_total",]
    for path in ("/", "/metrics/", "/status.json", "/../etc/passwd"):
        assert get(port, path)[0::2] == (404, "")
    assert get(port, "/metrics", "HEAD")[0::2] == (200, "")
    assert get(port, "/metrics", "POST")[0] == 405
    assert requests_made.count("api") == 1
    # A second mount at the same address is refused, in one line.
    options = folder.arguments[folder.arguments.index("-o") + 1]
    other = folder.path.parent / "other"
    other.mkdir()
    done = subprocess.run(
        [*folder.arguments[:3], str(other), "--foreground", "-o", options],
        env=environment(service.api_key), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 32
    assert done.stderr.count("\n") == 1
    assert f"metrics: cannot listen on 127.0.0.1:{port}: Address already in use" in done.stderr
    assert folder.unmount() == 0
    with pytest.raises(ConnectionRefusedError):
        get(port, "/metrics")
