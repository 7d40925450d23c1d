"""`kallglotfs install-helper`: what it installs, what it leaves alone, what it takes away."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from kallglotfs.cli.main import main
from kallglotfs.install import plan as plans
from kallglotfs.install.access import closed
from kallglotfs.install.plan import Plan, system_places, user_places
from kallglotfs.install.shipped import program, shipped

UNIT = b"[Service]\nExecStart=/usr/bin/kallglotfs mount %f\nExecReload=/usr/bin/mount.kallglotfs -V\n"
PAGE = "usr/local/share/man/man1/kallglotfs.1"
RECORD = "usr/local/share/kallglotfs/installed.json"
SAYS = pytest.CaptureFixture[str]


def tree(root: Path) -> dict[str, str]:
    """Return everything below a directory with its kind, mode and content."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_dir():
            found[name] = f"{stat.S_IMODE(path.stat().st_mode):o}"
        else:
            found[name] = f"{stat.S_IMODE(path.stat().st_mode):o} {path.read_bytes()!r}"
    return found


def staged(root: Path, *more: str) -> int:
    """Install into a tree of its own."""
    return main(["install-helper", "--destdir", str(root), "--bindir", "/usr/bin", *more])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty tree."""
    made = tmp_path / "root"
    made.mkdir()
    return made


def test_it_installs_everything_and_says_so(root: Path, capsys: SAYS) -> None:
    """A line for each file, readable for everybody."""
    assert staged(root) == 0
    told = capsys.readouterr()
    assert told.err == ""
    paths = [line.removeprefix("installed: ") for line in told.out.splitlines()]
    (link,) = (path for path in paths if path.endswith("sbin/mount.kallglotfs"))
    assert os.readlink(link) == "/usr/bin/mount.kallglotfs"
    for name in (
        "usr/local/share/man/man1/kallglotfs.1",
        "usr/local/share/man/man8/mount.kallglotfs.8",
        "usr/local/share/bash-completion/completions/kallglotfs",
        "usr/local/share/bash-completion/completions/mount.kallglotfs",
        "usr/local/share/zsh/site-functions/_kallglotfs",
        "etc/fish/completions/kallglotfs.fish",
        "etc/fish/completions/mount.kallglotfs.fish",
    ):
        assert str(root / name) in paths
        assert stat.S_IMODE((root / name).stat().st_mode) == 0o644
    assert len(paths) == len({*paths})
    assert all(os.path.lexists(path) for path in paths)


def test_a_second_time_changes_nothing(root: Path, capsys: SAYS) -> None:
    """Everything is already there."""
    staged(root)
    before = {path: path.lstat().st_mtime_ns for path in root.rglob("*") if not path.is_dir()}
    del before[root / RECORD]
    capsys.readouterr()
    assert staged(root) == 0
    assert {line.split(": ")[0] for line in capsys.readouterr().out.splitlines()} == {"already there"}
    assert all(path.lstat().st_mtime_ns == time for path, time in before.items())


def test_a_removal_leaves_what_was_there_before(root: Path, capsys: SAYS) -> None:
    """Files and directories of others stay, ours go, and a second removal finds nothing."""
    (root / "usr/local/share/man/man1").mkdir(parents=True)
    (root / "usr/local/share/man/man1/other.1").write_text("another page")
    before = tree(root)
    staged(root)
    assert tree(root) != before
    assert staged(root, "--uninstall") == 0
    assert tree(root) == before
    capsys.readouterr()
    assert staged(root, "--uninstall") == 0
    assert capsys.readouterr().out == "nothing is installed\n"


def test_what_was_there_already_is_not_removed(root: Path) -> None:
    """A link that the administrator made by hand is not ours, although it is the same."""
    sbin = plans.helper_directory(root).lstrip("/")
    link = root / sbin / "mount.kallglotfs"
    link.parent.mkdir(parents=True)
    link.symlink_to("/usr/bin/mount.kallglotfs")
    assert staged(root) == 0
    assert staged(root, "--uninstall") == 0
    assert link.is_symlink()


@pytest.mark.parametrize("what", ["file", "link", "directory"])
def test_a_foreign_file_is_refused_and_nothing_is_done(what: str, root: Path, capsys: SAYS) -> None:
    """One line that names it, exit code 1."""
    theirs = root / PAGE
    theirs.parent.mkdir(parents=True)
    if what == "file":
        theirs.write_text("somebody's own")
    elif what == "link":
        theirs.symlink_to("/etc/shadow")
    else:
        theirs.mkdir()
    before = tree(root)
    assert staged(root) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert f"/{PAGE}" in told.err
    assert tree(root) == before


def test_an_upgrade_replaces_what_is_ours(root: Path, capsys: SAYS) -> None:
    """The link follows the program; what is shipped no more goes."""
    staged(root)
    page = root / PAGE
    old = page.read_bytes()
    record = root / RECORD
    stray = root / "usr/local/lib/systemd/system/old@.service"
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_bytes(b"")
    empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    record.write_text(
        record.read_text().replace(
            '"files": {', f'"files": {{"/usr/local/lib/systemd/system/old@.service": ["{empty}"],', 1
        )
    )
    capsys.readouterr()
    assert staged(root, "--bindir", "/opt/kallglotfs/bin") == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"removed: {stray}" in lines
    assert [line for line in lines if line.startswith("updated: ") and line.endswith("/mount.kallglotfs")]
    assert page.read_bytes() == old
    assert not stray.exists()
    assert staged(root, "--uninstall") == 0
    assert not record.exists()


def test_what_was_changed_since_is_left(root: Path, capsys: SAYS) -> None:
    """Neither an upgrade nor a removal takes an administrator's work."""
    staged(root)
    page = root / PAGE
    page.write_text("mended by hand")
    assert staged(root) == 1
    capsys.readouterr()
    assert staged(root, "--uninstall") == 1
    told = capsys.readouterr().out.splitlines()
    assert f"left, changed since it was installed: {page}" in told
    assert page.read_text() == "mended by hand"
    assert [name for name, kind in tree(root).items() if " " in kind] == [RECORD, PAGE]


def test_dry_runs_change_nothing(root: Path, capsys: SAYS) -> None:
    """They say what would be done."""
    assert staged(root, "--dry-run") == 0
    assert tree(root) == {}
    assert {line.split(": ")[0] for line in capsys.readouterr().out.splitlines()} == {"would install"}
    staged(root)
    before = tree(root)
    capsys.readouterr()
    assert staged(root, "--uninstall", "-n") == 0
    assert {line.split(": ")[0] for line in capsys.readouterr().out.splitlines()} == {"would remove"}
    assert tree(root) == before


def test_what_was_done_before_a_failure_can_be_removed(root: Path, capsys: SAYS) -> None:
    """A full disk or a directory in the way leaves nothing unknown behind."""
    (root / "usr/local/share").mkdir(parents=True)
    blocked = root / "usr/local/share/zsh"
    blocked.write_text("a file where a directory belongs")
    before = tree(root)
    assert staged(root) == 2
    told = capsys.readouterr()
    assert told.out.startswith("installed: ")
    assert told.err.count("\n") == 1
    assert str(blocked) in told.err
    assert staged(root, "--uninstall") == 0
    assert tree(root) == before


def test_a_damaged_record_stops_everything(root: Path, capsys: SAYS) -> None:
    """One line, exit code 2."""
    staged(root)
    (root / RECORD).write_text("[]")
    capsys.readouterr()
    for more in ((), ("--uninstall",)):
        assert staged(root, *more) == 2
        assert "installed.json: damaged" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["/../victim", "/usr/local/share/man/../../../../../victim", "/etc/victim"])
@pytest.mark.parametrize("kind", ["files", "directories"])
def test_an_edited_record_gains_nothing(kind: str, path: str, root: Path, capsys: SAYS) -> None:
    """What a record names outside the directories of an installation is not touched, nor anything else."""
    staged(root)
    (root / "etc/victim").mkdir(parents=True)
    victim = root.parent / "victim"
    record = json.loads((root / RECORD).read_text())
    if kind == "files":
        victim.write_bytes(b"")
        record["files"][path] = [f"sha256:{hashlib.sha256(b'').hexdigest()}"]
    else:
        victim.mkdir()
        # A directory that a completion of fish needs may be named.
        record["directories"] += [path, "/etc"]
    (root / RECORD).write_text(json.dumps(record))
    before = tree(root.parent)
    capsys.readouterr()
    for more in ((), ("--uninstall",)):
        assert staged(root, *more) == 2
        told = capsys.readouterr()
        assert told.out == ""
        assert told.err.count("\n") == 1
        assert f"names {path}, which is no place of this installation" in told.err
    assert tree(root.parent) == before


@pytest.mark.parametrize("name", ["usr/local", "etc/fish", "usr/local/share/kallglotfs"])
def test_no_link_leads_out_of_a_staged_tree(name: str, root: Path, capsys: SAYS) -> None:
    """One line, and nothing is written there."""
    outside = root.parent / "outside"
    outside.mkdir()
    (root / name).parent.mkdir(parents=True)
    (root / name).symlink_to(outside)
    before = tree(root.parent)
    for more in ((), ("--uninstall",)):
        code = staged(root, *more)
        told = capsys.readouterr()
        assert (code, told.err.count("\n")) in {(1, 1), (0, 0)}
        assert more or f"a link leads out of {root}" in told.err
    assert tree(root.parent) == before


def test_a_user_gets_everything_but_the_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: SAYS
) -> None:
    """Below the home directory, and told what is missing."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    assert main(["install-helper", "--user", "--bindir", f"{home}/.local/bin"]) == 0
    told = capsys.readouterr()
    assert (home / ".local/share/man/man8/mount.kallglotfs.8").is_file()
    assert (home / ".local/share/bash-completion/completions/kallglotfs").is_file()
    assert f"sudo {program('kallglotfs')} install-helper" in told.out
    assert "sbin" not in told.out
    assert main(["install-helper", "--user", "--uninstall", "--bindir", "/usr/bin"]) == 0
    assert tree(home) == {}


@pytest.mark.parametrize("prefix", ["/usr/local", "/usr"])
def test_units_call_the_program_where_it_is(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Services become units, everything else an example; blanks and percent signs are systemd's own."""
    for name in ("kallglotfs@.service", "kallglotfs-user@.service", "mnt-calls.mount", "fstab"):
        (tmp_path / name).write_bytes(UNIT)
    files = {"systemd": sorted(tmp_path.iterdir())}
    monkeypatch.setattr(plans, "shipped", lambda kind, *_: files.get(kind, []))
    programs = {"kallglotfs": "/opt/a b/100%/kallglotfs", "mount.kallglotfs": "/opt/bin/mount.kallglotfs"}
    items = {item.path: item for item in Plan(system_places(prefix), programs).items}
    unit = items[f"{prefix}/lib/systemd/system/kallglotfs@.service"]
    assert unit.content.splitlines()[1:] == [
        b"ExecStart=/opt/a\\x20b/100%%/kallglotfs mount %f",
        b"ExecReload=/opt/bin/mount.kallglotfs -V",
    ]
    assert set(items) == {
        "/sbin/mount.kallglotfs",
        f"{prefix}/lib/systemd/system/kallglotfs@.service",
        f"{prefix}/lib/systemd/user/kallglotfs-user@.service",
        f"{prefix}/share/doc/kallglotfs/examples/mnt-calls.mount",
        f"{prefix}/share/doc/kallglotfs/examples/fstab",
    }
    assert [item.path for item in Plan(user_places("/home/x", {}), programs).items if item.unit] == [
        "/home/x/.config/systemd/user/kallglotfs-user@.service"
    ]


def test_the_shipped_files_and_the_programs_are_found() -> None:
    """In whatever way the package is installed."""
    assert [file.name for file in shipped("man", ".1", ".8")] == ["kallglotfs.1", "mount.kallglotfs.8"]
    assert Path(program("mount.kallglotfs")).is_file()


def test_where_all_programs_share_a_directory_the_program_is_its_own_link(root: Path) -> None:
    """As on systems whose /sbin is /usr/bin."""
    binaries = root / "usr/bin"
    binaries.mkdir(parents=True)
    (root / "sbin").symlink_to("usr/bin")
    helper = binaries / "mount.kallglotfs"
    helper.write_text("the program")
    assert staged(root) == 0
    assert helper.read_text() == "the program"
    assert staged(root, "--uninstall") == 0
    assert helper.read_text() == "the program"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--user", "--prefix", "/usr"], "--user and --prefix exclude each other"),
        (["--prefix", "relative", "--destdir", "/nonexistent"], "--prefix must be an absolute path"),
        (["--nosuch"], "No such option"),
    ],
)
def test_usage_errors_are_one_line(arguments: list[str], words: str, capsys: SAYS) -> None:
    """Exit code 1."""
    assert main(["install-helper", *arguments]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert words in told.err


def test_a_home_that_the_unit_cannot_enter_is_named() -> None:
    """Also behind a link; what is root's own, or open to all, is no obstacle."""
    with tempfile.TemporaryDirectory(dir="/tmp") as top:
        Path(top).chmod(0o755)
        home = Path(top) / "home"
        program = home / "bin/kallglotfs"
        program.parent.mkdir(parents=True)
        program.touch()
        link = Path(top) / "kallglotfs"
        link.symlink_to(program)
        for owner, group, mode, closed_to_it in (
            (0, 0, 0o700, False),
            (1000, 1000, 0o750, True),
            (1000, 1000, 0o700, True),
            (1000, 0, 0o710, False),
            (1000, 1000, 0o751, False),
        ):
            os.chown(home, owner, group)
            home.chmod(mode)
            for path in (program, link):
                assert closed((str(path),)) == (home if closed_to_it else None)


def as_nobody(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as an ordinary user."""
    with tempfile.TemporaryDirectory(dir="/tmp") as home:
        Path(home).chmod(0o755)
        done = subprocess.run(
            [
                "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                sys.executable, "-m", "kallglotfs", "install-helper", *arguments,
            ],
            capture_output=True, text=True, timeout=30, check=False, cwd=home,
            env={"PATH": os.environ["PATH"], "HOME": home},
        )  # fmt: skip
    if "No module named" in done.stderr or "Permission denied" in done.stderr:
        pytest.skip("NOT TESTED: this Python cannot be run by an ordinary user")
    return done


def test_without_root_it_says_what_can_be_done() -> None:
    """One line, exit code 1."""
    done = as_nobody()
    assert done.returncode == 1
    assert done.stderr == (
        "kallglotfs install-helper: only root can install for everybody; "
        f"use sudo {program('kallglotfs')} install-helper, or --user for you alone\n"
    )


def test_what_would_be_done_is_told_without_root() -> None:
    """Nothing is changed by that."""
    done = as_nobody("--dry-run", "--prefix", "/nonexistent")
    assert (done.returncode, done.stderr) == (0, "")
    assert "would install: /nonexistent/share/man/man1/kallglotfs.1\n" in done.stdout


def test_a_reader_that_stops_early_is_no_failure(root: Path) -> None:
    """All is done, and nobody complains, as behind `| head -1`."""
    before = tree(root)
    for more in ("", "--uninstall"):
        command = [sys.executable, "-m", "kallglotfs", "install-helper", "--destdir", str(root)]
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run(
            [*command, "--bindir", "/usr/bin", *more.split()],
            stdout=writing, stderr=subprocess.PIPE, text=True, timeout=30, check=False,
        )  # fmt: skip
        os.close(writing)
        assert (done.returncode, done.stderr) == (0, "")
        assert (tree(root) == before) is bool(more)
