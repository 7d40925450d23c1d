"""Wheel and sdist: built offline, the same each time, complete, and working where they are installed."""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import kallglotfs
from conftest import environment
from hatch_build import description

if TYPE_CHECKING:
    from email.message import Message

ROOT = Path(__file__).parents[2]
#: Seconds a build, or a run of tests, may take on a busy machine.
PATIENCE = 110
#: The tests that are run with an installed wheel: a mount, its options, its messages.
SUBSET = "background or verbose or add_names"


def build(source: Path, target: Path, *kinds: str) -> list[Path]:
    """Build without any network, as of a fixed time."""
    kept = environment(None) | {"SOURCE_DATE_EPOCH": "1700000000"}
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", target, *kinds],
        cwd=source, env=kept, check=True, capture_output=True, timeout=PATIENCE,
    )  # fmt: skip
    return sorted(target.iterdir())


@dataclass(frozen=True, slots=True)
class Built:
    """What was built: the two files, and the sdist unpacked."""

    wheel: Path
    sdist: Path
    unpacked: Path

    @property
    def metadata(self) -> Message:
        """What an index is told."""
        with zipfile.ZipFile(self.wheel) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
            return email.message_from_bytes(archive.read(name))

    def in_wheel(self) -> set[str]:
        """Return the names in the wheel."""
        with zipfile.ZipFile(self.wheel) as archive:
            return set(archive.namelist())

    def in_sdist(self) -> set[str]:
        """Return the names in the sdist, below its one directory."""
        with tarfile.open(self.sdist) as archive:
            return {member.name.split("/", 1)[1] for member in archive if member.isfile()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Both, built once."""
    folder = tmp_path_factory.mktemp("dist")
    wheel, sdist = build(ROOT, folder, "-t", "wheel", "-t", "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    return Built(wheel, sdist, folder / sdist.name.removesuffix(".tar.gz"))


def test_the_wheel_holds_the_program_and_what_it_installs(built: Built) -> None:
    """No tests, no bench, no sources of generated files."""
    names = built.in_wheel()
    version = kallglotfs.__version__
    assert built.wheel.name == f"kallglotfs-{version}-py3-none-any.whl"
    assert {name.split("/")[0] for name in names} == {"kallglotfs", f"kallglotfs-{version}.dist-info"}
    ours = {str(path.relative_to(ROOT)) for path in (ROOT / "kallglotfs").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == ours
    shared = {
        f"kallglotfs/share/{kind}/{path.name}"
        for kind in ("systemd", "man", "completions")
        for path in (ROOT / kind).glob("*")
        if path.suffix != ".in"
    }
    assert {name for name in names if name.startswith("kallglotfs/share/")} == shared
    assert len(shared) >= 5


def test_the_sdist_holds_the_checkout(built: Built) -> None:
    """Everything that is under version control, and nothing that a build or a test leaves."""
    names = built.in_sdist()
    assert {"LICENSE", "CHANGELOG.md", "PKG-INFO", "tests/conftest.py", "docs/SEMANTICS.md"} <= names
    junk = re.compile(
        r"(^|/)(\.git|\.venv|__pycache__|\.[a-z]+_cache|\.hypothesis|dist|build)(/|$)|\.pyc$|\.log$"
    )
    assert not [name for name in names if junk.search(name)]
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("the names are not compared: this is no checkout")
    there = {name for name in listed.stdout.splitlines() if (ROOT / name).exists()}
    assert there - names == set()


def test_builds_are_the_same_to_the_byte(built: Built, tmp_path: Path) -> None:
    """From the checkout again, and from the sdist."""
    (again,) = build(ROOT, tmp_path / "again", "-t", "wheel")
    (from_sdist,) = build(built.unpacked, tmp_path / "from-sdist", "-t", "wheel")
    assert again.read_bytes() == built.wheel.read_bytes()
    assert from_sdist.read_bytes() == built.wheel.read_bytes()


def test_an_index_is_told_what_it_needs(built: Built) -> None:
    """Version, Python, extras and licence; a description in which no link leads nowhere."""
    told = built.metadata
    assert told["Version"] == kallglotfs.__version__
    assert told["Requires-Python"] == ">=3.11"
    assert set(told.get_all("Provides-Extra") or ()) == {"demo", "keyring"}
    assert (told["License-Expression"], told["License-File"]) == ("MIT", "LICENSE")
    assert told["Description-Content-Type"] == "text/markdown"
    text = str(told.get_payload())
    assert text.startswith("# ")
    assert re.findall(r"\]\((?!https?:|#)[^)]*\)|src=.(?!https?:)", text) == []
    needed = [line for line in told.get_all("Requires-Dist") or () if "extra ==" not in line]
    assert len(needed) >= 10
    assert not [line for line in needed if re.match("numpy|starlette|pytest|keyring", line)]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("![A picture](docs/a.svg)\n\nText", "Text"),
        ("[![A picture](docs/a.svg)](docs/a.md)\n\nText", "Text"),
        ('<img alt="A picture" src="docs/a.svg">\nText', "Text"),
        ("![A picture](https://x.example/a.svg)", "![A picture](https://x.example/a.svg)"),
        ("See [the docs](docs/a.md) and [b.md](b.md).", "See the docs (`docs/a.md`) and `b.md`."),
        ("[web](https://x.example), [below](#below)", "[web](https://x.example), [below](#below)"),
    ],
)
def test_a_description_keeps_its_words_and_loses_its_dead_links(given: str, kept: str) -> None:
    """Pictures go, relative links become text."""
    assert description(given) == kept


@pytest.fixture(scope="module")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of programs of an environment with the wheel, and with the dependencies of this one."""
    place = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True, timeout=PATIENCE)
    python = place / "bin/python"
    uv = shutil.which("uv", path=os.fspath(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is None:
        pytest.skip("NOT TESTED: uv is not in this environment")
    subprocess.run(
        [uv, "pip", "install", "-q", "--offline", "--no-deps", "-p", python, built.wheel],
        check=True, timeout=PATIENCE, env=environment(None),
    )  # fmt: skip
    (packages,) = (place / "lib").glob("python3*/site-packages")
    # Not processed any further: what is installed editable there is not found.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return place / "bin"


def test_the_wheel_works_where_it_is_installed(installed: Path, built: Built, tmp_path: Path) -> None:
    """Tests of the commands pass with its programs, and with nothing of the checkout's."""
    for name in ("tests", "pyproject.toml"):
        source = built.unpacked / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    where = subprocess.run(
        [installed / "python", "-c", "import kallglotfs; print(kallglotfs.__file__)"],
        cwd=tmp_path, capture_output=True, text=True, check=True, env=environment(None),
    )  # fmt: skip
    assert where.stdout.startswith(str(installed.parent))
    run = [
        installed / "python",
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--basetemp={tmp_path}/base",
    ]
    done = subprocess.run(
        [*run, "tests/system/test_commands.py", "-k", SUBSET],
        cwd=tmp_path, env=environment(None), capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) == 3


def test_the_installed_wheel_brings_its_files(installed: Path, tmp_path: Path) -> None:
    """Units, pages and completions come out of the package, and name the installed program."""
    done = subprocess.run(
        [installed / "kallglotfs", "install-helper", "--destdir", tmp_path],
        cwd=tmp_path, env=environment(None), capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    (link,) = tmp_path.glob("**/sbin/mount.kallglotfs")
    assert os.readlink(link) == str(installed / "mount.kallglotfs")
    assert (tmp_path / "usr/local/share/man/man8/mount.kallglotfs.8").read_bytes() == (
        ROOT / "man/mount.kallglotfs.8"
    ).read_bytes()
    for unit in tmp_path.rglob("*.service"):
        assert str(installed / "kallglotfs") in unit.read_text()
