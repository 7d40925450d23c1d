"""Who is calling, by name: real processes, and procfs as it can be."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from conftest import wait_until
from kallglotfs.programs import DeniedPrograms


@pytest.mark.parametrize(
    "name", ["updatedb", "tracker-miner-fs-3", "näscher", "ffmpegthumbnailer-of-somebody", "a b"]
)
def test_a_running_program_is_told_by_its_name(name: str, tmp_path: Path) -> None:
    """Names longer than Linux keeps are cut as Linux cuts them, in bytes."""
    program = tmp_path / name
    shutil.copy("/bin/sleep", program)
    with subprocess.Popen([program, "60"]) as process:
        try:
            # The kernel sets the name a moment after it tells that the program runs.
            assert wait_until(lambda: DeniedPrograms([name]).has(process.pid))
            assert not DeniedPrograms(["sleep", "other"]).has(process.pid)
        finally:
            process.kill()


def test_a_thread_belongs_to_its_program() -> None:
    """Whatever it calls itself."""
    comm = Path("/proc/self/comm").read_text().rstrip("\n")
    seen: list[bool] = []
    thread = threading.Thread(
        target=lambda: seen.append(DeniedPrograms([comm]).has(threading.get_native_id()))
    )
    thread.start()
    thread.join()
    assert seen == [True]


def test_nobody_is_kept_out_by_mistake(tmp_path: Path) -> None:
    """No names, no process, another namespace, a procfs that tells nothing."""
    assert not DeniedPrograms([]).has(os.getpid())
    assert not DeniedPrograms(["x"]).has(0)
    assert not DeniedPrograms(["x"]).has(-5)
    assert not DeniedPrograms(["x"]).has(2**22 + 1)
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "comm").write_bytes(b"\xff\n")
    (tmp_path / "7" / "status").write_bytes(b"Tgid:\n")
    assert not DeniedPrograms(["x"], tmp_path).has(7)
    assert not DeniedPrograms(["x"], tmp_path).has(8)
