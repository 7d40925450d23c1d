"""The peers: other mounts of the same files, and programs that show the limit of the link.

They get the plain URL, so none of them pays for an API or for signatures.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.checks import CheckFailed, check
from bench.mounts import detach, is_mounted
from bench.processes import end, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.corpus import Item
    from bench.storage import Variant

ROOT = Path(__file__).resolve().parent.parent
#: Python of the peers' own environment.
PYTHON = ROOT / ".venv-bench" / "bin" / "python"

#: Options that make rclone as quick as it gets whatever it is used for.
_RCLONE = (
    "--config=/dev/null",
    "--read-only",
    "--no-checksum",
    "--dir-cache-time=1h",
    "--attr-timeout=1h",
    "--poll-interval=0",
)
_LONGEST = 600.0


@dataclass(frozen=True, slots=True)
class PeerMount:
    """A mounted group of files."""

    label: str
    path: Path
    pid: int

    def file(self, item: Item) -> Path:
        """Return where a recording is."""
        return self.path / item.name


@dataclass(frozen=True, slots=True)
class Rclone:
    """One way to run `rclone mount`.

    Args:
        label: as the report shows it.
        options: besides those that are always right.
        full: whether it keeps files on disk.
    """

    label: str
    options: tuple[str, ...]
    full: bool = False

    @contextmanager
    def mount(
        self, directory: Path, variant: Variant, group: str, cache: Path | None = None
    ) -> Iterator[PeerMount]:
        """Mount a group below a directory until the block ends."""
        path = directory / "mnt"
        path.mkdir()
        kept = cache or directory / "cache"
        kept.mkdir(exist_ok=True)
        command = [
            "rclone",
            "mount",
            f":http,url='{variant.plain(group)}':",
            str(path),
            f"--cache-dir={kept}",
            f"--vfs-cache-mode={'full' if self.full else 'off'}",
            *_RCLONE,
            *self.options,
        ]
        if variant.authority:
            command.append(f"--ca-cert={variant.authority}")
        with _running(self.label, command, path, directory / "log") as mounted:
            yield mounted


#: rclone's variants without a cache; of these the best counts. Debian's rclone has no parallel chunk streams.
RCLONE_OFF = (
    Rclone("rclone", ()),
    Rclone(
        "rclone, tuned", ("--vfs-read-chunk-size=0", "--buffer-size=64M", "--max-read-ahead=1M", "--use-mmap")
    ),
)
RCLONE_FULL = (
    Rclone(
        "rclone, cache full", ("--buffer-size=64M", "--vfs-read-ahead=256M", "--max-read-ahead=1M"), full=True
    ),
)


@dataclass(frozen=True, slots=True)
class Fsspec:
    """`fsspec.fuse` over its HTTPFileSystem."""

    label: str = "fsspec"

    @contextmanager
    def mount(self, directory: Path, variant: Variant, group: str) -> Iterator[PeerMount]:
        """Mount a group below a directory until the block ends."""
        path = directory / "mnt"
        path.mkdir()
        command = [str(PYTHON), "-m", "bench.fsspec_mount", variant.plain(group), str(path)]
        with _running(self.label, command, path, directory / "log") as mounted:
            yield mounted


@contextmanager
def _running(label: str, command: list[str], path: Path, log: Path) -> Iterator[PeerMount]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("KALLGLOT", "RCLONE"))
    }
    with log.open("wb") as said:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=said, stderr=said)
    # Frees a reader that would hang for ever.
    watchdog = threading.Timer(_LONGEST, process.kill)
    watchdog.daemon = True
    watchdog.start()
    try:
        wait_for(lambda: is_mounted(path) or process.poll() is not None, 20, f"{label} to mount")
        if process.poll() is not None:
            raise CheckFailed(f"{label} did not mount: {log.read_text()[-300:]}")
        yield PeerMount(label, path, process.pid)
    finally:
        watchdog.cancel()
        detach(path)
        end(process)


def curl_ranges(url: str, size: int, streams: int, authority: Path | None) -> float:
    """Fetch a file with as many curls as streams, each an equal range, and return the seconds it took.

    Raises:
        CheckFailed: one of them failed or brought the wrong number of bytes.
    """
    part = -(-size // streams)
    command = ["curl", "-sf", "-o", "/dev/null", "-w", "%{size_download}"]
    command += ["--cacert", str(authority)] if authority else []
    began = time.perf_counter()
    running = [
        subprocess.Popen(
            [*command, "-r", f"{start}-{min(start + part, size) - 1}", url],
            stdout=subprocess.PIPE,
        )
        for start in range(0, size, part)
    ]
    brought = [process.communicate(timeout=300)[0] for process in running]
    seconds = time.perf_counter() - began
    check(all(process.returncode == 0 for process in running), "a curl failed")
    check(sum(int(one) for one in brought) == size, "the curls brought the wrong number of bytes")
    return seconds


def aria2(url: str, size: int, streams: int, authority: Path | None) -> float:
    """Fetch a file with aria2 into memory (/dev/shm) and return the seconds it took."""
    target = Path("/dev/shm") / f"kallglotfs-bench-{os.getpid()}"
    command = [
        "aria2c",
        "-q",
        "--no-conf",
        f"-x{min(streams, 16)}",
        f"-s{streams}",
        "-k1M",
        "--file-allocation=none",
    ]
    command += ["--allow-overwrite=true", "-d", str(target.parent), "-o", target.name]
    command += [f"--ca-certificate={authority}"] if authority else []
    try:
        began = time.perf_counter()
        done = subprocess.run([*command, url], timeout=300, check=False, capture_output=True)
        seconds = time.perf_counter() - began
        check(done.returncode == 0, f"aria2c failed ({done.returncode})")
        check(target.stat().st_size == size, "aria2c brought the wrong number of bytes")
    finally:
        target.unlink(missing_ok=True)
        Path(f"{target}.aria2").unlink(missing_ok=True)
    return seconds
