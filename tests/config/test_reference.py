"""The settings table as people see it."""

from __future__ import annotations

import subprocess
import sys

from kallglotfs.config.reference import markdown, reference
from kallglotfs.config.settings import Settings, load


def test_every_setting_is_described() -> None:
    """Each setting has a type, a default, and a help that is a sentence."""
    infos = reference()
    assert [info.name for info in infos] == list(Settings.model_fields)
    for info in infos:
        assert info.type
        assert info.default
        assert info.help.endswith(".")
        assert info.variable == f"KALLGLOTFS_{info.name.upper()}"


def test_defaults_are_shown_as_they_are_written() -> None:
    """A default reads like something the user could type."""
    shown = {info.name: (info.default, info.unit) for info in reference()}
    assert shown["memory_cache"] == ("256M", "bytes")
    assert shown["timeout"] == ("20s", "seconds")
    assert shown["throttle_timeout"] == ("90s", "seconds")
    assert shown["umask"] == ("000", "")
    assert shown["formats"] == ("native", "")
    assert shown["allow_other"] == ("false", "")


def test_a_shown_default_reads_back() -> None:
    """What the reference prints as a default is the default."""
    words = {"none", "the mounting user", "the mounting user's group"}
    for info in reference():
        if info.default in words or info.name in ("config", "state_dir", "cache_dir", "log_file"):
            continue
        loaded = load({info.name: info.default}, environ={"HOME": "/nonexistent"})
        assert getattr(loaded, info.name) == getattr(Settings(), info.name)


def test_the_page_is_the_same_on_every_machine() -> None:
    """The page names every setting, once, and nothing of this machine."""
    page = markdown()
    for name in Settings.model_fields:
        assert page.count(f"\n| `{name}` |") == 1
    assert "/root" not in page


def test_the_module_prints_the_page() -> None:
    """Running the module prints the page and warns of nothing."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-m", "kallglotfs.config.reference"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (run.stdout, run.stderr) == (markdown(), "")
