"""Man pages and completions: current, clean, and complete in real shells."""

from __future__ import annotations

import errno
import os
import pty
import re
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from generate.__main__ import files
from generate.verbs import SETTINGS, command, every
from generate.verbs import helper as mount_options
from kallglotfs.operations import ERRNO

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "man").glob("*.[18]"))
COMPLETIONS = ROOT / "completions"
VERBS = sorted(verb.name for verb in command().verbs)
#: Seconds a shell may take for one completion, on a busy machine.
PATIENCE = 30


def needs(program: str) -> str:
    """Return the path of a program; without it the test is passed over, loudly."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"NOT TESTED: {program} is not on this machine")
    return found


def test_every_generated_file_is_current() -> None:
    """`python -m generate` would write nothing."""
    old = [path for path, text in files().items() if not path.exists() or path.read_text() != text]
    assert not old, "python -m generate"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_pages_are_clean_and_fit_80_columns(page: Path) -> None:
    """For mandoc and for groff, which man(1) uses."""
    lint = subprocess.run(
        [needs("mandoc"), "-Tlint", "-Wwarning", page], capture_output=True, text=True, check=False
    )
    assert lint.stdout + lint.stderr == ""
    shown = subprocess.run(
        ["mandoc", "-Tascii", "-Owidth=78", page], capture_output=True, text=True, check=True
    )
    plain = re.sub(".\b", "", shown.stdout)
    assert max(map(len, plain.splitlines())) <= 80
    if shutil.which("groff"):
        done = subprocess.run(
            ["groff", "-mdoc", "-ww", "-z", page], capture_output=True, text=True, check=False
        )
        assert done.stderr == ""


def test_the_pages_tell_every_setting_verb_and_errno() -> None:
    """Nothing is left out, whoever adds it."""
    helper, program = ((ROOT / "man" / name).read_text() for name in ("mount.kallglotfs.8", "kallglotfs.1"))
    assert all(f".It Cm {name} Ns = " in helper for name in SETTINGS)
    assert all(f'.Ss "{" ".join(verb.path[1:])}"'.replace("-", "\\-") in program for verb in every(command()))
    for option in mount_options().options:
        assert re.search(rf"Fl (Fl )?{option.names[-1].lstrip('-')}\b", helper)
    told = set(re.findall(r"Bq Er (\w+)", helper))
    # What the table of errno has besides is a caller's own mistake.
    assert {os_name(number) for number in ERRNO.values()} - told <= {
        "ENOTDIR",
        "EISDIR",
        "EINVAL",
        "ENODATA",
        "EBADF",
    }


def os_name(number: int) -> str:
    """Return the name of an errno."""
    return errno.errorcode[number]


def in_bash(line: str, home: Path) -> list[str]:
    """Return what a real bash offers at the end of a line."""
    script = (
        'source "$1"; COMP_LINE=$2 COMP_POINT=${#2}; compopt() { :; }; _kallglotfs; echo "${COMPREPLY[*]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", script, "bash", COMPLETIONS / "kallglotfs.bash", line],
        capture_output=True, text=True, timeout=PATIENCE, check=True,
        env={"PATH": os.environ["PATH"], "HOME": str(home)}, cwd=home,
    )  # fmt: skip
    assert done.stderr == ""
    return sorted(done.stdout.split())


def in_fish(line: str, home: Path) -> list[str]:
    """Return what a real fish offers at the end of a line."""
    done = subprocess.run(
        [needs("fish"), "--no-config", "-c", 'source $argv[1]; complete -C"$argv[2]"',
         COMPLETIONS / "kallglotfs.fish", line],
        capture_output=True, text=True, timeout=PATIENCE, check=True,
        env={"PATH": os.environ["PATH"], "HOME": str(home)}, cwd=home,
    )  # fmt: skip
    assert done.stderr == ""
    return sorted(word.split("\t")[0] for word in done.stdout.splitlines() if word)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home directory with two profiles."""
    folder = tmp_path / ".config/kallglotfs"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text('[default]\nformats = "all"\n\n[acme]\nstreams = 4\n')
    return tmp_path


@pytest.mark.parametrize("shell", [in_bash, in_fish], ids=["bash", "fish"])
def test_a_shell_completes_verbs_options_profiles_and_values(shell: object, home: Path) -> None:
    """By what stands before the cursor."""
    assert callable(shell)
    assert shell("kallglotfs ", home) == VERBS
    assert shell("kallglotfs umo", home) == ["umount"]
    assert set(shell("kallglotfs umount --", home)) >= {"--help", "--lazy"}
    assert shell("kallglotfs add --profile ", home) == ["acme", "default"]
    assert shell("kallglotfs mount --formats m", home) == ["mp3"]
    assert set(shell("mount.kallglotfs a", home)) == {"acme"}
    assert set(shell("mount.kallglotfs --", home)) == {"--foreground", "--help", "--version"}


def test_bash_completes_options_of_mount(home: Path) -> None:
    """Only what follows the last = or :, since readline keeps what stands before."""
    assert in_bash("mount.kallglotfs /mnt -o form", home) == ["formats="]
    assert in_bash("kallglotfs mount -o formats=al", home) == ["all"]
    assert in_bash("kallglotfs mount -o allow_other,strea", home) == ["allow_other,streams="]
    assert in_bash("kallglotfs mount -o allow_other,allow", home) == []


def test_fish_completes_options_of_mount(home: Path) -> None:
    """After each comma."""
    assert in_fish("kallglotfs mount -o allow_other,strea", home) == ["allow_other,streams="]


def test_bash_completes_running_mounts(home: Path, mount: object) -> None:
    """By the kernel's list, so that a mount that hangs is not touched."""
    assert callable(mount)
    folder = mount()
    assert str(folder.path) in in_bash("kallglotfs umount ", home)


def on_terminal(line: str, home: Path, until: str) -> str:
    """Type a line and Tab into a real zsh, and return what it shows up to some words."""
    shell = needs("zsh")
    set_up = f"fpath=({COMPLETIONS} $fpath); autoload -Uz compinit; compinit -u -D; PS1='>'; print re''ady\n"
    process, terminal = pty.fork()
    if process == 0:
        os.environ.update(TERM="dumb", HOME=str(home))
        os.execv(shell, ["zsh", "-f", "-i"])
    try:
        os.write(terminal, set_up.encode())
        assert "ready" in shown(terminal, "ready"), "zsh did not start"
        os.write(terminal, line.encode() + b"\t")
        return shown(terminal, until)
    finally:
        os.close(terminal)
        os.kill(process, 9)
        os.waitpid(process, 0)


def shown(terminal: int, until: str) -> str:
    """Read a terminal until some words stand there, or in vain."""
    text = ""
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends and until not in text:
        if select.select([terminal], [], [], 0.1)[0]:
            text += os.read(terminal, 65536).decode(errors="replace")
    return text


def test_zsh_completes_verbs_and_options(home: Path) -> None:
    """On a terminal, as a person does."""
    offered = on_terminal("kallglotfs ", home, f"\n{VERBS[-1]} ")
    assert all(re.search(rf"^{verb} +-- ", offered, re.MULTILINE) for verb in VERBS)
    line = "kallglotfs mount -o allow_other,strea"
    assert "mount -o allow_other,streams=" in on_terminal(line, home, "streams=")
