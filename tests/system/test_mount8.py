"""mount(8) and its family with the installed helper: fstab, findmnt, df, umount; on a machine of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import environment, wait_until
from machine import Machine, private_machine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kallglotfs.demo.server import DemoServer

COMMAND = Path(sys.executable).with_name("kallglotfs")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine on which the helper is installed."""
    with private_machine(tmp_path_factory.mktemp("machine")) as made:
        done = made.run(COMMAND, "install-helper")
        assert done.returncode == 0, done.stderr
        assert "installed: /sbin/mount.kallglotfs" in done.stdout
        yield made


@pytest.fixture
def options(service: DemoServer, tmp_path: Path) -> str:
    """What every mount here needs; the path of the key has a blank and a comma, and so has the state's."""
    key = tmp_path / "the key, sealed"
    key.write_text(service.api_key)
    key.chmod(0o600)
    return (
        f'api_url={service.api_url},api_key_file="{key}",state_dir="{tmp_path}/state, kept",'
        f"log_file={tmp_path}/log"
    )


def as_fstab(text: str) -> str:
    """Write blanks as fstab(5) has them."""
    return text.replace("\\", "\\134").replace(" ", "\\040").replace("\t", "\\011")


def recording(service: DemoServer) -> tuple[str, bytes]:
    """Return the name of a file and its content."""
    call = service.calls[0]
    return f"{call.id}.{call.format}", service.audio(call.id)


def test_mount_t_finds_the_installed_helper(machine: Machine, options: str, tmp_path: Path) -> None:
    """And findmnt, df and umount know what it made."""
    place = tmp_path / "calls"
    place.mkdir()
    clean = environment(None)
    done = machine.run("mount", "-t", "kallglotfs", "kallglot", place, "-o", options, env=clean)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    shown = machine.run("findmnt", "-nro", "SOURCE,FSTYPE,OPTIONS", place).stdout.split()
    assert shown[:2] == ["kallglot", "fuse.kallglotfs"]
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(shown[2].split(","))
    free = machine.run("df", "--output=source,fstype,avail,target", place)
    assert free.stdout.splitlines()[1].split() == ["kallglot", "fuse.kallglotfs", "0", str(place)]
    again = machine.run("mount", "-t", "kallglotfs", "kallglot", place, "-o", options, env=clean)
    assert again.returncode == 32
    assert "in use" in again.stderr
    assert machine.run("umount", place).returncode == 0
    assert f" {place} fuse.kallglotfs " not in machine.mounts()


def test_an_fstab_with_blanks_and_commas_is_mounted_once(
    machine: Machine, options: str, service: DemoServer, tmp_path: Path
) -> None:
    """`mount -a` mounts what is missing, a second one nothing; `mount DIR` and `umount` go by the line."""
    clean = environment(None)
    places = [tmp_path / "our calls, all", tmp_path / "more\tcalls", tmp_path / "never"]
    config = tmp_path / "config.toml"
    config.write_text('[default]\n[acme]\nformats = "all"\n')
    given = as_fstab(f"{options},config={config}")
    lines = [
        f"kallglot {as_fstab(str(places[0]))} kallglotfs {given},_netdev,nofail 0 0",
        f"acme {as_fstab(str(places[1]))} kallglotfs {given},ro,x-gvfs-hide 0 0",
        f"kallglot {places[2]} kallglotfs noauto,x-systemd.automount,{given} 0 0",
    ]
    fstab = tmp_path / "fstab"
    fstab.write_text("# three mounts\n" + "\n".join(lines) + "\n")
    for place in places:
        place.mkdir()
    for _ in range(2):
        done = machine.run("mount", "-a", "-T", fstab, env=clean)
        assert (done.returncode, done.stderr) == (0, "")
        ours = [line.split(" ") for line in machine.mounts().splitlines() if str(tmp_path) in line]
        shown = [(source, place) for source, place, kind, *_ in ours if kind == "fuse.kallglotfs"]
        assert shown == [
            ("kallglot", as_fstab(str(places[0]))),
            ("acme", as_fstab(str(places[1]))),
        ]
    name, content = recording(service)
    copy = tmp_path / "copy"
    assert machine.run("cp", places[0] / "recordings" / name, copy).returncode == 0
    assert copy.read_bytes() == content
    assert (tmp_path / "state, kept").is_dir()
    verified = machine.run("findmnt", "--verify", "--tab-file", fstab)
    assert "0 parse errors, 0 errors" in verified.stdout + verified.stderr
    assert machine.run("umount", places[1]).returncode == 0
    assert machine.run("mount", "-T", fstab, places[1], env=clean).returncode == 0
    assert machine.run("umount", *places[:2]).returncode == 0
    assert wait_until(lambda: "fuse.kallglotfs" not in "".join(
        line for line in machine.mounts().splitlines() if str(tmp_path) in line
    ), 15)  # fmt: skip


def test_mount_a_tells_which_line_is_wrong(machine: Machine, options: str, tmp_path: Path) -> None:
    """One line of ours, the option named, and the other lines mounted."""
    places = [tmp_path / "wrong", tmp_path / "right"]
    for place in places:
        place.mkdir()
    fstab = tmp_path / "fstab"
    fstab.write_text(
        f"kallglot {places[0]} kallglotfs {as_fstab(options)},stream=4 0 0\n"
        f"kallglot {places[1]} kallglotfs {as_fstab(options)} 0 0\n"
    )
    done = machine.run("mount", "-a", "-T", fstab, env=environment(None))
    # mount(8): some mounts succeeded, some failed.
    assert done.returncode == 64
    assert "unknown option 'stream' (did you mean 'streams'?)" in done.stderr
    mounted = [line.split(" ")[1] for line in machine.mounts().splitlines() if "fuse.kallglotfs" in line]
    assert str(places[1]) in mounted
    assert str(places[0]) not in mounted


def test_man_finds_the_pages(machine: Machine) -> None:
    """With nothing configured."""
    if not machine.run("sh", "-c", "command -v man").stdout:
        pytest.skip("NOT TESTED: man is not on this machine")
    for page in ("kallglotfs", "mount.kallglotfs"):
        assert page in machine.run("man", "-w", page).stdout


@pytest.mark.parametrize(
    ("shell", "script"),
    [
        ("bash", ". /usr/share/bash-completion/bash_completion; _completion_loader $1; complete -p $1"),
        ("fish", 'test (complete -C"kallglotfs umo" | cut -f1) = umount; and echo _kallglotfs'),
        ("zsh", "autoload -Uz compinit; compinit -u -D; print $_comps[$1]"),
    ],
    ids=["bash", "fish", "zsh"],
)
def test_shells_find_the_completions(shell: str, script: str, machine: Machine) -> None:
    """Where the installed files are, with nothing configured."""
    if not machine.run("sh", "-c", f"command -v {shell}").stdout:
        pytest.skip(f"NOT TESTED: {shell} is not on this machine")
    if shell == "bash" and not Path("/usr/share/bash-completion/bash_completion").exists():
        pytest.skip("NOT TESTED: bash-completion is not on this machine")
    path = f"{COMMAND.parent}:{os.environ['PATH']}"
    for command in ("kallglotfs", "mount.kallglotfs"):
        # fish completes commands alone that it finds.
        found = machine.run(shell, "-c", script, shell, command, env=environment(None) | {"PATH": path})
        assert "_kallglotfs" in found.stdout, found.stderr


def test_units_are_as_systemd_wants_them(machine: Machine) -> None:
    """With the man pages that they name, and the program where it is."""
    if not machine.run("sh", "-c", "command -v systemd-analyze").stdout:
        pytest.skip("NOT TESTED: systemd is not on this machine")
    for kind, name in (("system", "kallglotfs@.service"), ("user", "kallglotfs-user@.service")):
        unit = f"/usr/local/lib/systemd/{kind}/{name}"
        there = environment(None) | {"XDG_RUNTIME_DIR": "/run"}
        done = machine.run("systemd-analyze", f"--{kind}", "verify", unit, env=there)
        assert (done.returncode, done.stderr) == (0, "")
        assert f"ExecStart={COMMAND} mount" in machine.run("cat", unit).stdout


def test_a_removal_leaves_nothing_and_others_programs_are_warned_about(tmp_path: Path) -> None:
    """Whoever could change the program would be root at the next mount; then the type is unknown again."""
    programs = Path("/opt/loose/bin")
    with private_machine(tmp_path) as machine:
        made = f"mkdir -p {programs} && touch {programs / 'mount.kallglotfs'} && chmod 777 {programs.parent}"
        assert machine.run("sh", "-c", made).returncode == 0
        done = machine.run(COMMAND, "install-helper", "--bindir", programs)
        assert done.returncode == 0
        assert done.stderr == (
            f"kallglotfs install-helper: warning: who can write {programs.parent} decides what root runs "
            "at `mount -t kallglotfs`\n"
        )
        assert machine.run(COMMAND, "install-helper", "--uninstall").returncode == 0
        left = machine.run("find", "/usr/local", "/usr/sbin", "/sbin/", "/etc/fish", "-name", "*kallglotfs*")
        assert left.stdout == ""
        failed = machine.run("mount", "-t", "kallglotfs", "kallglot", tmp_path)
        assert failed.returncode == 32
        assert "unknown filesystem type" in failed.stderr
