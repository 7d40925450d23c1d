"""What a reload takes over, and in which order it goes about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kallglotfs.config.settings import CHANGEABLE, Settings, load
from kallglotfs.reload import change

if TYPE_CHECKING:
    from pathlib import Path

GIB = 1024**3


def test_what_may_change_is_taken_and_the_rest_is_named() -> None:
    """The rest keeps its value, and is named again the next time."""
    before = Settings(timeout=1.0, formats=("mp3",), memory_cache=GIB)
    found = change(before, Settings(timeout=2.0, formats=("wav",), memory_cache=GIB, umask=0o22))
    assert (found.taken, found.remount) == (("timeout", "umask"), ("formats",))
    assert found.settings == before.model_copy(update={"timeout": 2.0, "umask": 0o22})
    again = change(found.settings, Settings(timeout=2.0, formats=("wav",), memory_cache=GIB, umask=0o22))
    assert (again.taken, again.remount) == ((), ("formats",))


@pytest.mark.parametrize(
    ("before", "found", "taken"), [(0, GIB, False), (GIB, 0, False), (GIB, 2 * GIB, True), (GIB, GIB, False)]
)
def test_the_disk_tier_changes_its_size_only(before: int, found: int, taken: bool) -> None:  # noqa: FBT001
    """It is there or it is not."""
    seen = change(Settings(disk_cache=before), Settings(disk_cache=found))
    assert seen.taken == (("disk_cache",) if taken else ())
    assert seen.remount == (() if taken or before == found else ("disk_cache",))


def test_what_decides_where_and_what_is_mounted_never_changes() -> None:
    """Nor what readers could notice: what directories list, and the memory that blocks are in."""
    fixed = {"api_url", "config", "state_dir", "cache_dir", "allow_other", "formats", "sample_rate"}
    assert not CHANGEABLE & (fixed | {"memory_cache", "streams", "webhook_listen", "backfill"})
    assert {"log_level", "log_format", "log_file", "timeout", "throttle_timeout"} <= CHANGEABLE


def test_relative_paths_stay_where_they_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From every source, also once the working directory is another."""
    profile = 'ids_file = "ids"\nlog_file = "/var/x"\ncache_dir = "~/c"\n'
    (tmp_path / "one.toml").write_text(f"[default]\n{profile}")
    environ = {"HOME": "/home/x", "KALLGLOTFS_STATE_DIR": "state"}
    options = {"config": "one.toml", "api_key_file": "sub/key"}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/x")
    first = load(options, environ=environ)
    monkeypatch.chdir("/")
    again = load(options, environ=environ, directory=str(tmp_path))
    assert again == first
    assert again.api_key_file == tmp_path / "sub" / "key"
    assert (again.ids_file, again.state_dir) == (tmp_path / "ids", tmp_path / "state")
