"""The recipes' scripts, run as they stand in the document against a real mount."""

from __future__ import annotations

import contextlib
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from conftest import end, mounted, wait_until
from kallglotfs.demo.knobs import Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import MountedFolder
    from kallglotfs.demo.server import DemoServer

RECIPES = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
CALLS = ["rec_01HABC987654321", "rec_01HHOTELMIX"]


def script(name: str, folder: MountedFolder, to: Path) -> Path:
    """Write a script of the recipes, with this test's directories in it."""
    found = re.search(rf"```sh\n(#!/bin/sh\n# \S*{name}\b.*?)```", RECIPES, re.DOTALL)
    assert found
    text = found[1].replace("/mnt/calls", str(folder.path)).replace("/srv", str(to))
    path = to / name
    path.write_text(text)
    path.chmod(0o755)
    return path


def run(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script as cron would: no terminal, nothing to read."""
    return subprocess.run(
        [path, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_nightly_archive_copies_once_and_never_nothing(
    service: DemoServer, mount: Callable[..., MountedFolder], tmp_path: Path
) -> None:
    """A request per recording, none the second night; without a mount it fails."""
    folder = mount()
    for call in CALLS:
        (folder.recordings / f"{call}.mp3").stat()
    spent = service.requests.count("api")
    archive = script("archive-calls", folder, tmp_path)
    for _ in range(2):
        done = run(archive)
        assert done.returncode == 0, done.stderr
    assert spent == service.requests.count("api") == len(CALLS)
    for call in CALLS:
        assert (tmp_path / "archive" / f"{call}.mp3").read_bytes() == service.audio(call, "mp3")
    end(folder.process, folder.path)
    (folder.path / "recordings").mkdir(parents=True, exist_ok=True)
    done = run(archive)
    assert done.returncode == 1
    assert "not mounted" in done.stderr


def test_the_transcription_pipeline_does_each_call_once(
    service: DemoServer, mount: Callable[..., MountedFolder], tmp_path: Path
) -> None:
    """What breaks off is done again, what is done is not."""
    folder = mount()
    for call in CALLS:
        (folder.recordings / f"{call}.mp3").stat()
    pipeline = script("transcribe-calls", folder, tmp_path)
    texts = tmp_path / "texts"
    assert run(pipeline, "sh", "-c", "cat >/dev/null; false").returncode == 0
    assert not list(texts.glob("*.txt"))
    probe = "ffprobe -v error -show_entries stream=sample_rate,channels -of csv=p=0 -"
    assert run(pipeline, *probe.split()).returncode == 0
    assert {path.name for path in texts.glob("*.txt")} == {f"{call}.txt" for call in CALLS}
    assert {path.read_text().strip() for path in texts.glob("*.txt")} == {"16000,1"}
    done = run(pipeline, "false")
    assert done.returncode == 0
    assert len(list(texts.glob("*.txt"))) == len(CALLS)
    assert service.requests.count("api") == len(CALLS)


def test_what_cannot_be_read_is_not_taken_for_transcribed(
    service: DemoServer, mount: Callable[..., MountedFolder], tmp_path: Path
) -> None:
    """It is tried again the next time."""
    folder = mount(timeout="2s")
    (folder.recordings / f"{CALLS[0]}.mp3").stat()
    pipeline = script("transcribe-calls", folder, tmp_path)
    service.knobs.faults = [Fault("storage", "status", status=503, times=-1)]
    done = run(pipeline, "cat")
    assert done.returncode == 0
    assert CALLS[0] in done.stderr
    assert not list((tmp_path / "texts").glob("*.txt"))
    service.knobs.faults = []
    assert wait_until(
        lambda: run(pipeline, "cat").returncode == 0 and any((tmp_path / "texts").glob("*.txt")), 30
    )


def test_a_container_that_was_there_first_sees_the_mount(service: DemoServer, tmp_path: Path) -> None:
    """With the directory above bound as a slave, as the recipe says."""
    above, seen = tmp_path / "above", tmp_path / "seen"
    above.mkdir()
    calls = above / "calls"
    # As a container engine does it: a namespace of its own, what is outside comes in and nothing goes out.
    inside = f"touch {seen}.up; until mountpoint -q {calls}; do sleep 0.1; done; ls {calls} >{seen}.part"
    command = ["unshare", "--mount", "--propagation", "slave", "sh", "-c", f"{inside}; mv {seen}.part {seen}"]
    with contextlib.ExitStack() as stack:
        subprocess.run(["mount", "--bind", above, above], check=True)
        stack.callback(subprocess.run, ["umount", "-l", above], check=True)
        subprocess.run(["mount", "--make-shared", above], check=True)
        container = stack.enter_context(subprocess.Popen(command))
        stack.callback(container.terminate)
        assert wait_until(Path(f"{seen}.up").exists, 10)
        stack.enter_context(mounted(service, calls, tmp_path / "state", None, {}))
        assert wait_until(seen.exists, 20)
        assert "recordings" in seen.read_text()
