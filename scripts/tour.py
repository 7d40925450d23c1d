"""The demo: a service on localhost, a mount of it, and what to try. `scripts/demo` calls this.

With `--check` it does unattended what a visitor would, and proves it.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from collections.abc import Iterator

BIN = Path(sys.executable).parent
FORMATS = ("mp3", "wav", "ogg")
#: Seconds any one step may take.
PATIENCE = 120
#: Small enough that an hour of sound does not stay in it: the copy then has to renew leases.
CHECK_CACHE = "32M"


class Failed(Exception):
    """A step did not do what it should; the message is for the user."""


class Service:
    """The demo service, in a process of its own.

    Args:
        facts: what it said when it was ready.
    """

    def __init__(self, facts: dict[str, Any]) -> None:
        self.api_url: str = facts["api_url"]
        self.api_key: str = facts["api_key"]
        self._control_url: str = facts["control_url"]

    def control(self, method: str, path: str) -> requests.Response:
        """Call a control route."""
        response = requests.request(method, f"{self._control_url}/{path}", timeout=PATIENCE)
        response.raise_for_status()
        return response

    def recordings(self) -> list[dict[str, Any]]:
        """Return the calls there are, oldest first."""
        return sorted(
            self.control("GET", "recordings").json(), key=lambda row: (row["created_at"], row["id"])
        )

    def audio(self, recording_id: str, audio_format: str) -> bytes:
        """Return the bytes as the service has them."""
        return self.control("GET", f"audio/{recording_id}?format={audio_format}").content

    def spent(self) -> Counter[str]:
        """Return the API requests so far, by recording."""
        records = self.control("GET", "requests").json()["records"]
        asked = Counter(each["recording"] or "session lists" for each in records if each["kind"] == "api")
        known = {row["id"] for row in self.recordings()} | {"session lists"}
        return Counter({name if name in known else "key check": count for name, count in asked.items()})


@contextlib.contextmanager
def running_service() -> Iterator[Service]:
    """Run the service until the block ends."""
    command = [BIN / "kallglotfs", "demo", "--json"]
    # Its own session: Ctrl-C is for us, and we end it when nothing needs it any more.
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise Failed("the demo service did not start")
            yield Service(json.loads(line))
        finally:
            process.terminate()


@contextlib.contextmanager
def mounted(service: Service, path: Path, state: Path, options: str) -> Iterator[None]:
    """Mount the service's calls until the block ends."""
    environment = dict(os.environ, KALLGLOT_API_KEY=service.api_key)
    given = ["-o", f"api_url={service.api_url},state_dir={state},{options}"]
    run([BIN / "mount.kallglotfs", path, *given], env=environment)
    try:
        sessions = sorted({row["session_id"] for row in service.recordings()})
        run([BIN / "kallglotfs", "add", *given[:1], given[1], *sessions], env=environment)
        yield
    finally:
        if os.path.ismount(path):
            run([BIN / "kallglotfs", "umount", "--lazy", path])


def run(command: list[str | Path], **kwargs: Any) -> str:
    """Run a program and return what it prints.

    Raises:
        Failed: it failed; its own last line says why.
    """
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, **kwargs)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        raise Failed(f"{Path(command[0]).name}: {said[-1]}")
    return done.stdout


def show(service: Service, path: Path) -> None:
    """Print what to try."""
    rows = service.recordings()
    print(f"\nCalls are mounted on {path}\n")
    for row in rows:
        minutes, seconds = divmod(round(row["duration"]), 60)
        name = f"{row['id']}.{row['format']}"
        print(f"  recordings/{name:28} {row['created_at'][:10]}  {minutes:3}:{seconds:02}  {row['channel']}")
    first, long = rows[0], max(rows, key=lambda row: row["duration"])
    print(f"""
Try, in another terminal:

  ls -l {path}/recordings
  mpv {path}/recordings/{first["id"]}.mp3
  mpv --cache=no --start=50% {path}/recordings/{long["id"]}.mp3
                              an hour: only what is heard is fetched
  ffprobe {path}/recordings/{first["id"]}@16000.wav         any format, any rate
  getfattr -d {path}/recordings/{first["id"]}.mp3
  rsync -a {path}/recordings/ archive/                      run it twice: the second copies nothing

Ctrl-C unmounts and ends.""")


def wait_for_ctrl_c(path: Path) -> None:
    """Return on SIGINT or SIGTERM, or when somebody has unmounted."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    while not ended.wait(1.0) and os.path.ismount(path):
        pass
    print("\nunmounting")


def check(service: Service, path: Path, work: Path) -> None:
    """Do what a visitor would, and prove it.

    Raises:
        Failed: something was not as it should be.
    """
    rows = service.recordings()
    listed = sorted(each.name for each in (path / "recordings").iterdir())
    wanted = sorted(f"{row['id']}.{form}" for row in rows for form in FORMATS)
    expect(listed == wanted, f"the listing shows {len(listed)} files, not the {len(wanted)} there are")
    print(f"listed      {len(listed)} files")

    total = 0
    for name in listed:
        recording_id, _, form = name.rpartition(".")
        # First, since the service may take longer to encode an hour than a read may take.
        whole = hashlib.sha256(service.audio(recording_id, form)).digest()
        content = (path / "recordings" / name).read_bytes()
        expect(hashlib.sha256(content).digest() == whole, f"{name}: the bytes differ from the service's")
        total += len(content)
    print(f"read        {total / 1e6:.0f} MB, every byte as the service has it")

    for name in listed:
        probe = ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0"]
        length = float(run([*probe, path / "recordings" / name]))
        row = next(row for row in rows if row["id"] == name.rpartition(".")[0])
        expect(abs(length - row["duration"]) <= 1 + row["duration"] / 50, f"{name}: lasts {length} s")
    print(f"decoded     {len(listed)} files with ffprobe, each as long as its call")

    before = service.spent()
    expect(max(before[row["id"]] for row in rows) <= len(FORMATS), "more than one request per file was spent")
    service.control("POST", "revoke-urls")
    forget_pages(path)
    copied = files_copied(path, work / "archive")
    expect(copied == len(listed), f"rsync copied {copied} files, not {len(listed)}")
    renewed = sum((service.spent() - before).values())
    expect(0 < renewed <= len(listed), f"{renewed} renewals for {len(listed)} files")
    print(f"copied      {copied} files with rsync after every URL had been revoked: {renewed} renewals")
    after = service.spent()
    copied = files_copied(path, work / "archive")
    expect(copied == 0, f"the second rsync copied {copied} files")
    expect(service.spent() == after, "the second rsync spent API requests")
    print("copied      nothing the second time, for no API request")

    print("\nAPI requests spent, renewals included:")
    for name, count in sorted(after.items()):
        print(f"  {name:20} {count:3}" + (f"   in {len(FORMATS)} formats" if name.startswith("rec_") else ""))


def forget_pages(path: Path) -> None:
    """Let the kernel drop what it has of the files, which it would otherwise copy from without asking us."""
    for each in (path / "recordings").iterdir():
        descriptor = os.open(each, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def files_copied(path: Path, target: Path) -> int:
    """Copy with rsync and return how many files it transferred."""
    said = run(["rsync", "-a", "--stats", f"{path}/recordings/", f"{target}/"])
    line = next(line for line in said.splitlines() if "files transferred" in line)
    return int(line.rpartition(":")[2].strip().replace(",", ""))


def expect(truth: bool, complaint: str) -> None:  # noqa: FBT001 - an assertion for users
    """Raise `Failed` unless something is true."""
    if not truth:
        raise Failed(complaint)


def main() -> int:
    """Run the demo; returns the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description="Try kallglotfs without an account.")
    parser.add_argument("mount_point", nargs="?", type=Path, metavar="MOUNTPOINT", help="[a new directory]")
    parser.add_argument("--check", action="store_true", help="unattended: prove that it works, then end")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kallglot-demo-") as folder:
        work = Path(folder)
        path = (given.mount_point or work / "calls").absolute()
        path.mkdir(parents=True, exist_ok=True)
        options = f"formats=all,memory_cache={CHECK_CACHE}" if given.check else "formats=native"
        try:
            with running_service() as service, mounted(service, path, work / "state", options):
                if given.check:
                    check(service, path, work)
                else:
                    show(service, path)
                    wait_for_ctrl_c(path)
        except Failed as failure:
            print(f"scripts/demo: {failure}", file=sys.stderr)
            return 1
        expect(not os.path.ismount(path), "still mounted")
    if given.check:
        print("\nunmounted, all well")
    return 0


if __name__ == "__main__":
    sys.exit(main())
