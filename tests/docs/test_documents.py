"""What the documents say holds: links lead somewhere, names exist, scripts and units are well-formed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kallglotfs.cli.main import VERBS
from kallglotfs.config.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(document: Path, language: str) -> Iterator[str]:
    """Yield the code of a language in a document."""
    for found in BLOCK.finditer(document.read_text(encoding="utf-8")):
        if found[1] == language:
            yield found[2]


def anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as forges make them."""
    text = BLOCK.sub("", document.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    """To a file of the checkout, and to a heading that it has."""
    text = BLOCK.sub("", document.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = document.parent / path if path else document
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_is_named_exists(document: Path) -> None:
    """Settings in `-o` and in the environment, and the command's verbs."""
    text = document.read_text(encoding="utf-8")
    settings = set(Settings.model_fields)
    variables = {name.lower() for name in re.findall(r"\bKALLGLOTFS_([A-Z_]+[A-Z])\b", text)}
    assert variables - settings <= {"name"}
    for options in re.findall(r"(?:^|\s|`)-o ([a-z_]+=[^\s`)]*)", text):
        names = {part.partition("=")[0] for part in options.rstrip(",.").split(",")}
        # `-o name=value` stands for any.
        assert names <= settings | {"name"}, options
    for code in [*re.findall(r"`(kallglotfs [^`]+)`", text), *commands(document)]:
        verb = code.split()[1]
        assert verb in VERBS or not verb.isalpha() or verb.isupper(), code


def commands(document: Path) -> Iterator[str]:
    """Yield the lines of a document's code that call the program."""
    for code in blocks(document, "sh"):
        for line in code.splitlines():
            if re.match(r"(?:sudo )?kallglotfs \S", line):
                yield line.removeprefix("sudo ")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_shell_code_can_be_parsed(document: Path) -> None:
    """What is pasted is at least a command line."""
    for code in blocks(document, "sh"):
        done = subprocess.run(["sh", "-n"], input=code, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (code, done.stderr)


def test_units_of_the_recipes_are_well_formed(tmp_path: Path) -> None:
    """As systemd reads them."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze on this machine: the recipes' units are NOT CHECKED")
    units = []
    for code in blocks(ROOT / "docs" / "recipes.md", "ini"):
        named = re.match(r"# /etc/systemd/system/(\S+)\n", code)
        if named:
            units.append(tmp_path / named[1])
            units[-1].write_text(code.replace("/usr/local/sbin/archive-calls", "/bin/true"))
    assert len(units) == 2
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "archive-calls" not in done.stderr, done.stderr
