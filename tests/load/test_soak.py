"""The soak itself: it sees what is wrong, and is gone after Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import wait_until
from kallglotfs.demo.knobs import Fault
from soak.options import Options
from soak.run import Run
from soak.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.load

SMALL = Options(seconds=4.0, warm_up=1.0, readers=(2, 1, 1), files=6, memory_cache=8 * 1024 * 1024)


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A small stage."""
    with Stage(SMALL) as built:
        yield built


def test_a_wrong_oracle_is_a_violation(stage: Stage) -> None:
    """One byte that differs fails the run, and is told with file and offset."""
    for path in stage.oracle.iterdir():
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    outcome = Run(stage, SMALL, threading.Event()).run()
    assert any("other bytes" in each for each in outcome.violations)
    assert outcome.findings.kinds["sequential"].mismatches > 0
    assert {each["violation"] for each in outcome.findings.violations} == {"mismatch"}
    assert outcome.requests["api"] <= SMALL.files


def test_a_fault_that_does_not_pass_is_a_violation(stage: Stage) -> None:
    """A storage that refuses every URL: errors, told apart from wrong bytes; the fault is seen to fire."""
    refusal = Fault("storage", "status", status=403, times=-1)
    stage.service.knobs.faults = [refusal]
    outcome = Run(stage, SMALL, threading.Event()).run()
    assert refusal.fired > 0
    assert any("calls failed" in each for each in outcome.violations)
    assert not any("other bytes" in each for each in outcome.violations)
    assert outcome.requests["api"] > 0


def test_ctrl_c_ends_the_run_cleanly(tmp_path: Path) -> None:
    """Unmounted, no process left, figures written."""
    figures = tmp_path / "figures.json"
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "soak", "--minutes", "10", "--json", str(figures)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert wait_until(lambda: any(tmp_path.glob("kallglotfs-soak-*/warm-up")), 60)
            process.send_signal(signal.SIGINT)
            text, _ = process.communicate(timeout=100)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
    assert process.returncode == 130, text
    assert json.loads(figures.read_text())[0]["interrupted"]
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    assert not list(tmp_path.glob("kallglotfs-soak-*"))
