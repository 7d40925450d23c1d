"""The log of a real mount: for the journal, as JSON, in a storm of failures, and the status in it."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from conftest import environment, wait_until
from daemons import HELPER, daemon, entries, stop
from kallglotfs.demo.knobs import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kallglotfs.demo.server import DemoServer

STORM = 500


class Journal:
    """A stream of which a daemon is told that it is the journal's."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        found = os.fstat(self.writing)
        self.environ = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        self.content = b""
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    @property
    def lines(self) -> list[str]:
        """What was written so far."""
        return self.content.decode().splitlines()

    def _read(self) -> None:
        while part := os.read(self.reading, 65536):
            self.content += part
        os.close(self.reading)

    def close(self) -> None:
        """Close our end, and wait for the daemon's to be closed."""
        os.close(self.writing)
        self._thread.join(20)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Make a journal; what it holds is kept for the search for secrets."""
    made = Journal()
    yield made
    made.close()
    (tmp_path / "journal.log").write_bytes(made.content)


def failure(path: Path) -> int | None:
    """Return the errno of reading a file, None when it can be read."""
    try:
        path.read_bytes()
    except OSError as error:
        return error.errno
    return None


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_the_journal_gets_a_priority_on_every_line(
    log_format: str, service: DemoServer, tmp_path: Path, journal: Journal
) -> None:
    """And no time of its own in a text: the journal has one."""
    service.add_recording("rec_a", size=1000)
    streams = {"stderr": journal.writing, "start_new_session": True}
    settings = {"log_file": None, "log_level": "debug", "log_format": log_format}
    with daemon(service, tmp_path, environ=journal.environ, streams=streams, **settings) as mounted:
        assert failure(mounted.recordings / "rec_a.mp3") is None
        service.knobs.faults = [Fault("api", "status", status=403, times=-1)]
        assert failure(mounted.recordings / "rec_b.mp3") == errno.EACCES
        assert stop(mounted) == 0
        assert wait_until(lambda: "unmounted" in journal.content.decode(), 10)
    assert all(re.match(r"<[3467]>", line) for line in journal.lines)
    told = {line[:3]: line[3:] for line in journal.lines}
    assert set(told) >= {"<4>", "<6>", "<7>"}
    if log_format == "json":
        (refused,) = [
            each for each in map(json.loads, (line[3:] for line in journal.lines)) if "errno" in each
        ]
        assert (refused["errno"], refused["recording"], refused["level"]) == ("EACCES", "rec_b", "warning")
        assert refused["mount"] == str(tmp_path / "mnt")
    else:
        assert re.match(
            r"kallglotfs\.operations: (open|getattr) '/recordings/rec_b\.mp3': EACCES", told["<4>"]
        )


def test_a_mount_that_fails_is_an_error_in_the_journal(tmp_path: Path, journal: Journal) -> None:
    """The line that says why, as everywhere, with its priority."""
    command = [*HELPER, str(tmp_path / "none"), "--foreground"]
    given = environment("sk_test_x") | journal.environ
    done = subprocess.run(command, env=given, stderr=journal.writing, check=False, timeout=60)
    assert done.returncode == 32
    assert wait_until(lambda: bool(journal.lines))
    assert re.fullmatch(r"<3>mount\.kallglotfs: .*none.*", journal.lines[0])


def test_a_stream_that_only_inherited_the_variable_gets_whole_lines(
    service: DemoServer, tmp_path: Path, journal: Journal
) -> None:
    """As a redirection to a file below a unit: with time and level, without priorities."""
    with (tmp_path / "redirected.log").open("w") as file:
        streams = {"stderr": file, "start_new_session": True}
        with daemon(service, tmp_path, environ=journal.environ, streams=streams, log_file=None) as mounted:
            assert stop(mounted) == 0
    lines = (tmp_path / "redirected.log").read_text().splitlines()
    assert lines
    assert all(re.match(r"\d{4}-\d\d-\d\d [\d:,]+ INFO ", line) for line in lines)


def test_a_storm_of_failures_is_a_few_lines_with_the_right_count(service: DemoServer, tmp_path: Path) -> None:
    """500 reads while the storage is down: as JSON, of which every line is an object, none with a secret."""
    for index in range(STORM):
        service.add_recording(f"rec_s{index}", size=1000)
    service.knobs.faults = [Fault("storage", "status", status=503, times=-1)]
    with daemon(service, tmp_path, log_format="json", timeout="300ms") as mounted:
        with ThreadPoolExecutor(32) as pool:
            paths = [mounted.recordings / f"rec_s{index}.mp3" for index in range(STORM)]
            found = Counter(pool.map(failure, paths))
        assert None not in found
        assert mounted.log.count('"level": "warning"') < 10
        mounted.process.send_signal(signal.SIGTERM)
        assert mounted.process.wait(15) == 0
        log = entries(mounted.log)
    failures = [each for each in log if "errno" in each]
    told: Counter[str] = Counter()
    for each in failures:
        told[each["errno"]] += each.get("repeated", 1)
    # A look-up whose open fails is asked for by the kernel once; who times out in it is told of as well.
    assert {name: told[name] for name in told} == {errno.errorcode[number]: n for number, n in found.items()}
    assert len(failures) < 20
    assert all(re.match(r"rec_s\d+$", each["recording"]) for each in failures)
    assert all(each["message"] and each["time"].endswith("Z") for each in log)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_sigusr1_writes_the_status_whatever_the_level(
    log_format: str, service: DemoServer, tmp_path: Path
) -> None:
    """A line for each part, or one object; as often as it is asked for."""
    service.add_recording("rec_a", size=1000)
    with daemon(service, tmp_path, log_format=log_format, log_level="error") as mounted:
        assert failure(mounted.recordings / "rec_a.mp3") is None
        for turn in (1, 2, 3):
            mounted.process.send_signal(signal.SIGUSR1)
            last = '"message": "status"' if log_format == "json" else "status of passed_over"
            assert wait_until(lambda: mounted.log.count(last) >= turn, 20)  # noqa: B023 - done before it changes
        assert failure(mounted.recordings / "rec_a.mp3") is None
        assert stop(mounted) == 0
        log = mounted.log
    if log_format == "json":
        states = [each["status"] for each in entries(log)]
        assert len(states) == 3
        assert states[0]["counts"]["api_requests"] == states[2]["counts"]["api_requests"] >= 1
        assert states[0]["mount_point"] == str(tmp_path / "mnt")
    else:
        lines = [line for line in log.splitlines() if " status of " in line]
        assert len({line.split(" status of ")[1].split(":")[0] for line in lines}) * 3 == len(lines)
        assert sum("status of leases: kept=1" in line for line in lines) == 3
        assert all(" INFO kallglotfs.asked_for: " in line for line in lines)
