"""What the numbers were measured on; nothing that names the machine or its place."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path

from bench.peers import PYTHON

#: Programs whose version belongs to a result, and what prints it.
_PROGRAMS = {
    "nginx": ("nginx", "-v"),
    "rclone": ("rclone", "version"),
    "fsspec": (str(PYTHON), "-c", "import fsspec; print('fsspec', fsspec.__version__)"),
    "curl": ("curl", "--version"),
    "aria2": ("aria2c", "--version"),
    "rsync": ("rsync", "--version"),
    "mpv": ("mpv", "--version"),
    "libfuse": ("fusermount3", "--version"),
}
_VERSION = re.compile(r"\d+\.\d+[\w.\-]*")


def describe() -> dict[str, str]:
    """Return facts and versions by name."""
    memory = int(_first("/proc/meminfo", r"MemTotal:\s*(\d+)") or 0)
    facts = {
        "processor": _first("/proc/cpuinfo", r"model name\s*:\s*(.*)") or platform.machine(),
        "cores": str(os.cpu_count()),
        "memory": f"{memory / 2**20:.0f} GiB",
        "kernel": re.match(r"[\d.]+", platform.release())[0],  # type: ignore[index]
        "system": _first("/etc/os-release", r'PRETTY_NAME="(.*)"'),
        "Python": platform.python_version(),
    }
    return facts | {name: _version(command) for name, command in _PROGRAMS.items()}


def _first(path: str, pattern: str) -> str:
    match = re.search(pattern, Path(path).read_text(errors="replace")) if Path(path).exists() else None
    return match[1].strip() if match else ""


def _version(command: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except OSError:
        return "not installed"
    match = _VERSION.search(done.stdout + done.stderr)
    return match[0] if match else "unknown"
