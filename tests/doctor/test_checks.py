"""Single checks, where the machine need not be broken for them."""

from __future__ import annotations

import os
import resource
import threading
from typing import TYPE_CHECKING

import pytest

from kallglotfs.clock import Clock
from kallglotfs.doctor import catalog, examination, fuse, installation, kernel, mounts, network, places
from kallglotfs.doctor.examination import limited
from kallglotfs.doctor.finding import Level, failed, ok
from kallglotfs.errors import ConfigError, SystemFault
from kallglotfs.mountpoint import KIND, Mounted

if TYPE_CHECKING:
    from pathlib import Path

    from kallglotfs.doctor.finding import Finding

USER = 1000


def test_what_an_error_says_to_do_is_the_mend() -> None:
    """Where it names a command; else the check knows better, and words are better than nothing."""
    found = failed("x", ConfigError("/x: others may reach it; run chmod 700 /x"), "another")
    assert (found.found, found.mend, found.level) == (
        "/x: others may reach it",
        "chmod 700 /x",
        Level.FAILURE,
    )
    assert failed("x", ConfigError("/x: is a link; name the directory itself"), "another").mend == "another"
    assert failed("x", SystemFault("gone; look"), "").mend == "look"


@pytest.mark.parametrize(
    ("text", "wanted", "level"),
    [
        ("user_allow_other\n", True, Level.OK),
        ("  user_allow_other  # for us\n", True, Level.OK),
        ("#user_allow_other\n", True, Level.FAILURE),
        ("mount_max = 9\n", True, Level.FAILURE),
        (None, True, Level.FAILURE),
        (None, False, Level.OK),
    ],
)
def test_allow_other_needs_a_line_of_its_own(
    text: str | None,
    wanted: bool,  # noqa: FBT001 - of the table
    level: Level,
    tmp_path: Path,
) -> None:
    """Comments do not count; root needs none."""
    config = tmp_path / "fuse.conf"
    if text is not None:
        config.write_text(text)
    assert fuse.permission_for_others(wanted=wanted, config=config, user=USER).level is level
    assert fuse.permission_for_others(wanted=wanted, config=config, user=0).level is Level.OK


def test_a_container_is_known_by_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Docker, Podman, nspawn and Kubernetes leave them."""
    for name in fuse.CONTAINER_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    mark = tmp_path / ".dockerenv"
    assert not fuse.in_container((mark,))
    mark.touch()
    assert fuse.in_container((mark,))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert fuse.in_container(())


def test_a_request_limit_that_is_shorter_than_the_settings_is_a_warning(tmp_path: Path) -> None:
    """It ends the whole mount, so that waits are cut."""
    for name in ("default", "max"):
        (tmp_path / f"{name}_request_timeout").write_text("0\n")
    assert kernel.request_limit(20, 90, tmp_path).level is Level.OK
    (tmp_path / "max_request_timeout").write_text("30\n")
    found = kernel.request_limit(20, 90, tmp_path)
    assert found.level is Level.WARNING
    assert "30 s" in found.found
    assert "sysctl" in found.mend
    assert kernel.request_limit(10, 10, tmp_path).level is Level.OK


def test_few_descriptors_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hard limit counts: a mount raises the other one itself."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 256))
    assert kernel.descriptors().level is Level.WARNING
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, resource.RLIM_INFINITY))
    assert kernel.descriptors().level is Level.OK


def test_few_background_requests_are_a_warning_for_ordinary_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root has no limit."""
    parameter = tmp_path / "max_user_bgreq"
    parameter.write_text("12\n")
    monkeypatch.setattr(os, "geteuid", lambda: USER)
    assert kernel.background(parameter).level is Level.WARNING
    parameter.write_text("7866\n")
    assert kernel.background(parameter).level is Level.OK
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    parameter.write_text("12\n")
    assert kernel.background(parameter).level is Level.OK


def test_the_helper_link(tmp_path: Path) -> None:
    """None is no trouble; ours is right, also by way of another link; what is gone or no program is told."""
    ours, link, via = tmp_path / "ours", tmp_path / "mount.kallglotfs", tmp_path / "via"
    ours.touch(mode=0o755)

    def look() -> Finding:
        return installation.helper_link(link, ours)

    assert look().level is Level.OK
    via.symlink_to(ours)
    link.symlink_to(via)
    assert look().level is Level.OK
    ours.chmod(0o644)
    assert look().level is Level.FAILURE
    ours.unlink()
    assert "gone" in look().found


def test_versions_are_as_the_package_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is older is named; extras are not asked for."""
    assert installation.versions().level is Level.OK
    needed = ["click>=8.1", "rich>=999", "nothing-of-the-kind>=1", 'keyring>=999; extra == "keyring"']
    monkeypatch.setattr(installation.metadata, "requires", lambda _: needed)
    found = installation.versions()
    assert found.level is Level.WARNING
    assert "is older than 999" in found.found
    assert "nothing-of-the-kind is missing" in found.found
    assert "keyring" not in found.found


def test_a_mount_that_is_another_users_alone_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel would answer in its place, dead or not."""
    other = Mounted("/x", KIND, "default", 1, uid=os.geteuid() + 1)
    monkeypatch.setattr(mounts, "all_mounts", lambda: [other])
    (found,) = mounts.mounts()
    assert found.level is Level.SKIPPED
    assert "another user's" in found.found


def test_a_check_that_hangs_or_breaks_does_not_keep_the_others_from_telling() -> None:
    """It is a finding itself."""
    never = threading.Event()
    found = limited("x", lambda: ok("x", str(never.wait(30))), seconds=0.1)
    assert found.level is Level.FAILURE
    assert "no answer within 0.1 s" in found.found
    never.set()

    def breaks() -> Finding:
        raise RuntimeError("what it holds may be secret")

    found = limited("x", breaks)
    assert found.level is Level.SKIPPED
    assert "secret" not in found.found


def test_a_network_that_takes_too_long_altogether_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was found until then is told."""
    never = threading.Event()

    def resolve(_: network.Target) -> tuple[tuple[()], Finding]:
        never.wait(30)
        return (), ok("name", "late")

    monkeypatch.setattr(network, "resolve", resolve)
    monkeypatch.setattr(examination, "ALTOGETHER", 0.2)
    monkeypatch.setattr(examination, "LEAST", 0.2)
    monkeypatch.setattr(mounts, "all_mounts", list)
    options = {"state_dir": str(tmp_path / "state"), "api_url": "http://127.0.0.1:1/v1"}
    report = examination.examine("default", options, Clock())
    never.set()
    found = {finding.name: finding for finding in report.findings}
    assert found["network"].level is Level.FAILURE
    assert found["proxy"].level is Level.OK
    assert found["API key"].level is Level.SKIPPED
    assert report.requests == 0


def test_a_catalog_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """And there is no recording in it."""
    path = tmp_path / "none.sqlite"
    assert catalog.catalog(path).level is Level.OK
    assert catalog.example(path, Clock()) is None
    assert not path.exists()


def test_a_log_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """The mount would not start."""
    assert places.log(None).level is Level.OK
    assert places.log(tmp_path / "log").level is Level.OK
    assert not (tmp_path / "log").exists()
    found = places.log(tmp_path / "none" / "log")
    assert (found.level, found.mend) == (Level.FAILURE, f"mkdir -p {tmp_path / 'none'}")


def test_a_cache_that_is_larger_than_its_disk_is_told(tmp_path: Path) -> None:
    """With a size that fits; a cache that is off needs no directory."""
    found = places.cache(tmp_path / "cache", 2**60)
    assert found.level is Level.WARNING
    assert "set disk_cache=" in found.mend
    assert places.cache(tmp_path / "cache", 0).level is Level.OK
    assert not (tmp_path / "cache").exists()
