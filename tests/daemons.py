"""Daemons as a service manager or a user runs them: by a configuration file, with streams of one's own."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from conftest import MountedFolder, end, environment, keep_output, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from kallglotfs.demo.server import DemoServer

HELPER = [sys.executable, "-m", "kallglotfs.cli.mount_helper"]


def configure(folder: Path, **settings: object) -> Path:
    """Write a profile and return its file."""
    path = folder / "config.toml"
    lines = [f"{name} = {json.dumps(str(value))}" for name, value in settings.items()]
    fresh = path.with_suffix(".new")
    fresh.write_text("\n".join(["[default]", *lines, ""]))
    fresh.replace(path)
    return path


def settings_for(service: DemoServer, folder: Path, **settings: object) -> dict[str, object]:
    """Return the settings of a mount, for `configure`."""
    given = {
        "api_url": service.api_url,
        "state_dir": folder / "state",
        "log_file": folder / "daemon.log",
        "timeout": "10s",
    } | settings
    return {name: value for name, value in given.items() if value is not None}


@contextlib.contextmanager
def daemon(
    service: DemoServer,
    folder: Path,
    *,
    before: tuple[str, ...] = (),
    environ: Mapping[str, str] | None = None,
    streams: Mapping[str, Any] | None = None,
    api_key: str | None = None,
    **settings: object,
) -> Iterator[MountedFolder]:
    """Run a mount in the foreground, without a terminal, by a configuration file, until the block ends.

    Args:
        service: what is mounted.
        folder: where its files are.
        before: a program that runs the daemon.
        environ: more variables.
        streams: arguments for `Popen` in place of pipes and a session of its own.
        api_key: in the environment; the service's where None, none at all where empty.
        settings: of the profile, besides those of `settings_for`; None to leave one of those out.
    """
    path = folder / "mnt"
    path.mkdir()
    config = configure(folder, **settings_for(service, folder, **settings))
    command = [*before, *HELPER, str(path), "--foreground", "-o", f"config={config}"]
    given = dict(streams or {"stderr": subprocess.PIPE, "start_new_session": True})
    key = service.api_key if api_key is None else api_key or None
    with subprocess.Popen(
        command, env=environment(key) | dict(environ or {}), text=True, **{"stdout": subprocess.PIPE} | given
    ) as process:
        mounted = MountedFolder(path, folder / "state", folder / "daemon.log", process, command)
        try:
            assert wait_until(lambda: path.is_mount() or process.poll() is not None, 30)
            assert path.is_mount(), process.stderr.read() if process.stderr else "no mount"
            assert wait_until((path / "recordings").is_dir, 10)
            # Who is stopped before it has said so has failed.
            if process.stdout is not None:
                assert "mounted on" in process.stdout.readline()
            else:
                assert wait_until(lambda: "mounted on" in mounted.log, 10)
            service.requests.clear()
            yield mounted
        finally:
            end(process, path)
            keep_output(process, folder / "daemon.out.log")


def stop(mounted: MountedFolder, number: int = signal.SIGTERM) -> int:
    """Stop a daemon by a signal and return its exit code."""
    mounted.process.send_signal(number)
    return mounted.process.wait(timeout=15)


def entries(text: str) -> list[dict[str, Any]]:
    """Return the objects of a log in JSON; every line must be one."""
    return [json.loads(line) for line in text.splitlines()]
