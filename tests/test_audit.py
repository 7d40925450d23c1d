"""The look-up of known vulnerabilities fails for a finding, and is not silent where it could not look."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "audit"
FOUND = "Found 2 known vulnerabilities in 1 package"
LOCKS = ("requirements.lock", "requirements-audit.lock")


@pytest.mark.parametrize(
    ("there", "status", "said", "code", "words"),
    [
        (True, 0, "No known vulnerabilities found", 0, "no known vulnerability in requirements-audit.lock"),
        (True, 1, FOUND, 1, "known vulnerabilities in requirements.lock"),
        (True, 1, "ERROR: Could not connect to PyPI's vulnerability feed", 0, "NOT AUDITED"),
        (True, 124, "", 0, "NOT AUDITED"),
        (True, 1, "ERROR: x: not pinned with a hash", 1, "cannot be audited"),
        (False, 1, FOUND, 0, "NOT AUDITED"),
    ],
)
def test_only_a_finding_fails_and_nothing_passes_in_silence(
    there: bool,  # noqa: FBT001
    status: int,
    said: str,
    code: int,
    words: str,
    tmp_path: Path,
) -> None:
    """With a pip-audit that answers as told."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(SCRIPT, tmp_path / "scripts" / "audit")
    for lock in LOCKS:
        (tmp_path / lock).write_text(lock)
    tool = tmp_path / ".venv-audit" / "bin" / "pip-audit"
    tool.parent.mkdir(parents=True)
    known = FOUND if there else "No known vulnerabilities found"
    tool.write_text(
        f'#!/bin/sh\ncase "$*" in *--no-deps*) echo "{known}"; exit 1;; esac\necho "{said}"\nexit {status}\n'
    )
    tool.chmod(0o755)
    digest = hashlib.sha256(LOCKS[1].encode()).hexdigest()
    (tmp_path / ".venv-audit" / ".installed").write_text(f"{digest}  -")
    run = subprocess.run(
        [tmp_path / "scripts" / "audit"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == code
    assert words in run.stderr


def test_everything_that_is_installed_is_locked_with_hashes() -> None:
    """Exact versions, a hash each, and no source but the index."""
    for name in LOCKS:
        entries = (SCRIPT.parent.parent / name).read_text().replace("\\\n", " ").splitlines()
        assert len(entries) > 20
        for entry in entries:
            assert "==" in entry.split()[0], entry
            assert "--hash=sha256:" in entry, entry
            assert "://" not in entry, entry
