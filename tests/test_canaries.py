"""The search for secrets finds them: a check that cannot fail would be none."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from canaries import leaks, suspects
from kallglotfs.demo.server import API_KEY

KEY = "CANARY+/key~0123"
TESTS = Path(__file__).parent


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        KEY.lower(),
        quote(KEY, safe=""),
        quote(KEY, safe="").lower(),
        KEY.encode().hex(),
        *(base64.b64encode(b"x" * shift + KEY.encode() + b"yz").decode() for shift in range(5)),
        base64.urlsafe_b64encode(f"user:{KEY}".encode()).decode(),
    ],
)
def test_a_secret_is_found_in_every_form(text: str) -> None:
    """Plain, percent-encoded, as hex and in base64, whatever is around it."""
    assert leaks(f"before {text} after".encode(), [KEY]) == [KEY]
    assert leaks(b"before after", [KEY]) == []


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("mnt.log", f"key {API_KEY}", True),
        ("log", "Authorization: Bearer x", True),
        ("a.out.log", "GET https://s/x?a=1&Signature=x", True),
        ("a.log", "u=https%3A%2F%2Fs%3FSignature%3Dx", True),
        ("default.sqlite-wal", KEY, True),
        ("a.log", "sk_test_**** Bearer **** ?signature=****&x signature=", False),
        ("key", API_KEY, False),
    ],
)
def test_what_the_program_has_written_is_searched(tmp_path: Path, name: str, text: str, found: bool) -> None:  # noqa: FBT001
    """Logs, outputs and catalogs; what a test wrote for the program to read is left out."""
    (tmp_path / "below").mkdir()
    path = tmp_path / "below" / name
    path.write_text(text)
    try:
        assert bool(suspects(tmp_path, [KEY, API_KEY])) == found
    finally:
        path.unlink()  # else the search at the end of this very run finds it


@pytest.mark.parametrize("leak", [f"key {API_KEY}", ""])
def test_a_run_whose_logs_hold_a_secret_fails(tmp_path: Path, leak: str) -> None:
    """Although all of its tests passed."""
    (tmp_path / "test_it.py").write_text(
        f"def test_it(tmp_path):\n    (tmp_path / 'mnt1.log').write_text({leak!r} + ' words')\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "conftest", "--rootdir", tmp_path, tmp_path]
    command += [f"--basetemp={tmp_path / 'temp'}", "-p", "no:cacheprovider"]
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    run = subprocess.run(
        command,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
    )
    for log in (tmp_path / "temp").rglob("*.log"):
        log.unlink()
    assert "1 passed" in run.stdout, run.stdout + run.stderr
    assert run.returncode == bool(leak)
    assert ("secrets in what the program has written" in run.stdout) == bool(leak)
